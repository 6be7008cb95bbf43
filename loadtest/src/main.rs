//! The `ringway-loadtest` command.

fn main() {}
