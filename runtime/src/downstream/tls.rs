//! TLS toward clients: one certificate that can be renewed while connections live.
//!
//! rustls asks the [`ServerTls`]'s resolver at every handshake, and the resolver reads one atomic pointer.
//! [`ServerTls::reload`] reads both files, checks that they belong together, and only then swaps; on any error
//! the old certificate stays. Connections that live keep theirs, and resumed ones need none. Tickets are on: the
//! keys that seal them rotate by themselves and are never written down.

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A listener's certificate and TLS settings.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    certificate: PathBuf,
    key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, unreadable or not PEM.
    #[error("cannot read {what} from {path}: {source}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The certificate file has no certificate in it.
    #[error("no certificate in {0}")]
    Empty(PathBuf),
    /// The two files are readable but do not make a usable pair.
    #[error("certificate {certificate} and key {key} cannot be used: {source}")]
    Pair {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl ServerTls {
    /// Reads a certificate chain (leaf first) and its private key from PEM files. HTTP/2 and HTTP/1.1 are offered.
    pub fn load(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let provider = Arc::new(ring::default_provider());
        let pair = read_pair(&certificate, &key, &provider)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        // Tickets carry the session; a store beside them would only be a lock all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            current,
            certificate,
            key,
        })
    }

    /// Reads the files again; on an error everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let pair = read_pair(&self.certificate, &self.key, self.config.crypto_provider())?;
        self.current.0.store(Arc::new(pair));
        Ok(())
    }

    /// The files this was read from: certificate, key.
    pub fn files(&self) -> (&Path, &Path) {
        (&self.certificate, &self.key)
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn read_pair(
    certificate: &Path,
    key: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<CertifiedKey, TlsError> {
    let file = |what, path: &Path| {
        let path = path.to_path_buf();
        move |source| TlsError::File { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file("certificates", certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate.to_path_buf()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(file("a private key", key))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|source| TlsError::Pair {
        certificate: certificate.to_path_buf(),
        key: key.to_path_buf(),
        source,
    })
}

/// The certificate of the next handshake.
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
