//! ringway-control

pub mod client;
pub mod config;
pub mod import;
pub mod keys;
pub mod registry;
pub mod state;
