//! Creates a user in your system and at Nudj, and stores Nudj's id with yours: whatever dies in between, it ends with both or with none.
//!
//! ```
//! use nudj_client::{Client, model::NewUser};
//! use nudj_sync::{BoxError, request_response::{Local, MemoryJournal, UserSync}};
//!
//! struct Database;
//!
//! #[async_trait::async_trait]
//! impl Local for Database {
//!     async fn create(&self, _id: &str, _user: &NewUser) -> Result<(), BoxError> {
//!         Ok(()) // INSERT INTO users … ON CONFLICT DO NOTHING
//!     }
//!     async fn store_nudj_id(&self, _id: &str, _nudj_id: &str) -> Result<(), BoxError> {
//!         Ok(()) // UPDATE users SET nudj_user_id = …
//!     }
//!     async fn compensate(&self, _id: &str, _why: &str) -> Result<(), BoxError> {
//!         Ok(()) // DELETE FROM users …
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let nudj = nudj_mock::MockNudj::start().await?;
//! let client = Client::builder().endpoint(nudj.url()).token(nudj.token()).build()?;
//!
//! let sync = UserSync::new(client, Database, MemoryJournal::default());
//! sync.resume().await?; // what the last run left undone
//! let user = NewUser { email: Some("ada@example.com".into()), ..NewUser::default() };
//! let nudj_id = sync.create("42", &user).await?;
//! assert_eq!(nudj.users()[0]["externalUserId"], "42");
//! # let _ = nudj_id; Ok(()) }
//! ```
//!
//! # Steps
//! Each is in the [`Journal`] before what follows it is begun, so the next start knows where to go on.
//! ```text
//!  begun ── create here ──▶ sending ── create at Nudj ──▶ created ── store its id ──▶ (done, forgotten)
//!    │                         │ ▲
//!    │ failed                  │ └── no answer: look it up by externalUserId first
//!    ▼                         ▼ refused
//!  rolling back ◀──────────────┘ ── compensate ──▶ (done, forgotten)
//! ```
//! Whether a user is at Nudj is decided by `externalUserId`, which is your id. While it is not known whether a POST was done, nothing
//! is rolled back: the record stays, [`Error::Undecided`](crate::Error::Undecided) says so, and
//! [`resume`](UserSync::resume) decides.
//!
//! # On cancel
//! A dropped call is as a killed one: [`resume`](UserSync::resume), or another `create` with the same id, goes on from its record.
//!
//! # Mistakes to avoid
//! Your three methods run again after a crash, so each must bear being repeated, and `compensate` must bear that nothing was created.
//! Creating the user anew on a timeout makes two of it. One journal belongs to one process: [`resume`](UserSync::resume) takes what it
//! does not know for left behind.
//!
//! Source: the request-response pattern of <https://docs.nudj.cx/developer/integration-patterns>, whose `handleUserCreationError` is
//! [`Local::compensate`].

mod config;
mod flow;
mod journal;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
mod step;

pub use config::RequestResponseConfig;
pub use flow::{Local, Resumed, UserSync};
pub use journal::{Entry, Journal};
pub use memory::MemoryJournal;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteJournal;
pub use step::Step;
