//! TLS settings toward servers: one `ClientConfig` per set of authorities and protocol offer, shared by all.
//!
//! Building a config parses roots and is done where snapshots are compiled, never on a call. Sharing also shares
//! the session cache, so a second connection to a server resumes. Verification cannot be switched off: a server
//! with a private authority names it in `ca_file`.

use super::endpoint::EndpointError;
use ring::digest;
use ringway_proto::snapshot::HttpVersion;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

/// Authorities (a digest of their PEM; none for the public ones) and what ALPN offers.
type Key = (Option<[u8; 32]>, HttpVersion);

static SHARED: LazyLock<Mutex<HashMap<Key, Weak<ClientConfig>>>> = LazyLock::new(Mutex::default);

/// The settings for these authorities and this HTTP version, built at their first use.
pub(super) fn client_config(
    ca_pem: Option<&[u8]>,
    http: HttpVersion,
) -> Result<Arc<ClientConfig>, EndpointError> {
    let digest = ca_pem.map(|pem| {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, pem).as_ref());
        out
    });
    // A panic while the lock was held leaves at worst a missing entry.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = shared.get(&(digest, http)).and_then(Weak::upgrade) {
        return Ok(config);
    }
    let config = Arc::new(build(ca_pem, http)?);
    shared.retain(|_, config| config.strong_count() > 0);
    shared.insert((digest, http), Arc::downgrade(&config));
    Ok(config)
}

fn build(ca_pem: Option<&[u8]>, http: HttpVersion) -> Result<ClientConfig, EndpointError> {
    let unusable = |why: String| EndpointError::Authorities(why);
    let mut roots = RootCertStore::empty();
    match ca_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
                roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("the file holds no certificate".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match http {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_config_serves_everyone_with_the_same_authorities_and_offer() {
        let one = client_config(None, HttpVersion::Auto).expect("builds");
        let two = client_config(None, HttpVersion::Auto).expect("builds");
        assert!(Arc::ptr_eq(&one, &two));
        let other = client_config(None, HttpVersion::Http1).expect("builds");
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_rather_than_trusting_nobody_or_everybody() {
        for pem in [
            "",
            "no pem here",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(
                client_config(Some(pem.as_bytes()), HttpVersion::Auto).is_err(),
                "{pem:?}"
            );
        }
    }
}
