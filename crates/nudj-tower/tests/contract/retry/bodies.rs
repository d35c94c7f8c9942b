//! What is sent again is what was sent, byte by byte, or it is not sent at all.

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use nudj_tower::retry::{Backoff, DEFAULT_REPLAY_CAP, ReplayBody};

use super::*;

type Streaming = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// A body that does not know its length.
fn streaming(parts: &[&'static [u8]]) -> Streaming {
    let frames: Vec<_> = parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part)))).collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

/// Reads up to so many frames of each body, then answers by the script.
#[derive(Clone)]
struct Reader {
    script: Arc<Mutex<VecDeque<(Say, usize)>>>,
    read: Arc<Mutex<Vec<Vec<u8>>>>,
}

const ALL: usize = usize::MAX;

impl Reader {
    fn new(script: impl IntoIterator<Item = (Say, usize)>) -> Self {
        Self { script: Arc::new(Mutex::new(script.into_iter().collect())), read: Arc::default() }
    }

    fn service<B>(
        &self,
    ) -> impl Service<Request<B>, Response = Response<&'static str>, Error = BoxError> + Clone + use<B>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let reader = self.clone();
        service_fn(move |request: Request<B>| reader.clone().answer(request.into_body()))
    }

    async fn answer<B>(self, mut body: B) -> Answer
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let (say, frames) = {
            let mut script = self.script.lock();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
        };
        let mut read = Vec::new();
        for _ in 0..frames {
            match body.frame().await {
                Some(frame) => read.extend(frame.map_err(Into::into)?.into_data().unwrap()),
                None => break,
            }
        }
        self.read.lock().push(read);
        match say {
            Say::Status(status) => Ok(Response::builder().status(status).body("answer").unwrap()),
            _ => Err(TransportError::Connect("refused".into()).into()),
        }
    }
}

fn put<B>(body: B) -> Request<B> {
    Request::put("/users/1").body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_streaming_body_is_the_same_on_every_attempt() {
    let reader =
        Reader::new([(Say::Status(500), ALL), (Say::Status(500), 1), (Say::Refused, 0), (Say::Status(200), ALL)]);
    let service = layer().replaying(DEFAULT_REPLAY_CAP).layer(reader.service());
    let answer = service.oneshot(put(streaming(&[b"one ", b"two ", b"three"]))).await.unwrap();
    assert_eq!(answer.status(), 200);
    let read = reader.read.lock();
    assert_eq!((&*read[0], &*read[3]), (&b"one two three"[..], &b"one two three"[..]));
}

#[tokio::test(start_paused = true)]
async fn one_that_stopped_half_way_goes_on_from_the_start() {
    let reader = Reader::new([(Say::Status(503), 1), (Say::Status(200), ALL)]);
    let service = layer().replaying(DEFAULT_REPLAY_CAP).layer(reader.service());
    service.oneshot(put(streaming(&[b"one ", b"two"]))).await.unwrap();
    assert_eq!(*reader.read.lock(), [&b"one "[..], b"one two"]);
}

#[tokio::test(start_paused = true)]
async fn over_the_cap_it_is_sent_once_in_full_and_the_first_answer_stands() {
    let reader = Reader::new([(Say::Status(503), ALL)]);
    let service = layer().replaying(5).layer(reader.service());
    let answer = service.oneshot(put(streaming(&[b"one ", b"two"]))).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(*reader.read.lock(), [b"one two"], "never a second, empty one");
}

#[tokio::test(start_paused = true)]
async fn over_the_cap_a_connect_failure_is_still_repeated() {
    let reader = Reader::new([(Say::Refused, 0), (Say::Status(200), ALL)]);
    let service = layer().replaying(5).layer(reader.service());
    service.oneshot(put(streaming(&[b"one ", b"two"]))).await.unwrap();
    assert_eq!(*reader.read.lock(), [&b""[..], b"one two"], "nothing had been read");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_clone_stays_the_type_it_is() {
    let reader = Reader::new([(Say::Status(500), ALL), (Say::Refused, 0), (Say::Status(200), ALL)]);
    let service = layer().layer(reader.service::<Full<Bytes>>());
    service.oneshot(put(Full::new(Bytes::from("whole")))).await.unwrap();
    assert_eq!(*reader.read.lock(), [&b"whole"[..], b"", b"whole"]);
}

/// An upload goes on in a task of its own, as in hyper, while the answer is already there.
#[tokio::test(start_paused = true)]
async fn an_upload_that_still_runs_does_not_eat_what_the_repeat_needs() {
    let abandoned: Arc<Mutex<Vec<ReplayBody<Streaming>>>> = Arc::default();
    let keep = Arc::clone(&abandoned);
    let service = service_fn(move |request: Request<ReplayBody<Streaming>>| {
        let (mut body, keep) = (request.into_body(), Arc::clone(&keep));
        async move {
            let first = keep.lock().is_empty();
            if first {
                body.frame().await.unwrap()?;
                keep.lock().push(body);
                return Ok(Response::builder().status(503).body(Bytes::new()).unwrap());
            }
            Ok::<_, BoxError>(Response::new(body.collect().await?.to_bytes()))
        }
    });
    let service = layer().replaying(8).layer(service);
    let mut call = tokio_test::task::spawn(service.oneshot(put(streaming(&[b"one ", b"two ", b"three"]))));
    assert!(call.poll().is_pending(), "waits to send again");
    let mut upload = abandoned.lock().pop().unwrap();
    assert!(upload.frame().await.unwrap().is_err(), "the first upload ends, before it has read past the cap");
    abandoned.lock().push(upload);
    tokio::time::advance(SECOND).await;
    let std::task::Poll::Ready(answer) = call.poll() else { panic!("must be there") };
    assert_eq!(answer.unwrap().into_body(), "one two three");
}

/// The upload reads past the cap after the answer has been judged and before the repeat takes over.
#[tokio::test(start_paused = true)]
async fn an_upload_that_outruns_the_decision_ends_the_call_with_the_first_answer() {
    let upload: Arc<Mutex<Option<ReplayBody<Streaming>>>> = Arc::default();
    let (keep, outrun) = (Arc::clone(&upload), Arc::clone(&upload));
    let service = service_fn(move |request: Request<ReplayBody<Streaming>>| {
        assert!(keep.lock().replace(request.into_body()).is_none(), "sent once");
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(503).body(()).unwrap()))
    });
    let backoff = Backoff::custom(move || {
        let mut body = outrun.lock().take().unwrap();
        let mut read =
            tokio_test::task::spawn(async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} });
        assert!(read.poll().is_ready());
        |_: &mut fastrand::Rng| Some(SECOND)
    });
    let layer = layer().backoff(backoff);
    let budget = layer.handle().unwrap();
    let before = budget.left();
    let answer = layer.replaying(8).layer(service).oneshot(put(streaming(&[b"one ", b"two ", b"three"]))).await;
    assert_eq!(answer.unwrap().status(), 503);
    assert_eq!(budget.left(), before, "what was granted came back");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_request_keeps_its_head_and_context() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&seen);
    let below = service_fn(move |request: Request<ReplayBody<Streaming>>| {
        writer.lock().push((request.headers().clone(), CallContext::find(request.extensions()).cloned()));
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(429).body(()).unwrap()))
    });
    let mut request = put(streaming(&[b"x"]));
    request.headers_mut().insert("x-a", "b".parse().unwrap());
    let context = CallContext::get_or_insert(request.extensions_mut());
    layer().replaying(DEFAULT_REPLAY_CAP).layer(below).oneshot(request).await.unwrap();
    let seen = seen.lock();
    assert!(seen.len() == 4 && seen.iter().all(|(head, found)| head["x-a"] == "b" && found.as_ref() == Some(&context)));
}

/// Retry over credentials, `token-1` and so on, over a server that answers and reads by a script. What it read, and the last answer.
#[cfg(feature = "credentials")]
async fn sent_with_credentials(cap: usize, script: &[(Say, usize)]) -> (Vec<Vec<u8>>, Answer) {
    use nudj_tower::credentials::{Credential, Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme};
    let mut issued = 0;
    let provider = FromFn::new("tokens", move || {
        issued += 1;
        std::future::ready(Ok(Credential::new(format!("token-{issued}"))))
    });
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    let reader = Reader::new(script.iter().copied());
    let credentials = CredentialsLayer::new(credentials).replay_bodies().layer(reader.service());
    let answer = layer().replaying(cap).layer(credentials).oneshot(put(streaming(&[b"one ", b"two"]))).await;
    let read = reader.read.lock().clone();
    (read, answer)
}

/// A long upload met an expired token: its replay had no body any more, and the caller got a broken exchange for a 401.
#[cfg(feature = "credentials")]
#[tokio::test(start_paused = true)]
async fn over_the_cap_a_401_stands_and_is_not_replayed() {
    let (read, answer) = sent_with_credentials(5, &[(Say::Status(401), ALL), (Say::Status(200), ALL)]).await;
    assert_eq!(answer.unwrap().status(), 401);
    assert_eq!(read, [b"one two"]);
}

/// The replay after a 401 read as a younger copy than the one that retry had kept, which then counted as gone.
#[cfg(feature = "credentials")]
#[tokio::test(start_paused = true)]
async fn what_was_replayed_with_a_new_credential_is_repeated_all_the_same() {
    let script = [(Say::Status(401), 1), (Say::Status(503), ALL), (Say::Status(401), ALL), (Say::Status(200), ALL)];
    let (read, answer) = sent_with_credentials(DEFAULT_REPLAY_CAP, &script).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(read, [&b"one "[..], b"one two", b"one two", b"one two"]);
}

/// A server may refuse before it has read all. Where the refusal stands, the upload goes on as long as the server wants it: cut off, it would take
/// the answer's connection along.
#[cfg(feature = "credentials")]
#[tokio::test(start_paused = true)]
async fn an_upload_is_left_alone_until_there_is_a_credential_to_send_it_anew_with() {
    use nudj_tower::credentials::{Credential, Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme};
    let provider = FromFn::new("tokens", || std::future::ready(Ok(Credential::new("the-same-again"))));
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    let under_way = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&under_way);
    let below = service_fn(move |request: Request<ReplayBody<Streaming>>| {
        assert!(keep.lock().replace(request.into_body()).is_none(), "sent twice");
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(401).body(()).unwrap()))
    });
    let credentials = CredentialsLayer::new(credentials).replay_bodies().layer(below);
    let request = put(streaming(&[b"one ", b"two"]));
    let answer = layer().replaying(DEFAULT_REPLAY_CAP).layer(credentials).oneshot(request).await;
    assert_eq!(answer.unwrap().status(), 401);
    let body = under_way.lock().take().unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "one two");
}
