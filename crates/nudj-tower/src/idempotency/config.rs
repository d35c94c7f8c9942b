use serde::{Deserialize, Serialize};

/// Whether keys are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencyConfig {
    /// Whether POST and PATCH get a key and so become repeatable. Only right where the server honours it: others would do the work
    /// twice. Default false: nothing is added.
    pub idempotency_keys: bool,
}
