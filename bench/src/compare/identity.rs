//! A throw-away certificate for 127.0.0.1, made for each comparison.

use super::{
    failure::{Context, Result, write},
    upstream::Identity,
};
use std::path::Path;

/// Makes one and writes both halves.
pub fn make(dir: &Path) -> Result<Identity> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let made = made.context("make a certificate")?;
    let identity = Identity {
        certificate: dir.join("certificate.pem"),
        key: dir.join("key.pem"),
    };
    write(&identity.certificate, &made.cert.pem())?;
    write(&identity.key, &made.signing_key.serialize_pem())?;
    Ok(identity)
}
