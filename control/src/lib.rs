//! ringway-control

pub mod cli;
pub mod client;
pub mod config;
pub mod doctor;
pub mod import;
pub mod keys;
pub mod registry;
pub mod state;
pub mod up;
