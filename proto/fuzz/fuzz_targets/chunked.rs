//! Fuzz target: chunked; what must hold is in `proto/fuzz/src`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ringway_proto_fuzz::chunked(input));
