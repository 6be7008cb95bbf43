//! The `ringway` command line.

/// Idle connections leave holes between the long-lived pieces of memory; this allocator keeps them usable
/// (docs/decisions/0010).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ringway_control::cli::main()
}
