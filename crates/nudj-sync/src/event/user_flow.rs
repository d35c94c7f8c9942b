//! [`UserFlow`]: a registered user comes to be at Nudj.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use nudj_client::model::{NewUser, User};
use serde::{Deserialize, Serialize};

use super::{ConsumerBuilder, Delivery, Event, Permanent};
use crate::{BoxError, Remote, RemoteErrorKind};

/// A user registered in your system: starts the flow.
pub const USER_REGISTERED: &str = "user.registered";
/// The user is to be created at Nudj.
pub const USER_SYNC_REQUESTED: &str = "user.sync.requested";
/// The user is at Nudj.
pub const USER_SYNCED: &str = "user.synced";

/// Payload of [`USER_REGISTERED`] and [`USER_SYNC_REQUESTED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserEvent {
    /// Your id for the user: `externalUserId` at Nudj.
    pub user_id: String,
}

/// Payload of [`USER_SYNCED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserSynced {
    /// Your id for the user.
    pub user_id: String,
    /// Nudj's id.
    pub nudj_user_id: String,
}

/// Your users. Implemented by every `Fn(String) -> impl Future<Output = Result<Option<NewUser>, E>>`.
#[async_trait]
pub trait UserDirectory: Send + Sync + 'static {
    /// What Nudj is to know of a user; `None` when the user is gone, which ends the flow. `externalUserId` is set by the flow.
    ///
    /// # Errors
    /// Any: it is asked again after a backoff.
    async fn find(&self, user_id: &str) -> Result<Option<NewUser>, BoxError>;
}

#[async_trait]
impl<F, Fut, E> UserDirectory for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<NewUser>, E>> + Send,
    E: Into<BoxError>,
{
    async fn find(&self, user_id: &str) -> Result<Option<NewUser>, BoxError> {
        self(user_id.to_owned()).await.map_err(Into::into)
    }
}

/// `user.registered` -> `user.sync.requested` -> Nudj -> `user.synced`, to be put on a consumer. Handle [`USER_SYNCED`] yourself, to store
/// Nudj's id.
///
/// Each user is created once. Creating is not repeatable at Nudj, so from the second attempt on, and whenever Nudj says that the user is
/// taken, the user is looked up by `externalUserId` first. Two things this cannot cure: a request that is still on its way to Nudj when
/// the look-up answers, and a Nudj that accepts an `externalUserId` twice; together they would make two.
#[derive(Clone)]
pub struct UserFlow {
    remote: Arc<dyn Remote>,
    users: Arc<dyn UserDirectory>,
}

impl UserFlow {
    /// Creates at `remote` the users of this directory.
    pub fn new(remote: impl Remote + 'static, users: impl UserDirectory) -> Self {
        Self { remote: Arc::new(remote), users: Arc::new(users) }
    }

    /// Adds the handlers of both topics.
    pub fn on(self, consumer: ConsumerBuilder) -> ConsumerBuilder {
        let request = |delivery: Delivery| async move {
            let registered: UserEvent = delivery.event.parse()?;
            Ok::<_, BoxError>(delivery.event.follow_up(USER_SYNC_REQUESTED, registered)?)
        };
        let sync = move |delivery: Delivery| {
            let flow = self.clone();
            async move { flow.sync(&delivery).await }
        };
        consumer.on(USER_REGISTERED, request).on(USER_SYNC_REQUESTED, sync)
    }

    async fn sync(&self, delivery: &Delivery) -> Result<Vec<Event>, BoxError> {
        let UserEvent { user_id } = delivery.event.parse()?;
        let Some(user) = self.users.find(&user_id).await? else {
            tracing::info!(event_id = %delivery.event.id, "the user to be synced is gone");
            return Ok(Vec::new());
        };
        let user = NewUser { external_user_id: Some(user_id.clone()), ..user };
        let there = self.ensure(&user_id, &user, delivery.attempt > 1).await?;
        let synced = UserSynced { user_id, nudj_user_id: there.id };
        Ok(vec![delivery.event.follow_up(USER_SYNCED, synced)?])
    }

    /// The user at Nudj, created where there is none.
    async fn ensure(&self, user_id: &str, user: &NewUser, repeated: bool) -> Result<User, BoxError> {
        if repeated && let Some(there) = self.remote.find_user_by_external_id(user_id).await? {
            return Ok(there);
        }
        match self.remote.create_user(user).await {
            Ok(created) => Ok(created),
            Err(error) if error.kind() == RemoteErrorKind::Conflict => {
                // Taken by this very user, or its email by another: that one no repetition cures.
                let there = self.remote.find_user_by_external_id(user_id).await?;
                there.ok_or_else(|| Permanent::new(error).into())
            }
            Err(error) if error.kind() == RemoteErrorKind::Refused => Err(Permanent::new(error).into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for UserFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserFlow").finish_non_exhaustive()
    }
}
