//! ringway-sandbox
