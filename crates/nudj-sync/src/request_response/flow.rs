use std::fmt;

use async_trait::async_trait;
use nudj_client::model::NewUser;
use parking_lot::Mutex;
use tokio::time::sleep_until;

use super::{
    Entry, Journal, RequestResponseConfig, Step,
    step::{Next, after_failure},
};
use crate::{BoxError, Error, Remote, RemoteError, RemoteErrorKind, under_way::UnderWay, until::from_now};

/// Records looked at in one go by [`UserSync::resume`].
const PAGE: u32 = 100;

/// Your system. Each method may be called again after a crash, and must then do nothing new.
#[async_trait]
pub trait Local: Send + Sync {
    /// Creates the user under this id, unless it is there.
    ///
    /// # Errors
    /// Anything: then nothing is sent to Nudj, and [`Local::compensate`] is called.
    async fn create(&self, id: &str, user: &NewUser) -> Result<(), BoxError>;

    /// Stores Nudj's id with the user.
    ///
    /// # Errors
    /// Anything: then the next start calls it again.
    async fn store_nudj_id(&self, id: &str, nudj_id: &str) -> Result<(), BoxError>;

    /// Takes back what [`Local::create`] did, if it did: the user will not be at Nudj.
    ///
    /// # Errors
    /// Anything: then the next start calls it again.
    async fn compensate(&self, id: &str, why: &str) -> Result<(), BoxError>;
}

/// What [`UserSync::resume`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// Users that are now in both systems.
    pub completed: u64,
    /// Users that are now in neither.
    pub rolled_back: u64,
    /// Users that are still undecided, or whose local side failed.
    pub left: u64,
}

/// Creates users here and at Nudj.
pub struct UserSync<N, L, J> {
    remote: N,
    local: L,
    journal: J,
    config: RequestResponseConfig,
    rng: Mutex<fastrand::Rng>,
    /// Ids that a call of this process works on.
    under_way: UnderWay,
}

impl<N, L, J: fmt::Debug> fmt::Debug for UserSync<N, L, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("UserSync");
        shown.field("journal", &self.journal).field("config", &self.config).finish_non_exhaustive()
    }
}

impl<N: Remote, L: Local, J: Journal> UserSync<N, L, J> {
    /// With the default numbers.
    pub fn new(remote: N, local: L, journal: J) -> Self {
        let config = RequestResponseConfig::default();
        let (rng, under_way) = (Mutex::new(fastrand::Rng::new()), UnderWay::default());
        Self { remote, local, journal, config, rng, under_way }
    }

    /// Sets the numbers.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn config(mut self, config: RequestResponseConfig) -> Result<Self, Error> {
        config.validate()?;
        self.config = config;
        Ok(self)
    }

    /// Waits are drawn from this.
    #[must_use]
    pub fn rng(mut self, rng: fastrand::Rng) -> Self {
        self.rng = Mutex::new(rng);
        self
    }

    /// Creates the user here and at Nudj, and gives Nudj's id. `id` is yours, unique and chosen beforehand; at Nudj it is the
    /// `externalUserId`, whatever `user` says. When a record of this id was left unfinished, that one is finished, with its own user.
    ///
    /// # Errors
    /// [`Error::RolledBack`]: it failed, and your compensation has run. [`Error::Undecided`]: it is not known whether the user is at
    /// Nudj; a later [`resume`](Self::resume) decides. [`Error::Local`]: your system failed, and a later resume goes on.
    /// [`Error::UnderWay`]: another call works on this id. [`Error::Store`], [`Error::Corrupt`]: the journal. [`Error::Config`]: an empty
    /// id.
    pub async fn create(&self, id: &str, user: &NewUser) -> Result<String, Error> {
        if id.is_empty() {
            return Err(Error::config("id", "must not be empty"));
        }
        let _place = self.under_way.enter(id).ok_or_else(|| Error::UnderWay { id: id.to_owned() })?;
        let user = NewUser { external_user_id: Some(id.to_owned()), ..user.clone() };
        let known = self.journal.begin(id, &user).await?;
        let resumed = known.is_some();
        let entry = known.unwrap_or_else(|| Entry { id: id.to_owned(), user, step: Step::Begun });
        self.finish(entry, resumed).await
    }

    /// Finishes what an earlier process, or a dropped call, left undone. To be called at the start, and now and then where
    /// [`Error::Undecided`] or [`Error::Local`] was met.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]: the journal. A record that cannot be finished now is counted, not an error.
    pub async fn resume(&self) -> Result<Resumed, Error> {
        let (mut resumed, mut after) = (Resumed::default(), String::new());
        loop {
            let page = self.journal.unfinished(&after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(resumed) };
            after.clone_from(&last.id);
            for listed in page {
                let Some(_place) = self.under_way.enter(&listed.id) else { continue };
                // Since the page was read, a call may have taken it further, or to its end.
                let Some(entry) = self.journal.get(&listed.id).await? else { continue };
                match self.finish(entry, true).await {
                    Ok(_) => resumed.completed = resumed.completed.saturating_add(1),
                    Err(Error::RolledBack { .. }) => resumed.rolled_back = resumed.rolled_back.saturating_add(1),
                    Err(error @ (Error::Store { .. } | Error::Corrupt { .. })) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "a user's creation is still unfinished");
                        resumed.left = resumed.left.saturating_add(1);
                    }
                }
            }
        }
    }

    /// `resumed`: what was begun after the last step may have been done.
    async fn finish(&self, entry: Entry, resumed: bool) -> Result<String, Error> {
        let Entry { id, user, mut step } = entry;
        let mut in_doubt = resumed && step == Step::Sending;
        let mut cause: Option<BoxError> = None;
        loop {
            let next = match &step {
                Step::Begun => match self.local.create(&id, &user).await {
                    Ok(()) => Step::Sending,
                    Err(error) => roll_back(&mut cause, error),
                },
                Step::Sending => match self.at_nudj(&id, &user, in_doubt).await {
                    Ok(nudj_id) => Step::Created { nudj_id },
                    Err((Next::RollBack, error)) => roll_back(&mut cause, error.into()),
                    Err((_, error)) => return Err(Error::Undecided { id, source: error }),
                },
                Step::Created { nudj_id } => {
                    self.local.store_nudj_id(&id, nudj_id).await.map_err(Error::Local)?;
                    self.journal.finished(&id).await?;
                    return Ok(nudj_id.clone());
                }
                Step::RollingBack { why } => {
                    self.local.compensate(&id, why).await.map_err(Error::Local)?;
                    self.journal.finished(&id).await?;
                    let source = cause.unwrap_or_else(|| why.clone().into());
                    return Err(Error::RolledBack { id, source });
                }
            };
            self.journal.reached(&id, &next).await?;
            in_doubt = false;
            step = next;
        }
    }

    /// Looks the user up where it may be there, else creates it, until one of them says something.
    async fn at_nudj(&self, id: &str, user: &NewUser, mut in_doubt: bool) -> Result<String, (Next, RemoteError)> {
        let mut retries = 0;
        let mut look_up = in_doubt;
        // The conflict that a look-up is to explain.
        let mut conflict: Option<RemoteError> = None;
        loop {
            let was_lookup = look_up;
            let error = if look_up {
                match self.remote.find_user_by_external_id(id).await {
                    Ok(Some(user)) => return Ok(user.id),
                    Ok(None) => {
                        if let Some(conflict) = conflict.take() {
                            return Err((Next::RollBack, conflict));
                        }
                        (look_up, in_doubt) = (false, false);
                        continue;
                    }
                    Err(error) => error,
                }
            } else {
                match self.remote.create_user(user).await {
                    Ok(user) => return Ok(user.id),
                    // Looked at before it is called another user's: a POST of ours may have come late.
                    Err(error) if error.kind() == RemoteErrorKind::Conflict => {
                        (conflict, look_up, in_doubt) = (Some(error), true, true);
                        continue;
                    }
                    Err(error) => error,
                }
            };
            in_doubt = in_doubt || (!was_lookup && error.kind() == RemoteErrorKind::Unknown);
            retries += 1;
            match after_failure(error.kind(), was_lookup, in_doubt, retries <= self.config.max_retries) {
                Next::LookUp => look_up = true,
                Next::Create => look_up = false,
                next @ (Next::Leave | Next::RollBack) => return Err((next, error)),
            }
            let asked = error.retry_after().unwrap_or_default();
            let wait = self.config.backoff(retries, asked, &mut self.rng.lock());
            sleep_until(from_now(wait)).await;
        }
    }
}

fn roll_back(cause: &mut Option<BoxError>, error: BoxError) -> Step {
    let why = error.to_string();
    *cause = Some(error);
    Step::RollingBack { why }
}
