//! Sends events, as the documentation says Nudj does.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time};

use super::{WebhookEvent, webhook_signature};
use crate::{Control, MockError, clock::iso, store::ORGANISATION_ID};

/// Of a receiver's answer, so much is read and logged.
const MOST_ANSWER_BYTES: usize = 16 * 1024;

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookDelivery {
    /// What `X-Nudj-Delivery-Id` was, on every attempt.
    pub delivery_id: String,
    /// How many times it was sent, at least 1.
    pub attempts: u32,
    /// The last answer's status, when there was one.
    pub status: Option<StatusCode>,
    /// Why there was no answer to the last attempt.
    pub error: Option<String>,
}

impl WebhookDelivery {
    /// True when the receiver took it: any 2xx.
    #[must_use]
    pub fn delivered(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

/// Where to, and with which secret and headers.
struct Target<'a> {
    config_id: Value,
    url: &'a str,
    secret: Option<&'a str>,
    headers: HeaderMap,
}

impl Control {
    /// Sends an event to a URL (plain `http`), signed when there is a secret, and repeats it as the event says. Every attempt is
    /// in the delivery log that `GET /api/v2/admin/webhooks/logs` shows.
    ///
    /// Headers: `X-Nudj-Event`, `X-Nudj-Delivery-Id`, and with a secret `X-Nudj-Signature`. Redirects are not followed.
    ///
    /// Dropping the future stops it: the attempt under way may or may not arrive, no other follows.
    ///
    /// # Errors
    /// [`MockError::Data`] when the URL is not one that the mock can send to. A receiver that fails is no error, see
    /// [`WebhookDelivery`].
    pub async fn send_webhook(
        &self,
        url: &str,
        secret: Option<&str>,
        event: &WebhookEvent,
    ) -> Result<WebhookDelivery, MockError> {
        self.send(Target { config_id: Value::Null, url, secret, headers: HeaderMap::new() }, event).await
    }

    /// Sends an event to every configuration that wants it (`PUT /api/v2/admin/webhooks/configs`): not switched off, and with the
    /// event's name among its `events`. One after the other.
    ///
    /// # Errors
    /// As [`send_webhook`](Control::send_webhook), at the first such configuration.
    pub async fn deliver(&self, event: &WebhookEvent) -> Result<Vec<WebhookDelivery>, MockError> {
        let configs = self.store(|store| store.webhook_configs.clone());
        let on = |config: &&Value| config["active"] != false && config["isEnabled"] != false;
        let wants =
            |config: &&Value| config["events"].as_array().is_some_and(|events| events.contains(&json!(event.name)));
        let mut deliveries = Vec::new();
        for config in configs.iter().filter(on).filter(wants) {
            let target = Target {
                config_id: config["id"].clone(),
                url: config["url"].as_str().unwrap_or_default(),
                secret: config["secret"].as_str(),
                headers: static_headers(&config["headers"]),
            };
            let retries = config["maxRetries"].as_u64().and_then(|retries| u32::try_from(retries).ok());
            let event = event.clone().max_retries(retries.unwrap_or(event.max_retries));
            deliveries.push(self.send(target, &event).await?);
        }
        Ok(deliveries)
    }

    async fn send(&self, target: Target<'_>, event: &WebhookEvent) -> Result<WebhookDelivery, MockError> {
        let uri = sendable(target.url)?;
        let delivery_id = match &event.delivery_id {
            Some(id) => id.clone(),
            None => self.store(|store| store.ids.next()),
        };
        let body = Bytes::from(event.body(&delivery_id, self.core.world.clock.millis()));
        let mut headers = target.headers.clone();
        for (name, value) in [("x-nudj-event", event.name.as_str()), ("x-nudj-delivery-id", delivery_id.as_str())] {
            headers.insert(HeaderName::from_static(name), text(value)?);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = target.secret {
            headers.insert(HeaderName::from_static("x-nudj-signature"), text(&webhook_signature(secret, &body))?);
        }
        // Replaces what has the same name.
        headers.extend(event.headers.clone());
        let mut attempts = 0;
        loop {
            let answered = time::timeout(event.answer_within, attempt(&uri, &headers, body.clone())).await;
            let answered = answered.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            attempts += 1;
            let failed = answered.as_ref().map_or(true, |(status, _)| status.is_server_error());
            let again = failed && attempts <= event.max_retries;
            self.note(&target, event, &delivery_id, &body, attempts, &answered, again);
            if again {
                time::sleep(event.delay(attempts - 1)).await;
                continue;
            }
            let (status, error) = match answered {
                Ok((status, _)) => (Some(status), None),
                Err(error) => (None, Some(error)),
            };
            return Ok(WebhookDelivery { delivery_id, attempts, status, error });
        }
    }

    /// One line in the delivery log, with the fields of both documented families.
    #[expect(clippy::too_many_arguments, reason = "a log line is made of everything there is")]
    fn note(
        &self,
        target: &Target<'_>,
        event: &WebhookEvent,
        delivery_id: &str,
        body: &Bytes,
        attempt: u32,
        answered: &Result<(StatusCode, String), String>,
        again: bool,
    ) {
        let now = self.core.world.clock.millis();
        let (status, answer, error) = match answered {
            Ok((status, answer)) => (Some(status.as_u16()), Some(answer), None),
            Err(error) => (None, None, Some(error)),
        };
        let success = status.is_some_and(|status| (200..300).contains(&status));
        let delay = i64::try_from(event.delay(attempt.saturating_sub(1)).as_millis()).unwrap_or(i64::MAX);
        let next = again.then(|| iso(now.saturating_add(delay)));
        let outcome = match (success, again) {
            (true, _) => "delivered",
            (false, true) => "retrying",
            (false, false) => "failed",
        };
        let body = String::from_utf8_lossy(body.get(..MOST_ANSWER_BYTES).unwrap_or(body)).into_owned();
        let log = json!({
            "deliveryId": delivery_id, "webhookConfigId": target.config_id, "organisationId": ORGANISATION_ID,
            "event": event.name, "eventSubCategory": event.name, "url": target.url, "httpMethod": "POST", "requestBody": body,
            "status": outcome, "success": success, "attempt": attempt, "attempts": attempt,
            "createdAt": iso(now), "lastAttemptAt": iso(now), "nextAttemptAt": next,
            "responseStatus": status, "responseBody": answer, "error": error, "errorMessage": error,
        });
        self.store(|store| {
            let mut log = log;
            log["id"] = json!(store.ids.next());
            store.webhook_logs.push(log);
        });
    }
}

fn unusable(reason: &str) -> MockError {
    MockError::Data { what: "a webhook", reason: reason.to_owned() }
}

fn text(value: &str) -> Result<HeaderValue, MockError> {
    HeaderValue::from_str(value).map_err(|_| unusable("its name or delivery id cannot stand in a header"))
}

fn sendable(url: &str) -> Result<Uri, MockError> {
    let uri: Uri = url.parse().map_err(|_| unusable("its URL cannot be read"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(uri),
        _ => Err(unusable("its URL must be plain http")),
    }
}

fn static_headers(headers: &Value) -> HeaderMap {
    let read =
        |(name, value): (&String, &Value)| Some((name.parse::<HeaderName>().ok()?, value.as_str()?.parse().ok()?));
    headers.as_object().into_iter().flatten().filter_map(read).collect()
}

/// One attempt on a connection of its own: the answer's status and the beginning of its body.
async fn attempt(uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<(StatusCode, String), String> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(|_| "the path cannot be sent".to_owned())?;
    *request.headers_mut() = headers.clone();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.parse().map_err(|_| "the host cannot be sent".to_owned())?;
    request.headers_mut().insert(header::HOST, host);
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        // What is too long to be logged is left unread.
        let body = Limited::new(answer.into_body(), MOST_ANSWER_BYTES).collect().await;
        let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Ok((status, body))
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answered = &mut answer => answered,
        // The connection may end first, with the answer already there.
        _ = &mut connection => answer.await,
    }
}
