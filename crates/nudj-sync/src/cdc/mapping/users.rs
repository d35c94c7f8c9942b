use async_trait::async_trait;
use nudj_client::model::{NewUser, UserUpdate};

use super::{Applied, Attempt, Mapping, MappingError, columns};
use crate::{
    RemoteErrorKind,
    cdc::{Change, Operation},
};

/// A table of users: a row is a user at Nudj, its key is `externalUserId`.
///
/// | row | call |
/// |---|---|
/// | inserted, or seen by a snapshot | `POST /users`; looked up by `externalUserId` first where one may be there already |
/// | updated | the seed's `PATCH /users/{id}`: display name, bio, picture |
/// | deleted | `DELETE /users/{id}`: Nudj erases the personal data |
///
/// A column that is NULL empties its field at Nudj; a field whose column is not there stays as it is.
///
/// Email and username are sent when a user is created; neither the documentation nor the seed shows a call that changes them.
#[derive(Clone, Debug)]
pub struct UserMapping {
    email: String,
    username: String,
    display_name: String,
    bio: String,
    picture: String,
    external_id: Option<String>,
}

impl Default for UserMapping {
    fn default() -> Self {
        Self {
            email: "email".into(),
            username: "username".into(),
            display_name: "display_name".into(),
            bio: "bio".into(),
            picture: "profile_picture_url".into(),
            external_id: None,
        }
    }
}

impl UserMapping {
    /// The columns `email` (the only one that must be there), `username`, `display_name`, `bio` and `profile_picture_url`, the
    /// primary key as `externalUserId`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another column for the email address.
    #[must_use]
    pub fn email(mut self, column: impl Into<String>) -> Self {
        self.email = column.into();
        self
    }

    /// Another column for the username.
    #[must_use]
    pub fn username(mut self, column: impl Into<String>) -> Self {
        self.username = column.into();
        self
    }

    /// Another column for the display name.
    #[must_use]
    pub fn display_name(mut self, column: impl Into<String>) -> Self {
        self.display_name = column.into();
        self
    }

    /// Another column for the text about oneself.
    #[must_use]
    pub fn bio(mut self, column: impl Into<String>) -> Self {
        self.bio = column.into();
        self
    }

    /// Another column for the picture's address.
    #[must_use]
    pub fn picture(mut self, column: impl Into<String>) -> Self {
        self.picture = column.into();
        self
    }

    /// A column for `externalUserId` in place of the primary key. It must be there in deleted rows too, else the user is found only
    /// while its id at Nudj is remembered.
    #[must_use]
    pub fn external_id(mut self, column: impl Into<String>) -> Self {
        self.external_id = Some(column.into());
        self
    }

    fn external(&self, change: &Change) -> Result<Option<String>, MappingError> {
        match &self.external_id {
            None => Ok(Some(change.record.key.clone())),
            Some(column) => columns::text(change, column),
        }
    }

    fn new_user(&self, change: &Change) -> Result<NewUser, MappingError> {
        let external = match &self.external_id {
            None => change.record.key.clone(),
            Some(column) => columns::required(change, column)?,
        };
        Ok(NewUser {
            email: Some(columns::required(change, &self.email)?),
            username: columns::text(change, &self.username)?,
            display_name: columns::text(change, &self.display_name)?,
            profile_picture_url: columns::text(change, &self.picture)?,
            external_user_id: Some(external),
        })
    }

    fn update(&self, change: &Change) -> Result<UserUpdate, MappingError> {
        Ok(UserUpdate {
            display_name: columns::to_set(change, &self.display_name)?,
            bio: columns::to_set(change, &self.bio)?,
            profile_picture_url: columns::to_set(change, &self.picture)?,
        })
    }

    async fn look_up(&self, attempt: &Attempt<'_>) -> Result<Option<String>, MappingError> {
        let Some(external) = self.external(attempt.change)? else { return Ok(None) };
        let found = attempt.remote.find_user_by_external_id(&external).await?;
        Ok(found.map(|user| user.id))
    }

    /// Whether the user of this id is there and not erased: an erased one may still be shown, without its external id.
    async fn is_own(&self, attempt: &Attempt<'_>, id: &str) -> Result<bool, MappingError> {
        let Some(external) = self.external(attempt.change)? else { return Ok(false) };
        let found = attempt.remote.get_user(id).await?;
        Ok(found.is_some_and(|user| user.external_user_id == Some(external)))
    }

    async fn upsert(&self, attempt: &Attempt<'_>) -> Result<Applied, MappingError> {
        let mut id = attempt.known.remote_id.clone();
        if id.is_none() && (attempt.known.in_doubt || attempt.change.operation != Operation::Insert) {
            id = self.look_up(attempt).await?;
        }
        let update = self.update(attempt.change)?;
        if let Some(id) = id {
            match attempt.remote.update_user(&id, &update).await {
                Ok(_) => return Ok(Applied::Linked(id)),
                Err(error) if error.kind() == RemoteErrorKind::NotFound => match self.look_up(attempt).await? {
                    // An attempt before this one made it anew.
                    Some(other) if other != id => {
                        attempt.remote.update_user(&other, &update).await?;
                        return Ok(Applied::Linked(other));
                    }
                    // It is there, so it is the call that was not found.
                    Some(_) => return Err(error.into()),
                    // A list may be behind.
                    None if self.is_own(attempt, &id).await? => return Err(error.into()),
                    // Somebody erased it at Nudj; here it is still wanted.
                    None => {}
                },
                Err(error) => return Err(error.into()),
            }
        }
        let new = self.new_user(attempt.change)?;
        match attempt.remote.create_user(&new).await {
            // What a creation does not take.
            Ok(user) if update.bio.as_ref().is_some_and(|bio| !bio.is_empty()) => {
                attempt.created(&user.id);
                attempt.remote.update_user(&user.id, &update).await?;
                Ok(Applied::Linked(user.id))
            }
            Ok(user) => Ok(Applied::Linked(user.id)),
            Err(error) if error.kind() == RemoteErrorKind::Conflict => {
                let Some(id) = self.look_up(attempt).await? else {
                    return Err(MappingError::Poison(format!("{error}; another user has its email address")));
                };
                attempt.remote.update_user(&id, &update).await?;
                Ok(Applied::Linked(id))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, attempt: &Attempt<'_>) -> Result<Applied, MappingError> {
        let id = match attempt.known.remote_id.clone() {
            Some(id) => Some(id),
            None => self.look_up(attempt).await?,
        };
        if let Some(id) = id {
            attempt.remote.delete_user(&id).await?;
        }
        Ok(Applied::Gone)
    }
}

#[async_trait]
impl Mapping for UserMapping {
    async fn apply(&self, attempt: Attempt<'_>) -> Result<Applied, MappingError> {
        match attempt.change.operation {
            Operation::Delete => self.delete(&attempt).await,
            _ => self.upsert(&attempt).await,
        }
    }
}
