//! The built-in server as a program of its own, for tests and for trying things by hand.

fn main() -> std::io::Result<()> {
    ringway_sandbox::builtin::serve_stdio()
}
