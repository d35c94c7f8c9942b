//! Who is measured: each a function that makes one call and reads the answer to its end.

use std::{fmt, future::Ready, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client as Legacy, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use nudj_benches::{Body, Fused, free_quota, request, ten_layers};
use nudj_client::{Client, Config, transport::Hyper};
use tower::{Service, ServiceBuilder, ServiceExt, retry::Policy};

use crate::BoxError;

pub(crate) type Call = Arc<dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) call: Call,
    /// Raw against itself.
    pub(crate) is_control: bool,
}

impl Contender {
    /// Raw, once or again.
    pub(crate) fn is_baseline(&self) -> bool {
        self.is_control || self.name == RAW
    }
}

const RAW: &str = "raw hyper-util";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

type Raw = Legacy<HttpConnector, Body>;

/// Raw first, then raw again, then the others.
pub(crate) fn contenders(protocol: Protocol, address: SocketAddr) -> Result<Vec<Contender>, BoxError> {
    let of = |name, call| Contender { name, call, is_control: false };
    Ok(vec![
        of(RAW, raw(protocol, absolute(address)?)),
        Contender { name: "raw hyper-util again", call: raw(protocol, absolute(address)?), is_control: true },
        of("raw, with the stack's headers", raw_with_headers(protocol, address)?),
        of("our transport alone", transport(protocol, address)?),
        of("the stack's work, fused by hand", fused(protocol, address, "pool")?),
        of("the same, through ten layers", fused_through_layers(protocol, address)?),
        of("the whole stack", ours(protocol, address, "pool")?),
        of("the stack's work fused, legacy transport", fused(protocol, address, "legacy")?),
        of("the whole stack, legacy transport", ours(protocol, address, "legacy")?),
        of("tower: shed, limit, retry, timeout", tower_four(protocol, address)?),
        of("reqwest", reqwest_alone(protocol, address)?),
        of("reqwest, middleware, retry", reqwest_retry(protocol, address)?),
    ])
}

fn client(protocol: Protocol) -> Raw {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Legacy::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(protocol == Protocol::Http2)
        .build(connector)
}

/// Nothing but the client: what everything is measured against.
fn raw(protocol: Protocol, template: http::Request<Body>) -> Call {
    let client = client(protocol);
    Arc::new(move || {
        let answer = client.request(template.clone());
        Box::pin(async move { good(answer.await?).await })
    })
}

/// Raw, sending what the stack sends: what is left between this one and the stack is the layers' own work.
fn raw_with_headers(protocol: Protocol, address: SocketAddr) -> Result<Call, BoxError> {
    let mut template = absolute(address)?;
    for (name, value) in [
        ("x-correlation-id", "01a22413-79c8-7650-a063-0d25e5752705"),
        ("traceparent", "00-f71f4d5705bdfe7b91784ebe6feca7c8-a2d23f3fbd321190-01"),
        ("x-api-token", "token"),
        ("accept-encoding", "gzip"),
    ] {
        template.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    Ok(raw(protocol, template))
}

/// All layers on, as a user gets them, the limit raised.
fn ours(protocol: Protocol, address: SocketAddr, transport: &str) -> Result<Call, BoxError> {
    let config = configured(protocol, address, transport)?;
    let client = Client::builder().config(config).token("token").build()?;
    Ok(through(client.service(), request()))
}

/// What the stack stands on, without a layer.
fn transport(protocol: Protocol, address: SocketAddr) -> Result<Call, BoxError> {
    let service = Hyper::new(&configured(protocol, address, "pool")?.http)?;
    Ok(through(service, absolute(address)?))
}

/// What the layers do, without layers: their floor.
fn fused(protocol: Protocol, address: SocketAddr, transport: &str) -> Result<Call, BoxError> {
    let service = Fused::new(Hyper::new(&configured(protocol, address, transport)?.http)?)?;
    Ok(through(service, absolute(address)?))
}

/// The same, and what it takes a call to pass through as many layers as the stack has.
fn fused_through_layers(protocol: Protocol, address: SocketAddr) -> Result<Call, BoxError> {
    let transport = Hyper::new(&configured(protocol, address, "pool")?.http)?;
    Ok(through(Fused::new(ten_layers(transport))?, absolute(address)?))
}

/// A call to a service that is always ready, and whose clone is cheap.
fn through<S>(service: S, template: http::Request<Body>) -> Call
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    Arc::new(move || {
        let answer = service.clone().call(template.clone());
        Box::pin(async move { good(answer.await?).await })
    })
}

fn configured(protocol: Protocol, address: SocketAddr, transport: &str) -> Result<Config, BoxError> {
    let version = if protocol == Protocol::Http2 { "http2" } else { "auto" };
    let mut config = Config::from_toml(&format!("[http]\nversion = \"{version}\"\ntransport = \"{transport}\"\n"))?;
    config.endpoints = vec![format!("http://{address}").parse()?];
    config.rate_limit = free_quota();
    Ok(config)
}

/// tower asks for a policy; this one never repeats, which is all that a good answer needs.
#[derive(Clone)]
struct Never;

impl<T, E> Policy<http::Request<Body>, T, E> for Never {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut http::Request<Body>, _: &mut Result<T, E>) -> Option<Ready<()>> {
        None
    }

    fn clone_request(&mut self, request: &http::Request<Body>) -> Option<http::Request<Body>> {
        Some(request.clone())
    }
}

fn tower_four(protocol: Protocol, address: SocketAddr) -> Result<Call, BoxError> {
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1000)
        .retry(Never)
        .timeout(Duration::from_secs(10))
        .service(client(protocol));
    let template = absolute(address)?;
    Ok(Arc::new(move || {
        let answer = service.clone().oneshot(template.clone());
        Box::pin(async move { good(answer.await?).await })
    }))
}

fn reqwest_client(protocol: Protocol) -> Result<reqwest::Client, BoxError> {
    let builder = reqwest::Client::builder().no_proxy();
    Ok(if protocol == Protocol::Http2 { builder.http2_prior_knowledge() } else { builder }.build()?)
}

fn reqwest_alone(protocol: Protocol, address: SocketAddr) -> Result<Call, BoxError> {
    let client = reqwest_client(protocol)?;
    let template = reqwest_request(address)?;
    Ok(Arc::new(move || {
        let answer = template.try_clone().map(|request| client.execute(request));
        Box::pin(async move { read(answer.ok_or("a request that cannot be copied")?.await?).await })
    }))
}

fn reqwest_retry(protocol: Protocol, address: SocketAddr) -> Result<Call, BoxError> {
    let policy = reqwest_retry::policies::ExponentialBackoff::builder().build_with_max_retries(3);
    let client = reqwest_middleware::ClientBuilder::new(reqwest_client(protocol)?)
        .with(reqwest_retry::RetryTransientMiddleware::new_with_policy(policy))
        .build();
    let template = reqwest_request(address)?;
    Ok(Arc::new(move || {
        let (client, request) = (client.clone(), template.try_clone());
        Box::pin(async move { read(client.execute(request.ok_or("a request that cannot be copied")?).await?).await })
    }))
}

fn absolute(address: SocketAddr) -> Result<http::Request<Body>, BoxError> {
    let mut request = request();
    *request.uri_mut() = format!("http://{address}{}", request.uri().path()).parse()?;
    Ok(request)
}

fn reqwest_request(address: SocketAddr) -> Result<reqwest::Request, BoxError> {
    let (parts, _) = absolute(address)?.into_parts();
    let body = http::Request::from_parts(parts, reqwest::Body::from(&b"{\"email\":\"ada@example.org\"}"[..]));
    Ok(body.try_into()?)
}

async fn read(answer: reqwest::Response) -> Result<(), BoxError> {
    let status = answer.status();
    answer.bytes().await?;
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}").into()) }
}

async fn good<B>(answer: http::Response<B>) -> Result<(), BoxError>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let (parts, body) = answer.into_parts();
    body.collect().await.map_err(Into::into)?;
    if parts.status.is_success() { Ok(()) } else { Err(format!("answered {}", parts.status).into()) }
}
