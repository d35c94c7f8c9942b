use async_trait::async_trait;
use nudj_client::model::{NewUser, User, UserUpdate};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Fields, Side, Version};
use crate::{Error, Remote};

/// Fields that can be changed; `email` and `username` are given when the user is created.
const CHANGEABLE: [&str; 3] = ["displayName", "bio", "profilePictureUrl"];

/// Users at Nudj: `email`, `username`, `displayName`, `bio`, `profilePictureUrl`, the last three of which can be changed (seed only). Keys
/// are `externalUserId`s. Where your side changes one of the first two later, each side keeps its own, and that is logged.
#[derive(Clone, Debug)]
pub struct NudjUsers<N> {
    remote: N,
}

impl<N: Remote> NudjUsers<N> {
    /// Users as this client sees them.
    pub fn new(remote: N) -> Self {
        Self { remote }
    }

    fn version(user: User) -> Version {
        let fields = [
            ("email", user.email),
            ("username", user.username),
            ("displayName", user.display_name),
            ("bio", user.bio),
            ("profilePictureUrl", user.profile_picture_url),
        ];
        let filled =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|v| !v.is_empty())?)));
        let at = user.updated_at.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
        let updated_at = at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
        Version { fields: filled.collect(), updated_at, id: Some(user.id) }
    }
}

#[async_trait]
impl<N: Remote> Side for NudjUsers<N> {
    async fn read(&self, key: &str, id: Option<&str>) -> Result<Option<Version>, Error> {
        let user = match id {
            Some(id) => self.remote.get_user(id).await?,
            None => self.remote.find_user_by_external_id(key).await?,
        };
        // An erased record may stay, without what tells whose it was.
        Ok(user.filter(|user| user.external_user_id.as_deref() == Some(key)).map(Self::version))
    }

    async fn write(&self, key: &str, fields: &Fields, was: Option<&Version>) -> Result<Option<Version>, Error> {
        let id = was.and_then(|was| was.id.as_deref());
        if self.read(key, id).await?.as_ref() != was {
            return Ok(None);
        }
        let field = |name: &str| fields.get(name).cloned();
        let Some(id) = id else {
            let new = NewUser {
                email: field("email"),
                username: field("username"),
                display_name: field("displayName"),
                profile_picture_url: field("profilePictureUrl"),
                external_user_id: Some(key.to_owned()),
            };
            // Creating takes no bio: that is written in a second step, once it is noted that the user is there.
            return Ok(Some(Self::version(self.remote.create_user(&new).await?)));
        };
        let none = Fields::new();
        let before = was.map_or(&none, |was| &was.fields);
        // What is taken away becomes empty: a field that is left out stays as it is.
        let new = |name: &str| (fields.get(name) != before.get(name)).then(|| field(name).unwrap_or_default());
        let [display_name, bio, profile_picture_url] = CHANGEABLE.map(new);
        let update = UserUpdate { display_name, bio, profile_picture_url };
        for name in ["email", "username"].into_iter().filter(|name| fields.get(*name) != before.get(*name)) {
            tracing::warn!(key, field = name, "Nudj takes this field only with a new user; each side keeps its own");
        }
        if update == UserUpdate::default() {
            return Ok(was.cloned());
        }
        Ok(Some(Self::version(self.remote.update_user(id, &update).await?)))
    }

    async fn delete(&self, _: &str, was: &Version) -> Result<(), Error> {
        match &was.id {
            Some(id) => Ok(self.remote.delete_user(id).await?),
            None => Ok(()),
        }
    }
}
