//! ringway-core

pub mod limits;
pub mod rejection;
