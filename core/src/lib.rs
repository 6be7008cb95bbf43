//! ringway-core

pub mod limits;
pub mod rejection;
pub mod authenticate;
pub mod authorize;
mod bits;
pub mod catalogue;
#[cfg(test)]
mod fixture;
pub mod interface;
pub mod names;
pub mod resolve;
pub mod search;
pub mod seal;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod uri_template;
pub mod envelope;
pub mod origin;
pub mod pipeline;
pub mod translate;
