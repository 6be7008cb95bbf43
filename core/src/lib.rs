//! ringway-core
