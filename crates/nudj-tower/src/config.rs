//! What a bad configuration says.

/// A configuration value is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    field: String,
    problem: String,
}

impl ConfigError {
    /// An error about `field`, which `problem` explains: what is allowed and what was found.
    #[must_use]
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same error seen from the configuration that nests this one: `retry.` before `base_delay`.
    #[must_use]
    pub fn within(mut self, section: &str) -> Self {
        self.field = format!("{section}.{}", self.field);
        self
    }

    /// The field's name, with its sections: `retry.budget.ratio`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is allowed and what was found.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}
