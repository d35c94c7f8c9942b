use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    Uri,
    uri::{Authority, InvalidUri, PathAndQuery, Scheme},
};
use tracing::{Span, level_filters::LevelFilter};

/// Where an endpoint lives: scheme, host, port, and the prefix that every path there begins with.
///
/// ```
/// use nudj_tower::round_robin::Origin;
///
/// let origin = Origin::parse("https://acme.nudj.cx/api/")?;
/// let uri = origin.locate("/v2/users?limit=5".parse()?)?;
/// assert_eq!(uri, "https://acme.nudj.cx/api/v2/users?limit=5");
/// # Ok::<_, nudj_tower::BoxError>(())
/// ```
#[derive(Clone)]
pub struct Origin {
    name: Arc<str>,
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; empty for none.
    prefix: Bytes,
}

/// What is wrong with the text of an origin. Never shows a password that was in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It is no URI.
    #[error("not a URI; write it as https://host, https://host:port or https://host/prefix")]
    NotAUri(#[source] InvalidUri),
    /// It has no scheme, or one that is not HTTP.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// It has no host, or one that cannot be.
    #[error("has no valid host; write it as https://host")]
    Host,
    /// Its port is not a number from 1 to 65535.
    #[error("has no valid port; write a number from 1 to 65535, or none")]
    Port,
    /// It carries a user name or a password.
    #[error("must not carry a user name or password; tokens are configured apart")]
    UserInfo,
    /// It carries a query.
    #[error("must not carry a query (?…); it is put in front of every request's path")]
    Query,
    /// It carries a fragment.
    #[error("must not carry a fragment (#…); servers never see one")]
    Fragment,
    /// Its path has a segment that climbs.
    #[error("must not have . or .. in its path; write the path as it is meant")]
    DotSegment,
}

impl Origin {
    /// Reads an origin. A slash at the end means nothing, the scheme's own port is left out, and the host's case does not matter.
    ///
    /// # Errors
    /// [`OriginError`], which says what to write instead.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.contains('#') {
            return Err(OriginError::Fragment);
        }
        let parts = text.parse::<Uri>().map_err(OriginError::NotAUri)?.into_parts();
        let scheme =
            parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)).ok_or(OriginError::Scheme)?;
        let authority = parts.authority.ok_or(OriginError::Host)?;
        if authority.as_str().contains('@') {
            return Err(OriginError::UserInfo);
        }
        let authority = normal(&scheme, &authority)?;
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(OriginError::Query);
        }
        if path.path().split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(OriginError::DotSegment);
        }
        let prefix = path.path().trim_end_matches('/');
        Ok(Self {
            name: format!("{scheme}://{authority}{prefix}").into(),
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            scheme,
            authority,
        })
    }

    /// The origin as text, in its one normal form: what endpoints are called in logs, metrics and errors.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The host, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, the scheme's own where none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or_else(|| own_port(&self.scheme))
    }

    /// Writes host and port into the span that is entered: an attempt's was made before anybody knew where it would go. For
    /// services that send to one origin, as [`OriginLayer`](super::OriginLayer)'s does.
    pub fn record_in_current_span(&self) {
        // Where nobody listens there is no span, and to ask costs more than the rest of this.
        if LevelFilter::current() == LevelFilter::OFF {
            return;
        }
        let span = Span::current();
        if !span.is_disabled() {
            span.record("server.address", self.host()).record("server.port", self.port());
        }
    }

    /// Whether paths there begin with something.
    #[must_use]
    pub fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Whether what is sent there can be read on the way: the scheme is `http`.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    /// Whether the host is this machine: a loopback address, `localhost` or a name below it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// The request's path and query at this origin; whatever origin `uri` had is replaced. Without a prefix nothing is allocated.
    ///
    /// # Errors
    /// When the whole is longer than a URI may be.
    pub fn locate(&self, uri: Uri) -> Result<Uri, http::Error> {
        let mut parts = uri.into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        let path = parts.path_and_query.take().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.path_and_query = Some(if self.prefix.is_empty() || path == "*" { path } else { self.prefixed(&path)? });
        Ok(Uri::from_parts(parts)?)
    }

    fn prefixed(&self, path: &PathAndQuery) -> Result<PathAndQuery, http::Error> {
        let path = path.as_str();
        let mut whole = BytesMut::with_capacity(self.prefix.len() + path.len() + 1);
        whole.extend_from_slice(&self.prefix);
        // A URI such as http://host?query has a path that begins with its query.
        if !path.starts_with('/') {
            whole.extend_from_slice(b"/");
        }
        whole.extend_from_slice(path.as_bytes());
        Ok(PathAndQuery::from_maybe_shared(whole.freeze())?)
    }
}

fn own_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

/// Lower case, and without the scheme's own port.
fn normal(scheme: &Scheme, authority: &Authority) -> Result<Authority, OriginError> {
    let host = authority.host();
    if host.is_empty() || (host.starts_with('[') && !is_v6(host)) {
        return Err(OriginError::Host);
    }
    let port = match authority.as_str().get(host.len()..) {
        Some("") => None,
        Some(rest) => {
            let digits = rest.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            Some(
                digits
                    .and_then(|digits| digits.parse::<u16>().ok())
                    .filter(|port| *port > 0)
                    .ok_or(OriginError::Port)?,
            )
        }
        None => return Err(OriginError::Host),
    };
    let host = host.to_ascii_lowercase();
    let text = match port.filter(|port| *port != own_port(scheme)) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    text.parse().map_err(|_| OriginError::Host)
}

fn is_v6(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Self::parse(text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origin").field(&self.name).finish()
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Origin {}

#[cfg(test)]
mod tests;
