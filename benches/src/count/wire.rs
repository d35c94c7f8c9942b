//! The cases on the wire: loopback, the server in a process of its own so that only the client is counted.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client as Legacy, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use nudj_client::{
    Client, Config,
    config::{HttpConfig, Transport},
    transport::Hyper,
};
use nudj_observe::otlp::OtlpConfig;
use nudj_tower::BoxError;
use tokio::net::TcpListener;
use tower::Service;

use super::floor::{Bare, BareShared};
use crate::{Body, Cases, Fused, Watch, free_quota, request, ten_layers};

/// The answer: 200 bytes.
const ANSWER: [u8; 200] = [b'x'; 200];

/// Answers every request with 200 bytes until its standard input ends.
///
/// # Errors
/// When it cannot listen.
pub fn serve() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::thread::spawn(|| {
            let _ = std::io::stdin().read(&mut [0]);
            std::process::exit(0);
        });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = service_fn(|request: Request<Incoming>| async {
                let export = request.uri().path().starts_with("/v1/");
                // An HTTP/2 stream that is answered before its request's end is reset, and a server bears only so many resets.
                request.into_body().collect().await?;
                if export {
                    return Ok(Response::default());
                }
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(&ANSWER))))
            });
            tokio::spawn(async move {
                // A client that goes away is no business of the server's.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

/// The server's process, ended when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `case serve`, which must stand beside this program or one folder above it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> Result<Self, BoxError> {
        let mut process = Command::new(beside()?).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        Ok(Self { process, address: line.trim().parse()? })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends by itself when its standard input does; this is for one that hangs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program `case`: beside this one, or a folder above where cargo puts benchmarks.
fn beside() -> Result<PathBuf, BoxError> {
    let own = env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("case")).find(|path| path.is_file());
    found.ok_or_else(|| "there is no program `case`; run `cargo build --release -p nudj-benches --bins` first".into())
}

/// Shows `cases` the exchanges with the server at `address`.
pub(super) fn each(cases: &mut impl Cases, address: SocketAddr) -> Result<(), BoxError> {
    let mut absolute = request();
    *absolute.uri_mut() = format!("http://{address}{}", absolute.uri().path()).parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let raw = Legacy::builder(TokioExecutor::new()).build(connector.clone());
    cases.case("wire: raw hyper-util", &absolute, Raw(raw));
    cases.case("wire: connections in a bare Vec", &absolute, Bare::new(address));
    cases.case("wire: our transport alone", &absolute, Hyper::new(&http_config("auto")?)?);
    cases.case("wire: the stack's work, fused by hand", &absolute, Fused::new(Hyper::new(&http_config("auto")?)?)?);
    let below = ten_layers(Hyper::new(&http_config("auto")?)?);
    cases.case("wire: the stack's work, fused, through ten layers", &absolute, Fused::new(below)?);

    let raw = Legacy::builder(TokioExecutor::new()).http2_only(true).build(connector);
    cases.case("wire, HTTP/2: raw hyper-util", &absolute, Raw(raw));
    cases.case("wire, HTTP/2: one bare connection", &absolute, BareShared::new(address));
    cases.case("wire, HTTP/2: our transport alone", &absolute, Hyper::new(&http_config("http2")?)?);
    let mut config = Config::with_endpoints([format!("http://{address}")]);
    config.rate_limit = free_quota();
    config.http = http_config("http2")?;
    let client = Client::builder().config(config).token("token").build()?;
    cases.case("wire, HTTP/2: the whole stack", &request(), client.service());

    for (name, transport) in
        [("wire: the whole stack", Transport::Pool), ("wire: the whole stack, legacy transport", Transport::Legacy)]
    {
        let mut config = Config::with_endpoints([format!("http://{address}")]);
        config.rate_limit = free_quota();
        config.http.transport = transport;
        let client = Client::builder().config(config).token("token").build()?;
        cases.case(name, &request(), client.service());
    }

    let watched = "wire: the whole stack, metrics and spans sent";
    if cases.wants(watched) {
        // The costliest there is: a share of the spans would be another one in each run.
        let all = OtlpConfig { spans_per_second: 0, ..OtlpConfig::default() };
        let watch = Watch::otlp(format!("http://{address}"), all)?;
        let mut config = Config::with_endpoints([format!("http://{address}")]);
        config.rate_limit = free_quota();
        let client = watch.client().config(config).token("token").build()?;
        watch.case(cases, watched, &request(), &client);
    }
    Ok(())
}

fn http_config(version: &str) -> Result<HttpConfig, BoxError> {
    Ok(Config::from_toml(&format!("[http]\nversion = \"{version}\"\n"))?.http)
}

/// hyper-util's client, its answer read to the end as ours reads it.
#[derive(Clone)]
struct Raw(Legacy<HttpConnector, Body>);

impl Service<Request<Body>> for Raw {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.request(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
        })
    }
}
