//! From a configuration to a client.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use nudj_tower::{
    BoxError,
    credentials::{CredentialProvider, Credentials, Scheme, StaticCredential},
    observe::{Observer, Observers},
};
use secrecy::SecretString;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Client, Config, Error, NudjService,
    keys::{Keys, SharedKeys},
    stack::{self, Handles, Parts},
    transport::Hyper,
};

pub(crate) type Wrap = Box<dyn FnOnce(NudjService) -> NudjService + Send>;

/// Puts a [`Client`] together: configuration, token, and what stands around or inside the stack.
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    config: Config,
    credentials: Option<Arc<dyn CredentialProvider>>,
    token: Option<SecretString>,
    observers: Observers,
    cache: Option<Wrap>,
    outermost: Option<Wrap>,
    seed: Option<u64>,
    keys: Keys,
}

const NO_TOKEN: &str = "no token given; call `token(…)`, or `credentials(EnvironmentCredential::new([\"NUDJ_API_TOKEN\"]))` to have it read \
                        from that variable";

impl ClientBuilder {
    /// Uses this configuration in place of the defaults.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds an endpoint's origin, such as `https://acme.nudj.cx`.
    pub fn endpoint(mut self, origin: impl Into<String>) -> Self {
        self.config.endpoints.push(origin.into());
        self
    }

    /// Sends this API token.
    pub fn token(mut self, token: impl Into<SecretString>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Takes credentials from `provider` in place of a fixed token: they are renewed before they expire, and once more when they
    /// are refused. One of the two is required.
    pub fn credentials(mut self, provider: Arc<dyn CredentialProvider>) -> Self {
        self.credentials = Some(provider);
        self
    }

    /// Tells `observer` what every layer does.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers = Observers::shared(observer);
        self
    }

    /// Puts a cache at its place in the stack: inside the deadline, outside everything that costs quota or a try.
    pub fn cache<L>(mut self, layer: L) -> Self
    where
        L: Layer<NudjService> + Send + 'static,
        L::Service: Stackable,
        <L::Service as Service<Request<Full<Bytes>>>>::Future: Send,
    {
        self.cache = Some(Box::new(move |inner| NudjService::new(layer.layer(inner))));
        self
    }

    /// Puts a layer of your own around the whole stack. The one added last stands outermost.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<NudjService> + Send + 'static,
        L::Service: Stackable,
        <L::Service as Service<Request<Full<Bytes>>>>::Future: Send,
    {
        let earlier = self.outermost.take();
        self.outermost = Some(Box::new(move |inner| {
            let inner = earlier.into_iter().fold(inner, |inner, wrap| wrap(inner));
            NudjService::new(layer.layer(inner))
        }));
        self
    }

    /// Keeps idempotency keys of requests with a [business key](crate::RequestBuilder::business_key) in `store` instead of deriving
    /// them; see [`keys`](crate::keys).
    pub fn key_store(mut self, store: SharedKeys) -> Self {
        self.keys = Keys::new(Some(store));
        self
    }

    /// Draws backoff jitter and ids from this seed: for tests that repeat.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the client. No connection is made before the first call. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Of kind `config`, naming the field, or `auth` when the token is missing or cannot be one.
    pub fn build(self) -> Result<Client, Error> {
        let transport = Hyper::new(&self.config.http)?;
        self.built(|config, parts| stack::compose(config, parts, transport))
    }

    /// Builds the client over a transport of your own, such as the in-memory mock: it gets requests with absolute URIs, one per
    /// attempt and without the call's context, and must answer with the whole body. A failure that never left should be a
    /// [`TransportError`](nudj_tower::classify::TransportError); an [`io::Error`](std::io::Error) of kind `ConnectionRefused` that comes
    /// as it is, such as the mock's, is taken for one.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_over<T>(self, transport: T) -> Result<Client, Error>
    where
        T: Stackable + 'static,
        <T as Service<Request<Full<Bytes>>>>::Future: Send,
    {
        self.built(|config, parts| stack::compose_over(config, parts, transport))
    }

    fn built(
        self,
        compose: impl FnOnce(&Config, Parts) -> Result<(NudjService, Handles), Error>,
    ) -> Result<Client, Error> {
        self.config.validate()?;
        let scheme = Scheme::from(self.config.auth.header);
        let provider: Arc<dyn CredentialProvider> = match (self.credentials, self.token) {
            (Some(provider), _) => provider,
            (None, Some(token)) => {
                scheme.check(&token).map_err(|problem| Error::auth(format!("the token is not usable: {problem}")))?;
                Arc::new(StaticCredential::new(token))
            }
            (None, None) => return Err(Error::auth(NO_TOKEN)),
        };
        let credentials =
            Credentials::shared(provider, scheme, self.config.auth.renewal.clone(), self.observers.clone())
                .map_err(|error| error.within("auth.renewal"))?;
        let parts = Parts {
            credentials,
            observers: self.observers,
            cache: self.cache,
            seed: self.seed,
            keys: self.keys.clone(),
        };
        let (service, handles) = compose(&self.config, parts)?;
        let service = self.outermost.into_iter().fold(service, |inner, wrap| wrap(inner));
        Ok(Client::new(service, handles, self.config, self.keys))
    }
}

/// A service that can stand in the stack: whole bodies in and out, boxed errors, cloned per call and shared between threads.
/// Implemented for every service that fits.
pub trait Stackable:
    Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError> + Clone + Send + Sync + 'static
{
}

impl<S> Stackable for S where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>
        + Clone
        + Send
        + Sync
        + 'static
{
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
