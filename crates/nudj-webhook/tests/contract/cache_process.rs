//! A second process with a cache of its own over the same Redis and SQLite file: this test binary, started with one test and
//! [`PLACE`] in its environment, and asked line by line.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::Duration;

use nudj_cache::{
    CacheConfig, LevelConfig, MultiLevelCache, RedisChannel, RedisConfig, RedisLevel, SqliteConfig, SqliteLevel,
    Subscription,
};

use crate::cached_users::read;

const PLACE: &str = "NUDJ_WEBHOOK_CACHE_CHILD";
const KEY: &str = "user:profile:u-1";

/// Memory, Redis and SQLite, and the channel between processes, which is up when this returns.
pub(crate) async fn shared_cache(redis: &str, file: &Path) -> (MultiLevelCache, Subscription) {
    let channel = RedisChannel::new(&[redis], &RedisConfig::default()).unwrap();
    let file = SqliteConfig { path: Some(file.to_owned()), ..SqliteConfig::default() };
    let patient = || LevelConfig { timeout: Duration::from_secs(10), ..LevelConfig::default() };
    let settings = CacheConfig { l2: patient(), l3: patient(), ..CacheConfig::default() };
    let cache = MultiLevelCache::builder(settings)
        .l2(RedisLevel::new(redis, &RedisConfig::default()).unwrap())
        .l3(SqliteLevel::open(file).await.unwrap())
        .channel(channel.clone())
        .build()
        .unwrap();
    let subscription = channel.subscribe(&cache);
    let mut news = cache.channel_news();
    let up = news.wait_for(|news| news.up == Some(true));
    tokio::time::timeout(Duration::from_secs(30), up).await.unwrap().unwrap();
    (cache, subscription)
}

/// The running child; killed when dropped.
pub(crate) struct CacheProcess {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStderr>>,
}

impl CacheProcess {
    pub(crate) fn start(redis: &str, file: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache_process::cache_in_a_process_of_its_own", "--nocapture"])
            .env(PLACE, format!("{redis} {}", file.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut process = Self { questions: child.stdin.take().unwrap(), child, answers };
        assert_eq!(process.answer(), "ready");
        process
    }

    pub(crate) fn ask(&mut self, question: &str) -> String {
        writeln!(self.questions, "{question}").unwrap();
        self.answer()
    }

    /// The next line that is an answer; whatever else the child prints is passed over.
    fn answer(&mut self) -> String {
        let answer =
            self.answers.by_ref().map_while(Result::ok).find_map(|line| Some(line.strip_prefix("answer ")?.to_owned()));
        answer.expect("the child answers")
    }
}

impl Drop for CacheProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: the body of the child.
#[test]
fn cache_in_a_process_of_its_own() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let (redis, file) = place.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (cache, _subscription) = shared_cache(redis, Path::new(file)).await;
        eprintln!("answer ready");
        for question in std::io::stdin().lines().map_while(Result::ok) {
            let answer = match question.split_once(' ') {
                Some(("read", origin)) => read(&cache, KEY, origin.parse().unwrap()).await.to_string(),
                _ if question == "get" => {
                    cache.get::<u32>(KEY).await.map_or_else(|| "none".to_owned(), |value| value.to_string())
                }
                _ if question == "drop" => {
                    cache.drop_memory();
                    "dropped".to_owned()
                }
                _ if question == "heard" => {
                    crate::harness::eventually("told of it", async || cache.stats().remote_invalidations > 0).await;
                    "heard".to_owned()
                }
                _ => format!("what is {question}?"),
            };
            eprintln!("answer {answer}");
        }
    });
}
