//! The client: a handle on the stack.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Method};
use nudj_tower::Route;

use crate::{
    ClientBuilder, Config, Error, NudjService, RequestBuilder,
    api::{Admin, Analytics, Integration},
    keys::Keys,
    path,
    stack::Handles,
};

/// A client for one Nudj organisation. A clone is cheap and shares connections, quota, breakers and budget.
///
/// ```no_run
/// use nudj_client::{Client, Config, model::NewUser};
///
/// # async fn example(token: secrecy::SecretString) -> Result<(), nudj_client::Error> {
/// let client = Client::builder().config(Config::with_endpoints(["https://acme.nudj.cx"])).token(token).build()?;
/// let ada = NewUser { email: Some("ada@example.org".into()), ..NewUser::default() };
/// let user = client.admin().users().create(&ada).await?;
/// println!("{}", user.id);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    language: Option<HeaderValue>,
}

struct Shared {
    service: NudjService,
    handles: Handles,
    config: Config,
    keys: Keys,
}

impl Client {
    /// Starts a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(service: NudjService, handles: Handles, config: Config, keys: Keys) -> Self {
        Self { shared: Arc::new(Shared { service, handles, config, keys }), language: None }
    }

    /// What administrators may do: `/api/v2/admin`.
    #[must_use]
    pub fn admin(&self) -> Admin<'_> {
        Admin { client: self }
    }

    /// What the user whose token it is may do: `/api/v2/integration`.
    #[must_use]
    pub fn integration(&self) -> Integration<'_> {
        Integration { client: self }
    }

    /// Statistics: `/api/v2/analytics`.
    #[must_use]
    pub fn analytics(&self) -> Analytics<'_> {
        Analytics { client: self }
    }

    /// Anything that is not typed. `path` follows the endpoint's origin as given and must be percent-encoded; it should be a
    /// template's worth of names, since nothing tells its ids from its words.
    pub fn request(&self, method: Method, path: impl Into<String>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, Ok(path.into()), None)
    }

    /// As [`request`](Self::request), with a route that metrics and spans use, and ids that are each encoded to one segment.
    pub fn routed(&self, method: Method, route: Route, ids: &[&str]) -> RequestBuilder {
        self.typed(method, route, ids)
    }

    pub(crate) fn typed(&self, method: Method, route: Route, ids: &[&str]) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, path::fill(route.template, ids), Some(route))
    }

    /// A client whose requests ask for content in `language` (`x-language`) and that shares everything else with this one.
    /// A cache in the stack must keep languages apart; that of `nudj-cache` does.
    ///
    /// # Errors
    /// Of kind `config` when `language` cannot stand in a header.
    pub fn with_language(&self, language: &str) -> Result<Self, Error> {
        let language = HeaderValue::from_str(language)
            .map_err(|_| Error::config("language", "must be visible ASCII, such as `de`"))?;
        Ok(Self { shared: Arc::clone(&self.shared), language: Some(language) })
    }

    /// The stack as a `tower::Service`.
    #[must_use]
    pub fn service(&self) -> NudjService {
        self.shared.service.clone()
    }

    pub(crate) fn stack(&self) -> &NudjService {
        &self.shared.service
    }

    /// Handles on the layers: breakers, limiter, endpoints, budget.
    #[must_use]
    pub fn handles(&self) -> &Handles {
        &self.shared.handles
    }

    /// The configuration the client was built from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub(crate) fn language(&self) -> Option<&HeaderValue> {
        self.language.as_ref()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.shared.config.endpoints).finish_non_exhaustive()
    }
}
