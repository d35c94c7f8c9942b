//! A user is created here and at Nudj. An answer is lost: the user is found, not created again. A refusal takes back what was done here.
//!
//! `cargo run --example request_response`

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use nudj::client::{Client, model::NewUser};
use nudj::mock::{Fault, MockNudj};
use nudj::sync::{
    BoxError,
    request_response::{Local, MemoryJournal, UserSync},
};

/// Your users, by your id, with Nudj's id. In a service: a table, and a `SqliteJournal` in place of the one in memory.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Users {
    fn set(&self, change: impl FnOnce(&mut BTreeMap<String, Option<String>>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[async_trait::async_trait]
impl Local for Users {
    async fn create(&self, id: &str, _: &NewUser) -> Result<(), BoxError> {
        self.set(|users| _ = users.entry(id.to_owned()).or_insert(None));
        Ok(())
    }
    async fn store_nudj_id(&self, id: &str, nudj_id: &str) -> Result<(), BoxError> {
        self.set(|users| _ = users.insert(id.to_owned(), Some(nudj_id.to_owned())));
        Ok(())
    }
    async fn compensate(&self, id: &str, _: &str) -> Result<(), BoxError> {
        self.set(|users| _ = users.remove(id));
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let nudj = MockNudj::start().await?;
    let client = Client::builder().endpoint(nudj.url()).token(nudj.token()).build()?;
    let users = Users::default();
    let sync = UserSync::new(client, users.clone(), MemoryJournal::default());
    println!("left behind by the last run: {:?}", sync.resume().await?);

    nudj.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users").times(1));
    let user = |email: &str| NewUser { email: Some(email.to_owned()), ..NewUser::default() };
    println!("ada is {} at Nudj", sync.create("ada", &user("ada@example.com")).await?);
    println!("bob: {}", sync.create("bob", &user("no address")).await.unwrap_or_else(|error| error.to_string()));
    println!(
        "here: {:?}; at Nudj: {} user",
        users.0.lock().unwrap_or_else(PoisonError::into_inner),
        nudj.users_count()
    );
    Ok(())
}
