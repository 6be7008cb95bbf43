//! ringway-control

pub mod client;
pub mod registry;
