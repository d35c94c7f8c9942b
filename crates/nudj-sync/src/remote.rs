//! The seam to Nudj: what the patterns call, and what its failures mean for them.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use nudj_client::{
    Client, ErrorKind,
    model::{BulkCreated, Challenge, ChallengeUpdate, NewChallenge, NewUser, User, UserUpdate},
};
use thiserror::Error;

use crate::BoxError;

/// What a failed call means for whoever has to decide what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoteErrorKind {
    /// It was not done and may be sent again later: an open circuit, no connection, a credential or an idempotency key that could not be
    /// had for now, 408, 425.
    NotDone,
    /// It was not done because there is no quota for it now: our own limiter, 429.
    Throttled,
    /// It may or may not have been done: a lost answer, a timeout, 5xx, a 404 or 410 that is not the API's own. Look before
    /// something is created again.
    Unknown,
    /// Something unique is taken: 409.
    Conflict,
    /// There is no such record: 404 with the API's own code `NOT_FOUND`.
    NotFound,
    /// This call is not allowed: 403. Another record's may be, or none is, for a token that lacks a right.
    Forbidden,
    /// No call can succeed before a person has changed something: a token that is refused, a setting.
    Unauthorized,
    /// This record will never be taken as it is: any other 4xx, an argument that cannot be sent.
    Refused,
}

impl RemoteErrorKind {
    /// Whether the same call may succeed later with nothing changed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::NotDone | Self::Throttled | Self::Unknown)
    }
}

/// A call to Nudj that failed.
#[derive(Debug, Error)]
#[error("{source}")]
pub struct RemoteError {
    kind: RemoteErrorKind,
    retry_after: Option<Duration>,
    source: BoxError,
}

impl RemoteError {
    /// For your own [`Remote`].
    pub fn new(kind: RemoteErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, retry_after: None, source: source.into() }
    }

    /// What it means.
    #[must_use]
    pub fn kind(&self) -> RemoteErrorKind {
        self.kind
    }

    /// How long to wait at least, where a layer or the server said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The client's own error, where the call was made by [`Client`].
    #[must_use]
    pub fn client_error(&self) -> Option<&nudj_client::Error> {
        self.source.downcast_ref()
    }
}

impl From<nudj_client::Error> for RemoteError {
    fn from(error: nudj_client::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::CircuitOpen | ErrorKind::Connect => RemoteErrorKind::NotDone,
            ErrorKind::RateLimited => RemoteErrorKind::Throttled,
            ErrorKind::Status { status, .. } => match status.as_u16() {
                404 | 410 if error.code() == Some("NOT_FOUND") => RemoteErrorKind::NotFound,
                // Of a proxy that does not know the way: nothing is said of the record, so nobody is to take it for erased.
                404 | 410 => RemoteErrorKind::Unknown,
                408 | 425 => RemoteErrorKind::NotDone,
                429 => RemoteErrorKind::Throttled,
                409 => RemoteErrorKind::Conflict,
                403 => RemoteErrorKind::Forbidden,
                400..=499 => RemoteErrorKind::Refused,
                _ => RemoteErrorKind::Unknown,
            },
            // Its source is away: nothing was sent, and nobody has to do anything.
            ErrorKind::Auth { .. } if error.is_retryable() => RemoteErrorKind::NotDone,
            ErrorKind::Auth { .. } => RemoteErrorKind::Unauthorized,
            ErrorKind::Config { .. } => RemoteErrorKind::Refused,
            _ if !error.was_sent() => RemoteErrorKind::NotDone,
            _ => RemoteErrorKind::Unknown,
        };
        let kind = match kind {
            // What is there, or is not, was found by the last attempt.
            RemoteErrorKind::NotFound | RemoteErrorKind::Conflict => kind,
            // The last attempt's end says nothing of the ones before it.
            _ if error.is_in_doubt() => RemoteErrorKind::Unknown,
            kind => kind,
        };
        Self { kind, retry_after: error.retry_after(), source: error.into() }
    }
}

/// What the patterns need of Nudj. [`Client`] implements it, with all its layers; a test may have its own.
///
/// No method creates anything twice by itself: a call whose outcome is unknown ends in [`RemoteErrorKind::Unknown`].
#[async_trait]
pub trait Remote: Send + Sync {
    /// Creates a user.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn create_user(&self, user: &NewUser) -> Result<User, RemoteError>;

    /// Creates many users in one call; each may fail by itself. Seed only: not in the public reference.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn create_users(&self, users: &[NewUser]) -> Result<BulkCreated, RemoteError>;

    /// The user with this id of Nudj's, if there is one.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn get_user(&self, id: &str) -> Result<Option<User>, RemoteError>;

    /// The user with exactly this id of yours, if there is one.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn find_user_by_external_id(&self, external_user_id: &str) -> Result<Option<User>, RemoteError>;

    /// The user with this email address, upper and lower case alike, if there is one.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn find_user_by_email(&self, email: &str) -> Result<Option<User>, RemoteError>;

    /// Changes a user. Seed only: not in the public reference.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn update_user(&self, id: &str, change: &UserUpdate) -> Result<User, RemoteError>;

    /// Erases a user's personal data. One that is not there is not an error: what was wanted is so.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn delete_user(&self, id: &str) -> Result<(), RemoteError>;

    /// Creates a challenge. Seed only: not in the public reference.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn create_challenge(&self, body: &NewChallenge) -> Result<Challenge, RemoteError>;

    /// Changes a challenge.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn update_challenge(&self, id: &str, body: &ChallengeUpdate) -> Result<Challenge, RemoteError>;

    /// The challenge for which `wanted` is true, if there is one; reads the list until it is found.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn find_challenge(
        &self,
        wanted: &(dyn for<'c> Fn(&'c Challenge) -> bool + Send + Sync),
    ) -> Result<Option<Challenge>, RemoteError>;
}

#[async_trait]
impl Remote for Client {
    async fn create_user(&self, user: &NewUser) -> Result<User, RemoteError> {
        Ok(self.admin().users().create(user).await?)
    }

    async fn create_users(&self, users: &[NewUser]) -> Result<BulkCreated, RemoteError> {
        Ok(self.admin().users().create_many(users).await?)
    }

    async fn get_user(&self, id: &str) -> Result<Option<User>, RemoteError> {
        found(self.admin().users().get(id).await)
    }

    async fn find_user_by_external_id(&self, external_user_id: &str) -> Result<Option<User>, RemoteError> {
        find_user(self, external_user_id, |user| user.external_user_id.as_deref() == Some(external_user_id)).await
    }

    async fn find_user_by_email(&self, email: &str) -> Result<Option<User>, RemoteError> {
        let wanted = email.to_lowercase();
        find_user(self, email, |user| user.email.as_deref().is_some_and(|email| email.to_lowercase() == wanted)).await
    }

    async fn update_user(&self, id: &str, change: &UserUpdate) -> Result<User, RemoteError> {
        Ok(self.admin().users().update(id, change).await?)
    }

    async fn delete_user(&self, id: &str) -> Result<(), RemoteError> {
        found(self.admin().users().delete(id).await).map(drop)
    }

    async fn create_challenge(&self, body: &NewChallenge) -> Result<Challenge, RemoteError> {
        Ok(self.admin().challenges().create(body).await?)
    }

    async fn update_challenge(&self, id: &str, body: &ChallengeUpdate) -> Result<Challenge, RemoteError> {
        Ok(self.admin().challenges().update(id, body).await?)
    }

    async fn find_challenge(
        &self,
        wanted: &(dyn for<'c> Fn(&'c Challenge) -> bool + Send + Sync),
    ) -> Result<Option<Challenge>, RemoteError> {
        let mut all = self.admin().challenges().list().stream();
        while let Some(challenge) = all.try_next().await? {
            if wanted(&challenge) {
                return Ok(Some(challenge));
            }
        }
        Ok(None)
    }
}

/// The API's search is a filter by "contains", where there is one at all; what counts is compared here.
async fn find_user(
    client: &Client,
    text: &str,
    wanted: impl Fn(&User) -> bool + Send,
) -> Result<Option<User>, RemoteError> {
    let mut candidates = client.admin().users().list().search(text).stream();
    while let Some(user) = candidates.try_next().await? {
        if wanted(&user) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

fn found<T>(answer: Result<T, nudj_client::Error>) -> Result<Option<T>, RemoteError> {
    match answer.map_err(RemoteError::from) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == RemoteErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use nudj_mock::{Fault, MockNudj};

    use super::*;

    async fn answered(fault: Fault) -> RemoteError {
        let mock = MockNudj::start().await.unwrap();
        mock.inject(fault);
        let config = nudj_client::Config { endpoints: vec![mock.url()], ..nudj_client::Config::default() };
        let client = Client::builder().config(config).token(mock.token()).build().unwrap();
        client.update_user("1", &UserUpdate::default()).await.unwrap_err()
    }

    #[tokio::test]
    async fn answer_says_what_it_is_about_and_only_the_apis_own_that_a_record_is_not_there() {
        let json = |code, body: &'static str| Fault::answer(code, HeaderValue::from_static("application/json"), body);
        let rows = [
            (Fault::status(404), RemoteErrorKind::NotFound),
            (json(410, r#"{"message":"gone","code":"NOT_FOUND"}"#), RemoteErrorKind::NotFound),
            (Fault::html(404), RemoteErrorKind::Unknown),
            (Fault::html(410), RemoteErrorKind::Unknown),
            (json(404, ""), RemoteErrorKind::Unknown),
            (json(404, r#"{"code":"DEPLOYMENT_NOT_FOUND","message":"no such deployment"}"#), RemoteErrorKind::Unknown),
            (json(404, r#"{"error":{"code":"NOT_FOUND"}}"#), RemoteErrorKind::Unknown),
            (Fault::status(403), RemoteErrorKind::Forbidden),
            (Fault::status(401), RemoteErrorKind::Unauthorized),
        ];
        for (fault, kind) in rows {
            let text = format!("{fault:?}");
            assert_eq!(answered(fault).await.kind(), kind, "{text}");
        }
    }

    #[tokio::test]
    async fn where_the_credential_could_not_be_had_for_now_nothing_was_done_and_nobody_is_needed() {
        use std::sync::Arc;

        use nudj_client::credentials::{CredentialProvider, EnvironmentCredential};
        use nudj_tower::credentials::FromFn;

        let away = FromFn::new("vault", || async { Err("connection refused".into()) });
        let rows: [(Arc<dyn CredentialProvider>, _); 2] = [
            (Arc::new(away), RemoteErrorKind::NotDone),
            (Arc::new(EnvironmentCredential::new(["NUDJ_TEST_NO_SUCH_VARIABLE"])), RemoteErrorKind::Unauthorized),
        ];
        for (provider, kind) in rows {
            let config = nudj_client::Config::with_endpoints(["http://127.0.0.1:1"]);
            let client = Client::builder().config(config).credentials(provider).build().unwrap();
            let error = client.update_user("1", &UserUpdate::default()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
