//! Fuzz target: rpc_scan; what must hold is in `proto/fuzz/src`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ringway_proto_fuzz::rpc_scan(input));
