//! A user who is edited here and at Nudj: both edits are kept, a conflict is decided and recorded, a deletion goes over too.
//!
//! `cargo run --example bidirectional`

use nudj::{
    client::Client,
    mock::MockNudj,
    sync::{
        BoxError,
        bidirectional::{Bidirectional, MemorySide, MemoryState, NudjUsers, Policy, State},
    },
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let nudj = MockNudj::start().await?;
    let client = Client::builder().endpoint(nudj.url()).token(nudj.token()).build()?;
    // In a service: your table behind the trait `Side`, and a `SqliteState`.
    let local = MemorySide::default();
    let set = |field: &str, value: &str| local.edit("ada", |fields| drop(fields.insert(field.into(), value.into())));
    let sync = Bidirectional::new(local.clone(), NudjUsers::new(client), MemoryState::default(), Policy::FieldMerge);

    set("email", "ada@example.com");
    set("displayName", "Ada");
    println!("new here:       {:?}", sync.sync("ada").await?);
    println!("again, no echo: {:?}", sync.sync("ada").await?);

    let id = nudj.users().first().and_then(|user| user["id"].as_str()).unwrap_or_default().to_owned();
    set("bio", "counts");
    nudj.edit_user(&id, &json!({"displayName": "Ada L."}))?;
    println!("edits of both:  {:?}", sync.sync("ada").await?);
    println!("  here: {:?}", local.get("ada").map(|user| user.fields));

    set("bio", "counts engines");
    nudj.edit_user(&id, &json!({"bio": "writes notes"}))?;
    sync.sync("ada").await?;
    for conflict in sync.state().conflicts(10).await? {
        println!("conflict:       {:?} won: {:?}", conflict.winner, conflict.outcome);
    }

    local.remove("ada");
    println!("deleted here:   {:?}; users at Nudj: {}", sync.sync("ada").await?, nudj.users_count());
    Ok(())
}
