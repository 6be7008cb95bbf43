//! Fuzz target: http1_response; what must hold is in `proto/fuzz/src`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ringway_proto_fuzz::http1_response(input));
