//! Many users: an import, and registrations that come over an event bus.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use nudj::{
    client::model::NewUser,
    sync::{
        BoxError, Remote,
        batch::{Batch, BatchConfig, Outcome, Row, Users},
        event::{
            Consumer, Delivery, Event, EventBus, MemoryBus, MemoryConfig, USER_REGISTERED, USER_SYNCED, UserEvent,
            UserFlow, UserSynced,
        },
    },
};
use tokio::{sync::mpsc, time::timeout};

use super::scenario::Scenario;
use crate::dashboard::Served;

/// The longest that the registrations may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Scenario<'_> {
    /// Many users are created, one documented call each, as fast as the limiter lets them through.
    pub(crate) async fn import(&mut self, count: usize, served: Option<&Served>) {
        if !self.begins(&format!("import of {count} users")) {
            return;
        }
        let bar = ProgressBar::new(count as u64);
        if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style);
        }
        let users: Vec<NewUser> = (0..count).map(|number| self.new_user(&format!("import{number}"))).collect();
        let rows = stream::iter((1..).zip(users).map(|(line, user)| Ok(Row::new(line, user))));
        let mut created = Vec::with_capacity(count);
        let batch = Batch::new(Users::new(self.client().clone()), BatchConfig::default());
        let run = batch.map(|batch| batch.stop(self.stop().clone())).map(|batch| match served {
            Some(served) => batch.observer(Some(count as u64), served.sync("import of users")),
            None => batch,
        });
        let ended = match run {
            Ok(batch) => {
                let report = batch.run(rows, |report| {
                    bar.inc(1);
                    match report.outcome {
                        Outcome::Created { id } | Outcome::Found { id } => created.push(id.clone()),
                        failed => bar.suspend(|| tell!("  {failed}")),
                    }
                    Ok(())
                });
                report.await.map(drop)
            }
            Err(error) => Err(error),
        };
        bar.finish();
        if let Err(error) = ended {
            tell!("  the import ended early: {error}");
        }
        let failures = count - created.len();
        say!("  {} created, {failures} failed", created.len());
        self.created(created);
        self.count_failures(failures as u64);
    }

    /// Users register here; each comes to be at Nudj by events, in the background.
    pub(crate) async fn registrations(&mut self, count: usize, served: Option<&Served>) {
        if !self.begins(&format!("{count} users register, and come to Nudj by an event bus")) {
            return;
        }
        let ids = self.register(count, served).await.unwrap_or_else(|error| {
            tell!("  failed: {error}");
            HashMap::new()
        });
        say!("  {} are there", ids.len());
        self.count_failures((count - ids.len()) as u64);
        self.created(ids.into_values());
    }

    /// Nudj's ids of those that are there in time, by ours; the others are deleted at once should they have come to be there.
    async fn register(&self, count: usize, served: Option<&Served>) -> Result<HashMap<String, String>, BoxError> {
        let bus = MemoryBus::new(MemoryConfig::default())?;
        let users: Vec<NewUser> = (0..count).map(|number| self.new_user(&format!("event{number}"))).collect();
        let users = Arc::new(users);
        let table = Arc::clone(&users);
        let find = move |id: String| {
            let user = table.iter().find(|user| user.external_user_id.as_ref() == Some(&id)).cloned();
            async move { Ok::<_, BoxError>(user) }
        };
        let (synced, mut told) = mpsc::unbounded_channel();
        let note = move |delivery: Delivery| {
            let sent = delivery.event.parse::<UserSynced>().map(|user| synced.send((user.user_id, user.nudj_user_id)));
            async move { Ok::<_, BoxError>(sent??) }
        };
        let mut consumer = UserFlow::new(self.client().clone(), find).on(Consumer::builder(bus.clone()));
        if let Some(served) = served {
            consumer = consumer.observer(served.sync("registrations"));
        }
        let consumer = consumer.on(USER_SYNCED, note).start()?;
        for user_id in users.iter().filter_map(|user| user.external_user_id.clone()) {
            bus.publish(&Event::new(USER_REGISTERED, user_id.clone(), UserEvent { user_id })?).await?;
        }
        let mut ids = HashMap::new();
        let all = async {
            while ids.len() < count
                && let Some((user_id, id)) = told.recv().await
            {
                ids.insert(user_id, id);
            }
        };
        tokio::select! {
            _ = timeout(PATIENCE, all) => {}
            () = self.stop().wait() => {}
        }
        consumer.shutdown(Duration::from_secs(1)).await;
        let late = users.iter().filter(|user| user.external_user_id.as_ref().is_none_or(|id| !ids.contains_key(id)));
        for email in late.filter_map(|user| user.email.as_ref()) {
            if let Err(error) = self.delete_late(email).await {
                tell!("  {email} may be left there: {error}");
            }
        }
        Ok(ids)
    }

    async fn delete_late(&self, email: &str) -> Result<(), BoxError> {
        if let Some(late) = self.client().find_user_by_email(email).await? {
            self.client().delete_user(&late.id).await?;
        }
        Ok(())
    }
}
