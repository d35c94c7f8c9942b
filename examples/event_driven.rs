//! Users register; each comes to be at Nudj once, though every third call there fails and the first answer is lost.
//!
//! `cargo run --example event_driven`
//!
//! In a service the bus would be `SqliteOutbox` or `PostgresOutbox` (the event is written in the transaction that writes the user) or
//! `NatsBus`: the rest stays as it is.

use std::time::Duration;

use nudj::{
    client::{Client, model::NewUser},
    mock::{Fault, MockNudj},
    sync::{
        BoxError,
        event::{
            Consumer, ConsumerConfig, Delivery, Event, EventBus, MemoryBus, MemoryConfig, USER_REGISTERED, USER_SYNCED,
            UserEvent, UserFlow, UserSynced,
        },
    },
};

/// Stands for your table of users.
async fn find_user(id: String) -> Result<Option<NewUser>, BoxError> {
    Ok(Some(NewUser { email: Some(format!("{id}@example.com")), ..NewUser::default() }))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockNudj::start().await?;
    mock.inject(Fault::lost_answer().times(1));
    mock.inject(Fault::status(503).probability(0.33, 7));
    let client = Client::builder().endpoint(mock.url()).token(mock.token()).build()?;

    let bus = MemoryBus::new(MemoryConfig::default())?;
    let consumer = Consumer::builder(bus.clone())
        .config(ConsumerConfig { base_delay: Duration::from_millis(100), ..ConsumerConfig::default() });
    let (synced, mut told) = tokio::sync::mpsc::unbounded_channel();
    let store_id = move |delivery: Delivery| {
        let sent = delivery.event.parse::<UserSynced>().map(|user| synced.send(user));
        async move { Ok::<_, BoxError>(sent??) }
    };
    let consumer = UserFlow::new(client, find_user).on(consumer).on(USER_SYNCED, store_id).start()?;

    for number in 1..=10 {
        let user_id = format!("user-{number}");
        bus.publish(&Event::new(USER_REGISTERED, user_id.clone(), UserEvent { user_id })?).await?;
    }
    for _ in 1..=10 {
        let Some(user) = told.recv().await else { break };
        println!("{} is {} at Nudj", user.user_id, user.nudj_user_id);
    }
    println!("{} users at Nudj; {:?}", mock.users_count(), consumer.snapshot());
    println!("{:?}; {:?}", consumer.shutdown(Duration::from_secs(5)).await, bus.lag().await?);
    Ok(())
}
