//! What is below is cloned for repeats alone.

use std::{
    cell::Cell,
    task::{Context, Poll},
};

use super::*;

/// Counts its clones. Not `Sync`: nothing that is only cloned need be.
struct Counted {
    inner: Below,
    clones: Arc<AtomicU32>,
    is_original: Cell<bool>,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, SeqCst);
        Self { inner: self.inner.clone(), clones: Arc::clone(&self.clones), is_original: Cell::new(false) }
    }
}

impl Service<Request<String>> for Counted {
    type Response = Response<&'static str>;
    type Error = BoxError;
    type Future = <Below as Service<Request<String>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<String>) -> Self::Future {
        request.extensions_mut().insert(self.is_original.get());
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_repeated_clones_nothing_and_goes_to_the_instance_that_was_ready() {
    let server = Server::new([Say::Status(200), Say::Status(500), Say::Status(500), Say::Status(200)]);
    let clones = Arc::new(AtomicU32::new(0));
    let inner = Counted { inner: server.service(), clones: Arc::clone(&clones), is_original: Cell::new(true) };
    let mut service = layer().layer(inner);
    let at_first = clones.load(SeqCst);
    service.ready().await.unwrap().call(get()).await.unwrap();
    assert_eq!(clones.load(SeqCst), at_first);
    let call = tokio::spawn(service.ready().await.unwrap().call(get()));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(clones.load(SeqCst), at_first + 2, "one for each repeat");
    let by_original: Vec<_> = server.asked.lock().iter().map(|(_, r)| *r.extensions().get::<bool>().unwrap()).collect();
    assert_eq!(by_original, [true, true, false, false]);
}
