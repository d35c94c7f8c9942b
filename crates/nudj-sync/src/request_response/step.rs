//! How far a record has come, and what comes next: values in, verdict out.

use crate::RemoteErrorKind;

/// What is surely done. What follows may have been done as well: a crash can come before it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Nothing is; the user may be created in your system next.
    Begun,
    /// The user is in your system; a POST may have been sent to Nudj.
    Sending,
    /// The user is at Nudj.
    Created {
        /// Nudj's id.
        nudj_id: String,
    },
    /// It failed, the user is not at Nudj, and what was done is to be taken back.
    RollingBack {
        /// Why.
        why: String,
    },
}

/// What to do after a call to Nudj failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, then look the user up before it is created again.
    LookUp,
    /// Wait, then create: it surely was not done.
    Create,
    /// The user may be at Nudj: leave the record to the next start.
    Leave,
    /// The user is not at Nudj and will not be.
    RollBack,
}

/// `in_doubt`: whether an earlier POST may have been done. `retries_left`: whether another try is allowed.
pub(super) fn after_failure(kind: RemoteErrorKind, was_lookup: bool, in_doubt: bool, retries_left: bool) -> Next {
    // A POST that may have been done is in doubt from here on; a failed look-up changes nothing.
    let in_doubt = in_doubt || (!was_lookup && matches!(kind, RemoteErrorKind::Unknown | RemoteErrorKind::Conflict));
    match kind {
        kind if kind.is_retryable() && retries_left => {
            if in_doubt {
                Next::LookUp
            } else {
                Next::Create
            }
        }
        // Something is taken. If it is ours, the look-up finds it; when it did not, it is another user's.
        RemoteErrorKind::Conflict if !was_lookup => Next::RollBack,
        _ if in_doubt => Next::Leave,
        _ => Next::RollBack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [RemoteErrorKind; 8] = [
        RemoteErrorKind::NotDone,
        RemoteErrorKind::Throttled,
        RemoteErrorKind::Unknown,
        RemoteErrorKind::Conflict,
        RemoteErrorKind::NotFound,
        RemoteErrorKind::Forbidden,
        RemoteErrorKind::Unauthorized,
        RemoteErrorKind::Refused,
    ];

    #[test]
    fn what_may_be_at_nudj_is_neither_rolled_back_nor_created_without_a_look() {
        for kind in ALL {
            for (was_lookup, retries_left) in [(false, false), (false, true), (true, false), (true, true)] {
                let next = after_failure(kind, was_lookup, true, retries_left);
                let taken = kind == RemoteErrorKind::Conflict && !was_lookup;
                assert!(
                    matches!(next, Next::LookUp | Next::Leave) || taken,
                    "{kind:?} {was_lookup} {retries_left} {next:?}"
                );
            }
        }
        assert_eq!(after_failure(RemoteErrorKind::Unknown, false, false, true), Next::LookUp);
        assert_eq!(after_failure(RemoteErrorKind::Unknown, false, false, false), Next::Leave);
    }

    #[test]
    fn what_surely_was_not_done_is_tried_again_and_then_rolled_back() {
        for kind in [RemoteErrorKind::NotDone, RemoteErrorKind::Throttled] {
            assert_eq!(after_failure(kind, false, false, true), Next::Create);
            assert_eq!(after_failure(kind, false, false, false), Next::RollBack);
        }
        let final_ones = [
            RemoteErrorKind::Refused,
            RemoteErrorKind::NotFound,
            RemoteErrorKind::Forbidden,
            RemoteErrorKind::Unauthorized,
        ];
        for kind in final_ones {
            assert_eq!(after_failure(kind, false, false, true), Next::RollBack);
        }
    }
}
