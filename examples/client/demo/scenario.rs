//! The calls of the demonstration: users, a challenge, a catalogue.

use futures_util::{StreamExt, future::join_all, stream};
use http::StatusCode;
use nudj::{
    client::{
        Client, Error,
        model::{NewChallenge, NewUser, User, UserUpdate},
    },
    sync::batch::Stop,
};

/// Calls of the import that may be under way at once.
const IN_FLIGHT: usize = 32;
/// Readers of the catalogue at once.
const READERS: usize = 50;

pub(crate) struct Scenario<'c> {
    client: &'c Client,
    run: String,
    stop: Stop,
    created: Vec<String>,
    failed: u64,
}

impl<'c> Scenario<'c> {
    /// Once `stop` is pulled, no further scene begins, and those that create many end early.
    pub(crate) fn new(client: &'c Client, stop: Stop) -> Self {
        // Names differ from run to run, so that a real API does not refuse them as known.
        let run = format!("{:08x}", fastrand::u32(..));
        Self { client, run, stop, created: Vec::new(), failed: 0 }
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// False after the stop.
    pub(crate) fn begins(&self, scene: &str) -> bool {
        let begins = !self.stop.is_now();
        if begins {
            say!("{scene}");
        }
        begins
    }

    pub(crate) fn client(&self) -> &'c Client {
        self.client
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn count_failures(&mut self, failures: u64) {
        self.failed += failures;
    }

    /// A user is created, read, changed and deleted, and is then not found.
    pub(crate) async fn users(&mut self) {
        if !self.begins("users") {
            return;
        }
        let users = self.client.admin().users();
        let Some(user) = self.step("create", users.create(&self.new_user("ada")).await) else { return };
        self.step("read", users.get(&user.id).await);
        let update = UserUpdate { display_name: Some("Ada Lovelace".to_owned()), ..UserUpdate::default() };
        if let Some(user) = self.step("update", users.update(&user.id, &update).await) {
            say!("    now called {}", user.display_name.as_deref().unwrap_or("(nothing)"));
        }
        self.step("delete", users.delete(&user.id).await);
        match users.get(&user.id).await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => say!("  read again: {error}"),
            // The public reference promises only that the personal data is gone.
            Ok(user) => say!("  read again: the record {} stays, anonymised", user.id),
            Err(error) => drop(self.step::<User>("read again", Err(error))),
        }
    }

    /// A challenge is created, started and completed with a score of 100.
    pub(crate) async fn challenge(&mut self) {
        if !self.begins("challenge") {
            return;
        }
        let (admin, mine) = (self.client.admin().challenges(), self.client.integration().challenges());
        let new = NewChallenge::titled("First steps", "test-community");
        let Some(challenge) = self.step("create", admin.create(&new).await) else { return };
        self.step("start", mine.start(&challenge.id, None).await);
        if let Some(completion) = self.step("complete", mine.complete(&challenge.id, None, 100.0).await) {
            say!("    completed: {:?}, score: {:?}", completion.completed, completion.score);
        }
    }

    /// Many read the same catalogue at once, and again: one call to the API.
    pub(crate) async fn rewards(&mut self) {
        if !self.begins(&format!("catalogue of rewards, read {READERS} times at once and {READERS} times after")) {
            return;
        }
        let client = self.client;
        let mut failures = 0;
        for _ in 0..2 {
            let pages = join_all((0..READERS).map(|_| async { client.integration().rewards().list().page().await }));
            failures += pages.await.iter().filter(|page| page.is_err()).count();
        }
        say!("  {} answered, {failures} failed", 2 * READERS - failures);
        self.failed += failures as u64;
    }

    /// Deletes what the import created.
    pub(crate) async fn clean_up(&mut self) {
        let ids = std::mem::take(&mut self.created);
        let client = self.client;
        let failures = stream::iter(&ids)
            .map(|id| async move { client.admin().users().delete(id).await })
            .buffer_unordered(IN_FLIGHT)
            .filter(|result| std::future::ready(result.is_err()))
            .count()
            .await;
        say!("clean-up\n  {} imported users deleted, {failures} failed", ids.len() - failures);
        self.failed += failures as u64;
    }

    /// Was created by another scene.
    pub(crate) fn created(&mut self, ids: impl IntoIterator<Item = String>) {
        self.created.extend(ids);
    }

    pub(crate) fn new_user(&self, name: &str) -> NewUser {
        NewUser {
            email: Some(format!("{name}-{}@example.org", self.run)),
            username: Some(format!("{name}-{}", self.run)),
            external_user_id: Some(format!("demo-{}-{name}", self.run)),
            ..NewUser::default()
        }
    }

    fn step<T>(&mut self, name: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                say!("  {name}: ok");
                Some(value)
            }
            Err(error) => {
                say!("  {name}: failed ({}): {error}", error.kind().name());
                self.failed += 1;
                None
            }
        }
    }
}
