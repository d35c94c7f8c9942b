//! TLS for tests: a certificate authority made on the spot, and a server certificate signed by it.

use std::{fmt, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::MockError;

/// Who may speak which protocol, and whom to trust.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// For `localhost`, `127.0.0.1` and `::1`, offering these protocols by ALPN.
    pub(crate) fn new(alpn: &[String]) -> Result<Self, MockError> {
        let failed = |reason: String| MockError::Data { what: "TLS", reason };
        let made = certificates().map_err(|error| failed(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![made.certificate], made.key))
            .map_err(|error| failed(error.to_string()))?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem: made.ca_pem })
    }
}

struct Certificates {
    certificate: tokio_rustls::rustls::pki_types::CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    ca_pem: String,
}

fn certificates() -> Result<Certificates, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    // Other names than the server's: OpenSSL takes a certificate whose issuer and subject are alike for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "nudj-mock CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "nudj-mock server");
    server.use_authority_key_identifier_extension = true;
    let certificate = server.signed_by(&key, &issuer)?;
    Ok(Certificates {
        certificate: certificate.der().clone(),
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        ca_pem,
    })
}
