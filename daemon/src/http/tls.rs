//! HTTPS, when there is a certificate.

use crate::config::Tls;
use crate::failure::{Exit, Failure};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Reads certificate and key. They are read once: a renewed certificate counts after a restart.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, Failure> {
    let wrong = |path: &Path, what: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, "bad_certificate", format!("{}: {what}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&tls.cert, &error))?;
    if chain.is_empty() {
        return Err(wrong(&tls.cert, &"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| wrong(&tls.key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&tls.cert, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&tls.cert, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
