//! ringway-control

pub mod client;
