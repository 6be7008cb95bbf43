//! Every bound of reading a configuration, with its reason.
//!
//! A configuration is written by an operator, but it may also be somebody else's `mcpServers` file that was
//! downloaded a minute ago; none of it may make the gateway run out of memory, stack or patience.

use std::time::Duration;

/// A file of a thousand servers with their environment stays under a tenth of this.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The deepest legal path, `servers.x.headers.y`, is four levels; editors' settings files go to about ten.
pub const DEPTH_MAX: usize = 32;
/// Values in one file with every alias written out, so that nested aliases ("billion laughs") end here.
pub const NODES_MAX: usize = 100_000;
/// Findings kept. More help nobody, and a file of one wrong type repeated would fill a terminal.
pub const FINDINGS_MAX: usize = 200;
/// A file named by `${file:…}`: tokens, passwords, at most a key in PEM.
pub const REFERENCE_BYTES_MAX: usize = 64 << 10;
/// A PEM file: a bundle of every public authority is about 250 KiB.
pub const PEM_BYTES_MAX: usize = 2 << 20;
/// The prefix of every exposed name; the rest of 64 characters must hold `__` and the tool.
pub const SERVER_NAME_MAX: usize = 32;
/// What every model API accepts as a tool name, hence the longest exposed name.
pub const EXPOSED_NAME_MAX: usize = 64;
/// A name of 64 characters with room for stars; the data plane refuses longer ones as well.
pub const PATTERN_CHARS_MAX: usize = 128;
/// Names of roles, keys and tenants appear in every audit record.
pub const ID_MAX: usize = 64;
/// Each server has pools, breakers and a catalogue in the data plane.
pub const SERVERS_MAX: usize = 1024;
/// Listening sockets are opened once per worker.
pub const LISTENERS_MAX: usize = 16;
/// One thread and one ring each; beyond the cores of the largest machines it is a typing mistake.
pub const WORKERS_MAX: u64 = 512;
/// A deadline longer than a day is no deadline.
pub const DURATION_MAX: Duration = Duration::from_secs(86_400);
/// A body is held in memory whole while it is judged.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
