//! One request on its way through the stack, typed or raw.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use nudj_tower::{CallContext, Route, idempotency::BusinessKey};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, Error, error::shown, path, transport::strip_framing};

/// Room for a call's own headers and what the layers and the connection add, so that the map never grows.
const HEADERS: usize = 12;

/// A request being put together. Nothing is sent before [`send`](Self::send) or [`json`](Self::json).
///
/// ```no_run
/// # async fn example(client: nudj_client::Client) -> Result<(), nudj_client::Error> {
/// let themes: serde_json::Value =
///     client.request(http::Method::GET, "/api/v2/admin/themes").query("limit", 5).json().await?;
/// # Ok(()) }
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    method: Method,
    path: Result<String, Error>,
    headers: HeaderMap,
    body: Bytes,
    route: Option<Route>,
    problem: Option<Error>,
    business_key: Option<BusinessKey>,
}

/// An answer of 2xx, with what the call knows of itself.
#[derive(Clone)]
pub struct Answer {
    response: Response<Bytes>,
    context: CallContext,
}

impl RequestBuilder {
    pub(crate) fn new(client: Client, method: Method, path: Result<String, Error>, route: Option<Route>) -> Self {
        Self {
            client,
            method,
            path,
            headers: HeaderMap::with_capacity(HEADERS),
            body: Bytes::new(),
            route,
            problem: None,
            business_key: None,
        }
    }

    /// Adds `name=value` to the query, both encoded.
    #[expect(clippy::needless_pass_by_value, reason = "`query(\"limit\", 5)` reads better than with a reference")]
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        if let Ok(path) = &mut self.path {
            path::append_query(path, [(name, value.to_string())]);
        }
        self
    }

    /// Adds `name=value` to the query when there is a value.
    pub fn query_opt(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Sets a header. Framing headers such as `content-length` are the transport's and are dropped, and so is what a `connection` names.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Names what a POST or PATCH does, by your own order number, say: with `retry.idempotency_keys` on, the same name, method and path
    /// carry the same `Idempotency-Key`, also after a restart. See [`keys`](crate::keys).
    pub fn business_key(mut self, key: impl Into<String>) -> Self {
        self.business_key = Some(BusinessKey::new(key));
        self
    }

    /// Sends `body` as JSON.
    pub fn body_json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => {
                self.body = body.into();
                self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            Err(error) => {
                self.problem = Some(Error::config("body", "cannot be written as JSON").caused_by(error));
            }
        }
        self
    }

    /// Sends `body` as it is.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request and answers with the bytes of a 2xx.
    ///
    /// # Errors
    /// [`Error`], also for every other status, redirects included.
    pub async fn send(self) -> Result<Answer, Error> {
        self.send_in(CallContext::new()).await
    }

    /// As [`send`](Self::send), in a context the caller made: it can set a deadline beforehand and read attempts, endpoint and ids
    /// afterwards, also when the call failed.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_in(self, context: CallContext) -> Result<Answer, Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let path = self.path?;
        let uri: http::Uri = path.parse().map_err(|error: http::uri::InvalidUri| {
            Error::config("path", format!("{error}; give it percent-encoded"))
        })?;
        // A fragment is never sent, and would take the query that follows it along.
        if path.contains('#') {
            return Err(Error::config("path", "must not hold a `#`; write it as %23"));
        }
        if !path.starts_with('/') {
            return Err(Error::config("path", "must begin with `/`: the endpoint's origin comes before it"));
        }
        if let Some(route) = self.route {
            context.set_route(route);
        }
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        strip_framing(request.headers_mut());
        if let Some(language) = self.client.language() {
            request.headers_mut().entry("x-language").or_insert_with(|| language.clone());
        }
        request.headers_mut().entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        if let Some(key) = self.business_key {
            request.extensions_mut().insert(key);
        }
        let answer = self.client.stack().call_within(context.clone(), request).await;
        let (parts, body) = answer.map_err(|error| Error::from_stack(error, &context))?.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let response = Response::from_parts(parts, body);
        context.set_last_status(response.status());
        if response.status().is_success() {
            Ok(Answer { response, context })
        } else {
            Err(Error::from_answer(&response, &context))
        }
    }

    /// Sends the request and reads the answer as JSON.
    ///
    /// # Errors
    /// As [`send`](Self::send), and of kind `decode` when the body is not a `T`: the message names the place in it.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.send().await?.json()
    }
}

impl Answer {
    /// The status, a 2xx.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.response.body()
    }

    /// What the call knows: attempts, endpoint, correlation id.
    #[must_use]
    pub fn context(&self) -> &CallContext {
        &self.context
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// Of kind `decode`, naming the place in the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut reader = serde_json::Deserializer::from_slice(self.body());
        serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| {
                let place = error.path().to_string();
                Error::decode(problem(&place, error.inner()), self.status(), &self.context)
            })
            .and_then(|value| match reader.end() {
                Ok(()) => Ok(value),
                Err(error) => Err(Error::decode(problem(".", &error), self.status(), &self.context)),
            })
    }
}

// By hand, both: headers may hold a caller's own secret, bodies and queries personal data.

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("route", &self.route)
            .field("headers", &names(&self.headers))
            .field("body_bytes", &self.body.len())
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status())
            .field("headers", &names(self.headers()))
            .field("body_bytes", &self.body().len())
            .field("context", &self.context)
            .finish()
    }
}

fn names(headers: &HeaderMap) -> Vec<&HeaderName> {
    headers.keys().collect()
}

/// Says where and what kind of trouble, never the value: bodies hold personal data.
fn problem(place: &str, error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "a value is missing or of another type than documented",
        serde_json::error::Category::Io => "it cannot be read",
    };
    // Its names may be the server's own.
    let place = shown(place);
    format!("{what} (at `{place}`, line {}, column {})", error.line(), error.column())
}
