//! TLS by rustls, its provider named here and never taken from the process.
//!
//! Two providers compiled into one binary make `ClientConfig::builder()` panic, and which process default is installed is the
//! application's business. So the provider is always passed explicitly and no default is ever installed.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The provider or the platform's verifier refused.
    #[error("TLS cannot be set up on this machine; are CA certificates installed?")]
    Rustls(#[from] rustls::Error),
    /// A certificate of one's own could not be read.
    #[error("a CA certificate given in PEM cannot be read")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    /// The PEM held no certificate.
    #[error("the CA file holds no certificate")]
    NoCertificate,
}

/// A client configuration that trusts the platform's roots, or only those in `ca_pem` when it is given.
///
/// # Errors
/// [`TlsError`] when the platform has no usable roots or `ca_pem` cannot be read.
pub fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let Some(pem) = ca_pem else { return Ok(builder.with_platform_verifier()?.with_no_client_auth()) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(TlsError::Certificate)?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(feature = "tls-aws-lc")]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(not(feature = "tls-aws-lc"))]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
