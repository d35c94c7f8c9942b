//! Address, TCP and TLS: how both transports connect.

use std::time::Duration;

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::util::MapResponse;

use super::watched::{Watched, watched};
use crate::config::HttpConfig;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::config::HttpVersion;

type Tcp = MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> TokioIo<Watched>>;

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(super) type Connector = hyper_rustls::HttpsConnector<Tcp>;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
pub(super) type Connector = Tcp;

/// Whether this build can encrypt.
pub(crate) const HAS_TLS: bool = cfg!(any(feature = "tls-aws-lc", feature = "tls-ring"));

/// How often it is looked whether an HTTP/2 connection with calls on it was silent since the last look. Then it is asked for a sign of life.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long that sign may take.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn connector(config: &HttpConfig) -> Result<Connector, crate::Error> {
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(config.connect_timeout));
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(60)));
    // Without TLS nothing that is to be encrypted goes out in the clear, whoever asks for it.
    http.enforce_http(!HAS_TLS);
    let http: Tcp = MapResponse::new(http, watched);
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    {
        let ca = config
            .ca_file
            .as_deref()
            .map(std::fs::read)
            .transpose()
            .map_err(|error| crate::Error::config("http.ca_file", format!("cannot be read: {error}")))?;
        let tls = super::tls::client_config(ca.as_deref())
            .map_err(|error| crate::Error::config("http.ca_file", error.to_string()).caused_by(error))?;
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        Ok(match config.version {
            HttpVersion::Auto => https.enable_all_versions().wrap_connector(http),
            HttpVersion::Http1 => https.enable_http1().wrap_connector(http),
            HttpVersion::Http2 => https.enable_http2().wrap_connector(http),
        })
    }
    #[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
    Ok(http)
}
