//! What is kept of a request for its replay.

#[cfg(feature = "retry")]
use http::Request;
#[cfg(feature = "retry")]
use http_body::Body;

#[cfg(feature = "retry")]
use crate::retry::{ReplayBody, another};

/// Whether and how a copy of a request is kept for a replay.
#[diagnostic::on_unimplemented(
    note = "by default requests must be `Clone`; over a `ReplayBody` use `CredentialsLayer::replay_bodies`, else `without_replay`"
)]
pub trait Replay<Req> {
    /// The copy, if there can be one.
    fn keep(&self, request: &Req) -> Option<Req>;

    /// Whether everything of the copy is there still.
    fn is_intact(kept: &Req) -> bool {
        let _ = kept;
        true
    }

    /// The copy is going to be sent: stops the one before and says whether everything is there.
    fn claim(kept: &Req) -> bool {
        let _ = kept;
        true
    }
}

/// Keeps a copy of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replaying;

/// Keeps a request with another reader of its [`ReplayBody`], and replays it as long as no byte has been let go.
#[cfg(feature = "retry")]
#[derive(Clone, Copy, Debug, Default)]
pub struct WhileIntact;

/// Keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Once;

impl<Req: Clone> Replay<Req> for Replaying {
    fn keep(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

#[cfg(feature = "retry")]
impl<B: Body> Replay<Request<ReplayBody<B>>> for WhileIntact {
    fn keep(&self, request: &Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        Some(another(request))
    }

    fn is_intact(kept: &Request<ReplayBody<B>>) -> bool {
        kept.body().is_intact()
    }

    fn claim(kept: &Request<ReplayBody<B>>) -> bool {
        kept.body().claim()
    }
}

impl<Req> Replay<Req> for Once {
    fn keep(&self, _: &Req) -> Option<Req> {
        None
    }
}
