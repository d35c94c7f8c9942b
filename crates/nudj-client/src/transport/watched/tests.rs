use std::{
    future::poll_fn,
    io::{IoSlice, Read, Write},
    net,
};

use super::*;

async fn pair() -> (TokioIo<Watched>, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (watched(TokioIo::new(stream)), listener.accept().unwrap().0)
}

#[tokio::test]
async fn what_came_is_seen_although_no_runtime_has_looked() {
    let (ours, mut peer) = pair().await;
    let watch = Watch::of(&ours.inner().connected()).unwrap();
    assert_eq!(watch.look(), Unread::Nothing);
    peer.write_all(b"x").unwrap();
    // Loopback hands it over within the call.
    assert_eq!(watch.look(), Unread::Bytes);
    let (ours, peer) = pair().await;
    let watch = Watch::of(&ours.inner().connected()).unwrap();
    peer.shutdown(net::Shutdown::Write).unwrap();
    assert_eq!(watch.look(), Unread::End);
}

#[tokio::test]
async fn the_second_handle_does_not_keep_the_socket_open() {
    let (ours, mut peer) = pair().await;
    let watch = Watch::of(&ours.inner().connected()).unwrap();
    drop(ours);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    assert_eq!(watch.look(), Unread::End);
}

#[tokio::test]
async fn pieces_arrive_in_order_whether_they_are_joined_or_not() {
    for body in [0, 1, JOINED - 4, JOINED - 3, 3 * JOINED] {
        let (mut ours, mut peer) = pair().await;
        let sent = [b"head".to_vec(), vec![b'x'; body], b"tail".to_vec()].concat();
        let mut at = 0;
        while at < sent.len() {
            let (head, rest) = sent[at..].split_at(4.min(sent.len() - at));
            let pieces = [IoSlice::new(head), IoSlice::new(rest)];
            at += poll_fn(|cx| Pin::new(ours.inner_mut()).poll_write_vectored(cx, &pieces)).await.unwrap();
        }
        drop(ours);
        let mut came = Vec::new();
        peer.read_to_end(&mut came).unwrap();
        assert_eq!(came, sent, "{body}");
    }
}

#[tokio::test]
async fn what_is_kept_for_joining_does_not_grow_with_what_is_sent() {
    let (mut ours, peer) = pair().await;
    let large = vec![b'x'; 16 * JOINED];
    for _ in 0..8 {
        for body in [&large[..JOINED - 4], &large] {
            let pieces = [IoSlice::new(b"head"), IoSlice::new(body)];
            poll_fn(|cx| Pin::new(ours.inner_mut()).poll_write_vectored(cx, &pieces)).await.unwrap();
            peer.set_nonblocking(true).unwrap();
            while matches!((&peer).read(&mut [0; 4096]), Ok(read) if read > 0) {}
        }
    }
    assert!((JOINED - 4..=2 * JOINED).contains(&ours.inner().joined.capacity()), "{}", ours.inner().joined.capacity());
}

async fn read(ours: &mut TokioIo<Watched>, room: usize) -> Vec<u8> {
    let mut room = vec![0; room];
    let mut came = ReadBuf::new(&mut room);
    poll_fn(|cx| Pin::new(ours.inner_mut()).poll_read(cx, &mut came)).await.unwrap();
    came.filled().to_vec()
}

#[tokio::test]
async fn what_comes_is_read_by_whoever_reads_then() {
    let (mut ours, mut peer) = pair().await;
    for sent in [b"first", b"later"] {
        let another = &mut tokio_test::task::spawn(());
        let look = another.enter(|cx, _| Pin::new(ours.inner_mut()).poll_read(cx, &mut ReadBuf::new(&mut [0])));
        assert!(look.is_pending());
        // This reader waits as well before anything comes.
        let (came, ()) = tokio::join!(biased; read(&mut ours, 9), async { peer.write_all(sent).unwrap() });
        assert_eq!(came, sent);
    }
}

#[test]
fn one_asks_once_and_again_when_woken_even_while_one_asked() {
    let asked = |reader: &Reader, news_meanwhile: bool| {
        let mut asked = false;
        let polled = reader.look(|cx| {
            asked = true;
            if news_meanwhile {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        asked
    };
    let mut task = tokio_test::task::spawn(());
    let reader = task.enter(|cx, _| Reader::of(cx.waker()));
    assert!(asked(&reader, false), "nobody has asked yet");
    assert!(!asked(&reader, false) && !task.is_woken());
    reader.waker.wake_by_ref();
    assert!(task.is_woken() && asked(&reader, true));
    assert!(asked(&reader, false), "something came while one asked");
    assert!(!asked(&reader, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_comes_while_somebody_looks_is_missed() {
    const TIMES: u8 = 200;
    let (mut ours, mut peer) = pair().await;
    let answers = std::thread::spawn(move || {
        for _ in 0..TIMES {
            peer.read_exact(&mut [0]).unwrap();
            peer.write_all(b"x").unwrap();
        }
    });
    tokio::spawn(async move {
        for _ in 0..TIMES {
            let pieces = [IoSlice::new(b"x")];
            poll_fn(|cx| Pin::new(ours.inner_mut()).poll_write_vectored(cx, &pieces)).await.unwrap();
            assert_eq!(read(&mut ours, 9).await, b"x");
        }
    })
    .await
    .unwrap();
    answers.join().unwrap();
}

#[tokio::test]
async fn a_reader_that_never_yields_reads_on_when_it_may() {
    let (mut ours, mut peer) = pair().await;
    peer.write_all(&[b'x'; 1000]).unwrap();
    // Many more looks than the runtime lets a task have in one go.
    for _ in 0..1000 {
        assert_eq!(read(&mut ours, 1).await, b"x");
    }
}

#[tokio::test]
async fn what_did_not_fit_is_read_without_being_told_of_again() {
    let (mut ours, mut peer) = pair().await;
    peer.write_all(b"12345").unwrap();
    assert_eq!((read(&mut ours, 2).await, read(&mut ours, 2).await), (b"12".to_vec(), b"34".to_vec()));
    assert_eq!(read(&mut ours, 2).await, b"5");
    drop(peer);
    assert_eq!(read(&mut ours, 2).await, b"", "the end is read as often as one looks");
    assert_eq!(read(&mut ours, 2).await, b"");
}
