//! How a mock is set up before it runs.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use crate::{
    Control, MockError, MockNudj, MockService, Seed,
    api::{World, router},
    clock::Clock,
    exchange::Core,
    faults::Rules,
    log::{LogLimits, RequestLog},
    store::{Idempotency, Limits, Store, Tokens},
};

/// The token that is valid unless others are set.
pub(crate) const TOKEN: &str = "nudj-mock-token";

/// The OAuth client that is known unless others are set.
const CLIENT: (&str, &str) = ("nudj-mock-client", "nudj-mock-secret");

/// Sets up a [`MockNudj`] or a [`MockService`]. From [`MockNudj::builder`].
#[must_use = "a builder does nothing until it starts a mock"]
pub struct Builder {
    tokens: Vec<String>,
    clients: Vec<(String, String)>,
    instances: usize,
    bind: SocketAddr,
    epoch: Option<SystemTime>,
    idempotency: bool,
    rotation_overlap: Duration,
    token_lifetime: Duration,
    log: LogLimits,
    limits: Limits,
    most_body_bytes: usize,
    seed: Seed,
    #[cfg(feature = "tls")]
    alpn: Option<Vec<String>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            clients: Vec::new(),
            instances: 1,
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            epoch: None,
            idempotency: false,
            rotation_overlap: Duration::from_secs(60),
            token_lifetime: Duration::from_secs(3600),
            log: LogLimits::default(),
            limits: Limits::default(),
            most_body_bytes: 10 * 1024 * 1024,
            seed: Seed::new(),
            #[cfg(feature = "tls")]
            alpn: None,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("tokens", &self.tokens.len())
            .field("instances", &self.instances)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Accepts this token. May be called several times; the first is the one that [`MockNudj::token`] gives. Without any call,
    /// `nudj-mock-token` is accepted.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(token.into());
        self
    }

    /// Accepts this OAuth client at `POST /oauth/token`. May be called several times. Without any call it is
    /// `nudj-mock-client` with `nudj-mock-secret`.
    pub fn oauth_client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.clients.push((id.into(), secret.into()));
        self
    }

    /// How long a token from `POST /oauth/token` is good: 1 hour unless set.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How long the old key stays good after `rotate-api-key`: 60 s unless set; zero ends it at once.
    pub fn rotation_overlap(mut self, overlap: Duration) -> Self {
        self.rotation_overlap = overlap;
        self
    }

    /// How many instances share the data, each with a port of its own: 1 unless set, and never less.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances.max(1);
        self
    }

    /// Where to listen: `127.0.0.1:0`, a free port, unless set.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.bind = addr;
        self
    }

    /// The wall clock at the start, which then follows tokio's clock. Real time unless set.
    pub fn clock(mut self, epoch: SystemTime) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Whether to deduplicate by `Idempotency-Key`, see [`Control::set_idempotency`]. Off unless set.
    pub fn idempotency(mut self, on: bool) -> Self {
        self.idempotency = on;
        self
    }

    /// How many requests the log keeps: 10 000 unless set; 0 keeps none.
    pub fn request_log(mut self, requests: usize) -> Self {
        self.log.requests = requests;
        self
    }

    /// How much of one request's body the log keeps: 64 KiB unless set. All requests together are kept up to 16 MiB.
    pub fn request_log_body_bytes(mut self, bytes: usize) -> Self {
        self.log.body_bytes = bytes;
        self
    }

    /// How many users the mock holds, 250 000 unless set; one more is answered 500.
    pub fn most_users(mut self, users: usize) -> Self {
        self.limits.users = users;
        self
    }

    /// Takes an email address or external id that another user has already, instead of answering 409: so a client that creates twice
    /// is seen to. The documentation does not say that the real API refuses. Off unless set.
    pub fn duplicate_users(mut self, allowed: bool) -> Self {
        self.limits.duplicates = allowed;
        self
    }

    /// How many records every other collection holds, 50 000 unless set; one more is answered 500.
    pub fn most_records(mut self, records: usize) -> Self {
        self.limits.records = records;
        self
    }

    /// The largest request body that is read, 10 MiB unless set; a larger one is answered 413.
    pub fn most_body_bytes(mut self, bytes: usize) -> Self {
        self.most_body_bytes = bytes;
        self
    }

    /// Starts with this data: nothing unless set.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Speaks TLS, offering HTTP/2 and HTTP/1.1 by ALPN. [`MockNudj::ca_pem`] is whom to trust; the certificate is for `localhost`,
    /// `127.0.0.1` and `::1`.
    #[cfg(feature = "tls")]
    pub fn tls(self) -> Self {
        self.tls_alpn(["h2", "http/1.1"])
    }

    /// Speaks TLS, offering exactly these protocols by ALPN; none for no ALPN at all.
    #[cfg(feature = "tls")]
    pub fn tls_alpn(mut self, protocols: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// [`MockError::Bind`] when the address cannot be had, [`MockError::OnePort`] when several instances were asked for on one
    /// fixed port, [`MockError::Data`] when the seed is refused or no certificate could be made.
    pub async fn start(self) -> Result<MockNudj, MockError> {
        if self.instances > 1 && self.bind.port() != 0 {
            return Err(MockError::OnePort { instances: self.instances, port: self.bind.port() });
        }
        let (bind, instances, token) = (self.bind, self.instances, self.first_token());
        MockNudj::listen(self.control()?, token, bind, instances).await
    }

    /// Makes the in-memory form: no socket, the same routes and faults.
    ///
    /// # Errors
    /// [`MockError::Data`] when the seed is refused.
    pub fn service(self) -> Result<MockService, MockError> {
        let token = self.first_token();
        Ok(MockService::new(self.control()?, token, 0))
    }

    fn first_token(&self) -> String {
        self.tokens.first().cloned().unwrap_or_else(|| TOKEN.to_owned())
    }

    fn control(mut self) -> Result<Control, MockError> {
        let seed = std::mem::take(&mut self.seed);
        #[cfg(feature = "tls")]
        let tls = self.alpn.as_ref().map(|alpn| crate::tls::Tls::new(alpn)).transpose()?;
        #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "TLS is put in where it is there"))]
        let mut core = self.core();
        #[cfg(feature = "tls")]
        {
            core.tls = tls;
        }
        let control = Control { core: Arc::new(core) };
        control.load(&seed)?;
        Ok(control)
    }

    /// Without seed and TLS, nothing can fail.
    pub(crate) fn core(mut self) -> Core {
        if self.tokens.is_empty() {
            self.tokens.push(TOKEN.to_owned());
        }
        if self.clients.is_empty() {
            self.clients.push((CLIENT.0.to_owned(), CLIENT.1.to_owned()));
        }
        let clock = Clock::starting_at(self.epoch);
        let tokens = Tokens::new(self.tokens, self.clients);
        let idempotency = Idempotency::new(self.idempotency, 10_000);
        let store = Store::new(self.limits, tokens, idempotency, clock.millis());
        #[cfg(feature = "tls")]
        let scheme = if self.alpn.is_some() { "https" } else { "http" };
        #[cfg(not(feature = "tls"))]
        let scheme = "http";
        let world = Arc::new(World {
            store: Mutex::new(store),
            clock,
            scheme,
            rotation_overlap: self.rotation_overlap,
            token_lifetime: self.token_lifetime,
        });
        Core {
            router: router(Arc::clone(&world)),
            world,
            rules: Mutex::new(Rules::default()),
            log: Mutex::new(RequestLog::new(self.log)),
            most_body_bytes: self.most_body_bytes,
            accepted: (0..self.instances).map(|_| AtomicU64::new(0)).collect(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}
