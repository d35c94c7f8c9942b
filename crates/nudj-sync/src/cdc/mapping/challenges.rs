use async_trait::async_trait;
use nudj_client::model::{Challenge, ChallengeUpdate, Details, NewChallenge, Status};
use parking_lot::Mutex;

use super::{Applied, Attempt, Mapping, MappingError, columns};
use crate::{
    RemoteErrorKind,
    cdc::{Change, Operation},
};

/// A table of challenges.
///
/// | row | call |
/// |---|---|
/// | inserted, or seen by a snapshot | the seed's `POST /challenges` |
/// | updated | `POST /challenges/{id}`: title, status |
/// | deleted | the status becomes `archived`: there is no call that deletes a challenge |
///
/// A challenge at Nudj has no id of yours. Where it is not known whether one was created, it is looked up by its title in its
/// community, leaving out those that are known as other rows, and archived ones unless the row has a status to give them.
///
/// **It needs a state that lasts.** The state alone knows which challenge is which row's, and a title names none for sure: two rows may bear the
/// same one, and somebody may have made a challenge of that title by hand. So where the state was lost, or is a
/// [`MemoryState`](crate::cdc::MemoryState) in a new process, a snapshot creates every challenge once more. Archive the old ones then.
#[derive(Clone, Debug)]
pub struct ChallengeMapping {
    title: String,
    community: Community,
    status: String,
}

#[derive(Clone, Debug)]
enum Community {
    Column(String),
    Always(String),
}

impl ChallengeMapping {
    /// The columns `title`, `community_id` (both must be there) and `status`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another column for the title.
    #[must_use]
    pub fn title(mut self, column: impl Into<String>) -> Self {
        self.title = column.into();
        self
    }

    /// Another column for the community.
    #[must_use]
    pub fn community(mut self, column: impl Into<String>) -> Self {
        self.community = Community::Column(column.into());
        self
    }

    /// One community for all rows.
    #[must_use]
    pub fn in_community(mut self, id: impl Into<String>) -> Self {
        self.community = Community::Always(id.into());
        self
    }

    /// Another column for the status.
    #[must_use]
    pub fn status(mut self, column: impl Into<String>) -> Self {
        self.status = column.into();
        self
    }

    fn body(&self, change: &Change) -> Result<NewChallenge, MappingError> {
        let community = match &self.community {
            Community::Column(column) => columns::required(change, column)?,
            Community::Always(id) => id.clone(),
        };
        let mut body = NewChallenge::titled(columns::required(change, &self.title)?, community);
        body.status = self.wanted_status(change)?;
        Ok(body)
    }

    fn wanted_status(&self, change: &Change) -> Result<Option<Status>, MappingError> {
        Ok(columns::text(change, &self.status)?.map(|status| Status::from(status.as_str())))
    }

    /// The challenge of this title, in this community, that belongs to no other row.
    ///
    /// One that is archived may be what a deletion left behind that is now made again with the insertion before it. Were it taken
    /// for the row's own, nobody would ever archive the live one: so it comes last, and only where the row says what becomes of it.
    async fn look_up(&self, attempt: &Attempt<'_>) -> Result<Option<String>, MappingError> {
        let change = attempt.change;
        let is_revived = change.operation != Operation::Delete && self.wanted_status(change)?.is_some();
        let mut hints = attempt.known.hints.clone();
        hints.extend(self.hint(change));
        let others = Mutex::new(Vec::<String>::new());
        for is_archived in [Some(false), is_revived.then_some(true)].into_iter().flatten() {
            let wanted = |challenge: &Challenge| {
                let title = challenge.details.as_ref().and_then(|details| details.title.as_deref());
                let (Some(title), Some(community)) = (title, challenge.community_id.as_deref()) else { return false };
                (challenge.status == Some(Status::Archived)) == is_archived
                    && hints.contains(&hint(community, title))
                    && !others.lock().contains(&challenge.id)
            };
            while let Some(found) = attempt.remote.find_challenge(&wanted).await? {
                if attempt.claim(&found.id).await? {
                    return Ok(Some(found.id));
                }
                others.lock().push(found.id);
            }
        }
        Ok(None)
    }
}

impl Default for ChallengeMapping {
    fn default() -> Self {
        Self { title: "title".into(), community: Community::Column("community_id".into()), status: "status".into() }
    }
}

/// As it is kept: on one line.
fn hint(community: &str, title: &str) -> String {
    format!("{community} {title}").replace(['\n', '\r'], " ")
}

#[async_trait]
impl Mapping for ChallengeMapping {
    fn hint(&self, change: &Change) -> Option<String> {
        let body = self.body(change).ok()?;
        Some(hint(&body.community_id, body.title.as_deref()?))
    }

    async fn apply(&self, attempt: Attempt<'_>) -> Result<Applied, MappingError> {
        let (change, known) = (attempt.change, attempt.known);
        if change.operation == Operation::Delete {
            let found = match &known.remote_id {
                None if known.in_doubt => self.look_up(&attempt).await?,
                id => id.clone(),
            };
            let Some(id) = &found else { return Ok(Applied::Gone) };
            let archived = ChallengeUpdate { status: Some(Status::Archived), ..ChallengeUpdate::default() };
            return match attempt.remote.update_challenge(id, &archived).await {
                Err(error) if error.kind() != RemoteErrorKind::NotFound => Err(error.into()),
                _ => Ok(Applied::Gone),
            };
        }
        let mut id = known.remote_id.clone();
        if id.is_none() && known.in_doubt {
            id = self.look_up(&attempt).await?;
        }
        if let Some(id) = id {
            let title = columns::text(change, &self.title)?;
            let update = ChallengeUpdate {
                status: self.wanted_status(change)?,
                details: title.map(Details::titled),
                ..ChallengeUpdate::default()
            };
            match attempt.remote.update_challenge(&id, &update).await {
                Ok(_) => return Ok(Applied::Linked(id)),
                Err(error) if error.kind() == RemoteErrorKind::NotFound => {
                    // By its id, as its title may have been changed at Nudj.
                    let is_it = |challenge: &Challenge| challenge.id == id;
                    if attempt.remote.find_challenge(&is_it).await?.is_some() {
                        // It is there, so it is the call that was not found.
                        return Err(error.into());
                    }
                    // Gone at Nudj; an attempt before this one may have made it anew.
                    if let Some(id) = self.look_up(&attempt).await? {
                        attempt.remote.update_challenge(&id, &update).await?;
                        return Ok(Applied::Linked(id));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let created = attempt.remote.create_challenge(&self.body(change)?).await?;
        Ok(Applied::Linked(created.id))
    }
}
