//! The mock on sockets.

use std::{fmt, net::SocketAddr, ops::Deref};

use crate::{Builder, Control, MockError, MockService, instance::Instance};

/// A Nudj API on one or more local ports. Everything stops when it is dropped.
///
/// It derefs to [`Control`], where faults, requests and data are.
pub struct MockNudj {
    control: Control,
    token: String,
    instances: Vec<Instance>,
}

impl MockNudj {
    /// Listens on a free local port.
    ///
    /// # Errors
    /// [`MockError::Bind`] when no port can be had.
    pub async fn start() -> Result<Self, MockError> {
        Self::builder().start().await
    }

    /// Listens on so many free local ports, all over the same data.
    ///
    /// # Errors
    /// [`MockError::Bind`] when a port cannot be had.
    pub async fn start_many(instances: usize) -> Result<Self, MockError> {
        Self::builder().instances(instances).start().await
    }

    /// Sets up a mock with other than the usual settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    #[expect(clippy::unused_async, reason = "binding is synchronous today, and needs the runtime it is awaited on")]
    pub(crate) async fn listen(
        control: Control,
        token: String,
        addr: SocketAddr,
        instances: usize,
    ) -> Result<Self, MockError> {
        let listen =
            |index| Instance::listen(&control.core, index, addr).map_err(|source| MockError::Bind { addr, source });
        let instances = (0..instances).map(listen).collect::<Result<_, _>>()?;
        Ok(Self { control, token, instances })
    }

    /// The origin of the first instance, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        self.instances.first().map(|instance| self.origin(instance)).unwrap_or_default()
    }

    /// The origins of all instances, in order.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.instances.iter().map(|instance| self.origin(instance)).collect()
    }

    fn origin(&self, instance: &Instance) -> String {
        format!("{}://{}", self.control.core.world.scheme, instance.addr())
    }

    /// The certificate authority to trust, in PEM; `None` without [`Builder::tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.control.core.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// The addresses of all instances, in order.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.instances.iter().map(Instance::addr).collect()
    }

    /// A valid token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The in-memory form over the same data, log and faults, as instance 0.
    #[must_use]
    pub fn service(&self) -> MockService {
        MockService::new(self.control.clone(), self.token.clone(), 0)
    }

    /// Kills an instance: its listening socket and its connections are closed when this returns, whatever they were doing.
    /// Connecting is refused from then on; the port is held, so that no other program is given it. Killing a killed instance
    /// changes nothing.
    ///
    /// Dropping the future before it returns leaves the instance killed, its port perhaps not held.
    ///
    /// # Errors
    /// [`MockError::NoInstance`].
    pub async fn kill(&self, instance: usize) -> Result<(), MockError> {
        self.instance(instance)?.kill().await;
        Ok(())
    }

    /// Listens on the killed instance's port again. Reviving a living instance changes nothing.
    ///
    /// # Errors
    /// [`MockError::NoInstance`], or [`MockError::Bind`] when the port cannot be had again.
    pub async fn revive(&self, instance: usize) -> Result<(), MockError> {
        let instance = self.instance(instance)?;
        let addr = instance.addr();
        instance.revive(&self.control.core).await.map_err(|source| MockError::Bind { addr, source })
    }

    /// Whether an instance listens.
    #[must_use]
    pub fn is_up(&self, instance: usize) -> bool {
        self.instances.get(instance).is_some_and(Instance::is_up)
    }

    fn instance(&self, index: usize) -> Result<&Instance, MockError> {
        let instances = self.instances.len();
        self.instances.get(index).ok_or(MockError::NoInstance { index, instances })
    }
}

impl Deref for MockNudj {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl fmt::Debug for MockNudj {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockNudj").field("instances", &self.instances).finish_non_exhaustive()
    }
}
