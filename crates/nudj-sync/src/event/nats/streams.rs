//! The two streams: made where there are none, and set to what the settings say.

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy, Stream};

use super::NatsConfig;
use super::wire::failed;
use crate::Error;

/// The bound is kept by who publishes, see [`Room`](super::room::Room).
const NO_BOUND: i64 = -1;

pub(super) async fn streams(context: &Context, config: &NatsConfig) -> Result<(Stream, Stream), Error> {
    let partitions = format!("partitions: {}", config.partitions);
    let work = StreamConfig {
        name: config.name.clone(),
        subjects: vec![format!("{}.*", config.name)],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_messages: NO_BOUND,
        duplicate_window: config.duplicate_window,
        num_replicas: config.replicas.into(),
        description: Some(partitions.clone()),
        ..StreamConfig::default()
    };
    let dead = StreamConfig {
        name: format!("{}_dead", config.name),
        subjects: vec![format!("{}_dead.*", config.name)],
        discard: DiscardPolicy::New,
        max_messages: NO_BOUND,
        duplicate_window: config.duplicate_window,
        num_replicas: config.replicas.into(),
        ..StreamConfig::default()
    };
    let work = context.get_or_create_stream(work).await.map_err(failed)?;
    // Before anything is changed: it may be somebody else's.
    if work.cached_info().config.description.as_ref() != Some(&partitions) {
        return Err(Error::config("partitions", "must be what the stream was made with; drain it and make another"));
    }
    let dead = context.get_or_create_stream(dead).await.map_err(failed)?;
    for stream in [&work, &dead] {
        bring_up_to_date(context, stream, config).await?;
    }
    Ok((work, dead))
}

/// A stream that was there has the settings of whoever made it, and of an earlier version a bound of the server's.
async fn bring_up_to_date(context: &Context, stream: &Stream, config: &NatsConfig) -> Result<(), Error> {
    let is = &stream.cached_info().config;
    // Which moves the events between servers: no matter of a start, and maybe somebody meant it.
    if is.num_replicas != usize::from(config.replicas) {
        return Err(Error::config(
            "replicas",
            "must be what the streams have; change theirs, as `nats stream edit` does, or this",
        ));
    }
    let should = StreamConfig { max_messages: NO_BOUND, duplicate_window: config.duplicate_window, ..is.clone() };
    if should == *is {
        return Ok(());
    }
    let refused = |error| {
        let (name, window) = (&is.name, should.duplicate_window);
        failed(format!(
            "stream {name} cannot be given max_messages = -1, since max_events is kept by who publishes, and duplicate_window = {window:?}; change it by \
             hand, or let this user update streams: {error}"
        ))
    };
    context.update_stream(&should).await.map(drop).map_err(refused)
}
