//! HTTPS, when there is a certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// The files for HTTPS, in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Pem(#[from] pem::Error),
    #[error("there is no certificate in it")]
    Empty,
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Reads certificate and key. They are read once: a renewed certificate counts after a restart.
///
/// # Errors
/// A file cannot be read, holds something else, or the two do not belong together.
pub fn acceptor(files: &Files) -> Result<TlsAcceptor, TlsError> {
    let chain = at(&files.cert, chain(&files.cert))?;
    let key = at(&files.key, PrivateKeyDer::from_pem_file(&files.key).map_err(Why::from))?;
    let config = at(&files.cert, config(chain, key).map_err(Why::from))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn at<T>(path: &Path, result: Result<T, Why>) -> Result<T, TlsError> {
    result.map_err(|why| TlsError { path: path.to_owned(), why })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Why> {
    let chain = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err(Why::Empty) } else { Ok(chain) }
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
}
