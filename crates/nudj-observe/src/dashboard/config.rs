use axum::http::uri::Authority;
use nudj_tower::ConfigError;
use serde::{Deserialize, Serialize};

/// What the page is called and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// The page's title, 1 to 80 characters. Default `nudj`.
    pub title: String,
    /// How many may watch at once, 1 to 1024; the next is answered 503 and tries again by itself. Default 32.
    pub max_viewers: usize,
    /// How many of the last failed calls are kept, 0 to 500. Default 50.
    pub recent_errors: usize,
    /// How many of the last events (changes of state, ejections, renewals) are kept, 0 to 1000. Default 200.
    pub recent_events: usize,
    /// The names, without a port, by which browsers know the page where breakers can be driven from it. `localhost` and addresses in numbers are
    /// known without. Default none. A name that is not here is some visitor's own, which may point to this machine (DNS rebinding): what
    /// its pages send is not believed.
    pub hosts: Vec<String>,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { title: "nudj".to_owned(), max_viewers: 32, recent_errors: 50, recent_events: 200, hosts: Vec::new() }
    }
}

impl DashboardConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let title = self.title.chars().count();
        if !(1..=80).contains(&title) {
            return Err(ConfigError::new("title", format!("must have 1 to 80 characters, and has {title}")));
        }
        let within = |field, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::new(field, format!("must be {least} to {most}, and is {value}")))
        };
        within("max_viewers", self.max_viewers, 1, 1024)?;
        within("recent_errors", self.recent_errors, 0, 500)?;
        within("recent_events", self.recent_events, 0, 1000)?;
        match self.hosts.iter().find(|host| host.parse::<Authority>().map_or(true, |name| name.host() != host.as_str()))
        {
            Some(host) => Err(ConfigError::new("hosts", format!("must be names without a port, and has {host:?}"))),
            None => Ok(()),
        }
    }
}
