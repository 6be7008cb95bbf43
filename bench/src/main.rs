//! The `ringway-bench` command: side-by-side runs (`compare`) and instruction counts (`instructions`).

fn main() {}
