use std::{sync::Arc, time::Duration};

use http::Method;
use nudj_mock::{Fault, MockNudj};
use nudj_sync::{
    Error,
    request_response::{Entry, Journal, Local, MemoryJournal, RequestResponseConfig, Resumed, Step, UserSync},
};
use tokio::sync::Notify;

use super::*;
use crate::nudj::{client, client_with};

const USERS: &str = "/api/v2/admin/users";

struct World {
    mock: MockNudj,
    journal: MemoryJournal,
    local: Files,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
        Self { mock, journal: MemoryJournal::default(), local: Files(folder.path().to_owned()), _folder: folder }
    }

    fn sync(&self) -> UserSync<nudj_client::Client, Files, MemoryJournal> {
        let config = RequestResponseConfig { base_delay: Duration::from_millis(1), ..RequestResponseConfig::default() };
        UserSync::new(client(&self.mock), self.local.clone(), self.journal.clone()).config(config).unwrap()
    }

    async fn unfinished(&self) -> usize {
        self.journal.unfinished("", 1000).await.unwrap().len()
    }
}

#[tokio::test]
async fn the_user_is_in_both_systems_with_the_id_stored() {
    let world = World::new().await;
    let nudj_id = world.sync().create("1", &user("1")).await.unwrap();
    assert_eq!(world.local.nudj_id("1"), Some(nudj_id.clone()));
    let at_nudj = &world.mock.users()[0];
    assert_eq!((&at_nudj["id"], &at_nudj["externalUserId"]), (&nudj_id.into(), &"1".into()));
    assert_eq!(world.unfinished().await, 0);
}

/// `resume` goes through the records after the empty id.
#[tokio::test]
async fn an_empty_id_is_refused_for_no_resume_would_find_it() {
    let world = World::new().await;
    let refused = world.sync().create("", &user("1")).await;
    assert!(matches!(refused, Err(Error::Config { field: "id", .. })));
    assert_eq!((world.mock.users_count(), world.local.has("")), (0, false));
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_nothing_created_again() {
    let world = World::new().await;
    world.mock.inject(Fault::lost_answer().on(Method::POST, USERS).times(1));
    let nudj_id = world.sync().create("1", &user("1")).await.unwrap();
    assert_eq!(world.mock.users_count(), 1);
    assert_eq!(world.local.nudj_id("1"), Some(nudj_id));
}

#[tokio::test]
async fn a_post_that_was_not_done_is_sent_again() {
    let world = World::new().await;
    world.mock.inject(Fault::status(503).on(Method::POST, USERS).times(2));
    world.sync().create("1", &user("1")).await.unwrap();
    assert_eq!(world.mock.users_count(), 1);
}

#[tokio::test]
async fn a_refusal_runs_the_compensation() {
    let world = World::new().await;
    let bad = NewUser { email: Some("nonsense".to_owned()), ..NewUser::default() };
    let error = world.sync().create("1", &bad).await.unwrap_err();
    assert!(matches!(&error, Error::RolledBack { id, .. } if id == "1"), "{error}");
    assert!(error.to_string().contains("400"), "{error}");
    assert!(!world.local.has("1"));
    assert_eq!((world.mock.users_count(), world.unfinished().await), (0, 0));
}

#[tokio::test]
async fn what_another_user_has_is_rolled_back_and_what_is_ours_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mock = MockNudj::start().await.unwrap();
    mock.add_user(&serde_json::json!({"email": "1@example.com", "externalUserId": "another"})).unwrap();
    let ours = mock.add_user(&serde_json::json!({"email": "2@example.com", "externalUserId": "2"})).unwrap();
    let sync = UserSync::new(client(&mock), Files(folder.path().to_owned()), MemoryJournal::default());
    assert!(matches!(sync.create("1", &user("1")).await, Err(Error::RolledBack { .. })));
    assert_eq!(sync.create("2", &user("2")).await.unwrap(), ours["id"].as_str().unwrap());
}

#[tokio::test]
async fn while_it_is_not_known_nothing_is_rolled_back_and_a_later_resume_decides() {
    let world = World::new().await;
    world.mock.inject(Fault::lost_answer().on(Method::POST, USERS));
    let lists = world.mock.inject(Fault::status(500).on(Method::GET, USERS));
    let sync = world.sync();
    let error = sync.create("1", &user("1")).await.unwrap_err();
    assert!(matches!(&error, Error::Undecided { .. }), "{error}");
    assert!(world.local.has("1"));
    assert_eq!(sync.resume().await.unwrap().left, 1, "still down");
    world.mock.remove_fault(lists);
    assert_eq!(sync.resume().await.unwrap().completed, 1);
    assert_eq!((world.mock.users_count(), world.unfinished().await), (1, 0));
    assert!(world.local.nudj_id("1").is_some());
    assert_eq!(sync.resume().await.unwrap(), Resumed::default());
}

#[tokio::test]
async fn a_refusal_of_a_repeat_does_not_undo_what_an_earlier_attempt_may_have_done() {
    let world = World::new().await;
    // With keys the client repeats a POST by itself; only the repeat is refused.
    let client = client_with(&world.mock, |config| config.retry.idempotency_keys = true);
    let sync = UserSync::new(client, world.local.clone(), world.journal.clone());
    world.mock.inject(Fault::lost_answer().on(Method::POST, USERS).times(1));
    world.mock.inject(Fault::status(403).on(Method::POST, USERS).times(1));
    let nudj_id = sync.create("1", &user("1")).await.unwrap();
    assert_eq!((world.mock.users_count(), world.mock.received().on(Method::POST, USERS).len()), (1, 2));
    assert_eq!(world.local.nudj_id("1"), Some(nudj_id));
}

#[tokio::test]
async fn a_local_failure_is_rolled_back_before_nudj_and_kept_after_it() {
    #[derive(Clone)]
    struct Full;

    #[async_trait]
    impl Local for Full {
        async fn create(&self, id: &str, _: &NewUser) -> Result<(), BoxError> {
            if id == "1" { Err("the disk is full".into()) } else { Ok(()) }
        }
        async fn store_nudj_id(&self, _: &str, _: &str) -> Result<(), BoxError> {
            Err("the disk is full".into())
        }
        async fn compensate(&self, _: &str, why: &str) -> Result<(), BoxError> {
            assert_eq!(why, "the disk is full");
            Ok(())
        }
    }

    let world = World::new().await;
    let sync = UserSync::new(client(&world.mock), Full, world.journal.clone());
    assert!(matches!(sync.create("1", &user("1")).await, Err(Error::RolledBack { .. })));
    assert_eq!(world.mock.users_count(), 0);
    assert!(matches!(sync.create("2", &user("2")).await, Err(Error::Local(_))));
    assert_eq!(world.unfinished().await, 1);
    // Another start, with room on the disk.
    std::fs::write(world.local.0.join("2.user"), "").unwrap();
    assert_eq!(world.sync().resume().await.unwrap().completed, 1);
}

#[tokio::test]
async fn a_second_call_for_a_user_under_way_is_refused() {
    let world = World::new().await;
    world.mock.inject(Fault::hang().on(Method::POST, USERS));
    let sync = world.sync();
    let (one, other) = (user("1"), user("1"));
    let first = sync.create("1", &one);
    let second = async {
        // The first one was polled first, so it has its place.
        sync.create("1", &other).await
    };
    tokio::select! {
        biased;
        _ = first => panic!("it hangs"),
        ended = second => assert!(matches!(ended, Err(Error::UnderWay { .. }))),
    }
    world.mock.clear_faults();
    assert_eq!(sync.resume().await.unwrap().completed, 1, "a dropped call is left behind, and its place is free");
}

/// Tells when a page was read, and gives it out when it is told to.
#[derive(Clone, Default)]
struct Slow {
    inner: MemoryJournal,
    read: Arc<Notify>,
    go_on: Arc<Notify>,
}

#[async_trait]
impl Journal for Slow {
    async fn begin(&self, id: &str, user: &NewUser) -> Result<Option<Entry>, Error> {
        self.inner.begin(id, user).await
    }
    async fn get(&self, id: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(id).await
    }
    async fn reached(&self, id: &str, step: &Step) -> Result<(), Error> {
        self.inner.reached(id, step).await
    }
    async fn finished(&self, id: &str) -> Result<(), Error> {
        self.inner.finished(id).await
    }
    async fn unfinished(&self, after: &str, limit: u32) -> Result<Vec<Entry>, Error> {
        let page = self.inner.unfinished(after, limit).await?;
        if !page.is_empty() {
            self.read.notify_one();
            self.go_on.notified().await;
        }
        Ok(page)
    }
}

/// The page said how far a record had come; by its turn a call had finished it. It was worked on as the page said: created once more, or
/// a good user taken back.
#[tokio::test]
async fn a_record_that_a_call_finished_since_the_page_was_read_is_left_alone() {
    for step in [Step::Begun, Step::RollingBack { why: "it was refused".to_owned() }] {
        let world = World::new().await;
        let journal = Slow::default();
        let sync = UserSync::new(client(&world.mock), world.local.clone(), journal.clone());
        journal.begin("1", &user("1")).await.unwrap();
        journal.reached("1", &step).await.unwrap();
        let meanwhile = async {
            journal.read.notified().await;
            if step != Step::Begun {
                assert!(matches!(sync.create("1", &user("1")).await, Err(Error::RolledBack { .. })));
            }
            let nudj_id = sync.create("1", &user("1")).await.unwrap();
            journal.go_on.notify_one();
            nudj_id
        };
        let (resumed, nudj_id) = tokio::join!(sync.resume(), meanwhile);
        assert_eq!(resumed.unwrap(), Resumed::default(), "{step:?}");
        assert_eq!((world.mock.users_count(), world.local.nudj_id("1")), (1, Some(nudj_id)), "{step:?}");
        assert!(world.local.has("1"), "{step:?}");
    }
}

#[tokio::test]
async fn a_step_of_a_record_that_is_not_there_is_an_error() {
    let journal = MemoryJournal::default();
    assert!(matches!(journal.reached("1", &Step::Sending).await, Err(Error::Store { .. })));
    #[cfg(feature = "sqlite")]
    {
        let folder = tempfile::tempdir().unwrap();
        let journal = nudj_sync::request_response::SqliteJournal::open(folder.path().join("journal.db")).await.unwrap();
        assert!(matches!(journal.reached("1", &Step::Sending).await, Err(Error::Store { .. })));
        journal.begin("1", &user("1")).await.unwrap();
        journal.reached("1", &Step::Sending).await.unwrap();
        assert_eq!(journal.get("1").await.unwrap().unwrap().step, Step::Sending);
        journal.finished("1").await.unwrap();
        assert_eq!(journal.get("1").await.unwrap(), None);
    }
}
