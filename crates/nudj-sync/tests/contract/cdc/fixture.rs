//! A pipeline over the mock, and what the mock ended up with.

use std::{collections::BTreeMap, time::Duration};

use futures_util::TryStreamExt as _;
use nudj_mock::{Fault, MockNudj};
use nudj_sync::cdc::{CdcConfig, CdcState, ChallengeMapping, ChangeSource, Pipeline, PipelineBuilder, UserMapping};

pub(crate) fn config() -> CdcConfig {
    CdcConfig {
        window: 64,
        commit_every: Duration::from_millis(10),
        look_every: Duration::from_millis(20),
        base_delay: Duration::from_millis(2),
        max_delay: Duration::from_millis(100),
        ..CdcConfig::default()
    }
}

pub(crate) fn builder(
    source: impl ChangeSource + 'static,
    state: impl CdcState + 'static,
    mock: &MockNudj,
) -> PipelineBuilder {
    mapped(Pipeline::builder(source, state, crate::nudj::client(mock)))
}

pub(crate) fn mapped(builder: PipelineBuilder) -> PipelineBuilder {
    let challenges = ChallengeMapping::new().in_community("c1");
    builder.config(config()).map("users", UserMapping::new()).map("challenges", challenges)
}

/// One answer in ten is a 503, one in twenty is lost though the call had its effect.
pub(crate) fn sick(mock: &MockNudj, seed: u64) {
    mock.inject(Fault::status(503).probability(0.10, seed));
    mock.inject(Fault::lost_answer().probability(0.05, seed + 1));
}

pub(crate) async fn caught_up(pipeline: &Pipeline) {
    let wait = pipeline.wait_for(|status| status.caught_up);
    let done = tokio::time::timeout(Duration::from_secs(300), wait).await;
    assert_eq!(done, Ok(true), "{:?}", pipeline.status());
}

/// External id and display name of every user that is not erased; panics where two have one external id.
pub(crate) fn users(mock: &MockNudj) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for user in mock.users() {
        let Some(external) = user["externalUserId"].as_str() else { continue };
        let name = user["displayName"].as_str().unwrap_or_default().to_owned();
        assert_eq!(users.insert(external.to_owned(), name), None, "{external} twice");
    }
    users
}

/// Titles of the challenges that are not archived, and how many bear each.
pub(crate) async fn challenges(mock: &MockNudj) -> BTreeMap<String, usize> {
    mock.clear_faults();
    let all = crate::nudj::client(mock).admin().challenges().list().stream();
    let all: Vec<nudj_client::model::Challenge> = all.try_collect().await.unwrap();
    let mut challenges = BTreeMap::new();
    for challenge in all {
        if challenge.status != Some("archived".into()) {
            *challenges.entry(challenge.details.unwrap().title.unwrap()).or_default() += 1;
        }
    }
    challenges
}
