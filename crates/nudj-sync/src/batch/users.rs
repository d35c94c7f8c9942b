use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use nudj_client::model::{BulkError, NewUser};

use super::{Lookup, Target};
use crate::{Remote, RemoteError, RemoteErrorKind};

/// Creates users; looks them up by `externalUserId`, else by email address.
#[derive(Debug)]
pub struct Users<N> {
    remote: N,
    bulk: AtomicBool,
}

impl<N: Remote> Users<N> {
    /// One documented POST per user.
    pub fn new(remote: N) -> Self {
        Self { remote, bulk: AtomicBool::new(false) }
    }

    /// One call per chunk. Seed only: not in the public reference. When the API does not know it (404 or 405), every user gets a POST.
    pub fn bulk(remote: N) -> Self {
        Self { remote, bulk: AtomicBool::new(true) }
    }
}

#[async_trait]
impl<N: Remote> Target for Users<N> {
    type Record = NewUser;

    async fn create(&self, user: &NewUser) -> Result<String, RemoteError> {
        Ok(self.remote.create_user(user).await?.id)
    }

    async fn find(&self, user: &NewUser) -> Result<Lookup, RemoteError> {
        let present = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let found = match (present(&user.external_user_id), present(&user.email)) {
            (Some(id), _) => self.remote.find_user_by_external_id(&id).await?,
            (None, Some(email)) => self.remote.find_user_by_email(&email).await?,
            (None, None) => return Ok(Lookup::Impossible),
        };
        Ok(found.map_or(Lookup::Missing, |user| Lookup::Found(user.id)))
    }

    async fn create_many(&self, users: &[&NewUser]) -> Result<Option<Vec<Result<String, RemoteError>>>, RemoteError> {
        let body: Vec<NewUser> = users.iter().map(|user| (*user).clone()).collect();
        let answer = match self.remote.create_users(&body).await {
            Ok(answer) => answer,
            Err(error) if unknown_endpoint(&error) => {
                self.bulk.store(false, Ordering::Relaxed);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut results: Vec<Option<Result<String, RemoteError>>> = users.iter().map(|_| None).collect();
        for result in answer.results {
            if let Some(place) = results.get_mut(result.index) {
                *place = match (result.success, result.user) {
                    (true, Some(user)) => Some(Ok(user.id)),
                    (true, None) => None,
                    (false, _) => Some(Err(refused(result.error.unwrap_or_default()))),
                };
            }
        }
        let missing = || RemoteError::new(RemoteErrorKind::Unknown, "the bulk answer does not name this user");
        Ok(Some(results.into_iter().map(|result| result.unwrap_or_else(|| Err(missing()))).collect()))
    }

    fn in_bulk(&self) -> bool {
        self.bulk.load(Ordering::Relaxed)
    }
}

fn unknown_endpoint(error: &RemoteError) -> bool {
    let Some(client) = error.client_error() else { return error.kind() == RemoteErrorKind::NotFound };
    // A way that is not known is answered by whoever does not know it, also by a proxy. After a lost answer it is known.
    !client.is_in_doubt() && client.status().is_some_and(|status| matches!(status.as_u16(), 404 | 405))
}

/// The API's codes are tRPC's.
fn refused(error: BulkError) -> RemoteError {
    let kind = match error.code.as_deref() {
        Some("CONFLICT") => RemoteErrorKind::Conflict,
        Some("TOO_MANY_REQUESTS") => RemoteErrorKind::Throttled,
        Some("UNAUTHORIZED") => RemoteErrorKind::Unauthorized,
        Some("FORBIDDEN") => RemoteErrorKind::Forbidden,
        Some("INTERNAL_SERVER_ERROR" | "TIMEOUT") | None => RemoteErrorKind::Unknown,
        Some(_) => RemoteErrorKind::Refused,
    };
    let message = error.message.unwrap_or_else(|| "the API gave no reason".to_owned());
    RemoteError::new(kind, error.code.map_or(message.clone(), |code| format!("{code}: {message}")))
}
