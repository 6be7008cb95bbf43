//! Supervised local MCP servers, and the bridge that presents them as HTTP.
//!
//! The data plane sees HTTP upstreams only; a process is never its child. Control tells a [`Sandbox`] which
//! servers there are ([`Sandbox::ensure`]) and puts the address it gets into the snapshot. Nothing runs until the
//! first request; what runs is capped, stopped when idle, restarted with back-off after a crash, and ended to the
//! last descendant. Every bound is in [`limits`]; how processes are kept is in [`process`], how their messages
//! become HTTP in `bridge`.
//!
//! The sandbox knows nothing of users and policy: whoever can open a server's socket may call it, so the socket
//! directory must be the gateway's alone.

mod bridge;
pub mod builtin;
pub mod http_client;
pub mod limits;
pub mod process;
mod random;
mod sandbox;
mod spec;

pub use limits::Limits;
pub use process::Launch;
pub use sandbox::{Sandbox, SandboxError};
pub use spec::{IDLE_STOP, LocalServer, ServerState, ServerStatus, Sharing, Transport};
