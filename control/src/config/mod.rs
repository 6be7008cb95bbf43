//! The configuration: `ringway.yaml` (or a desktop client's JSON) → everything the gateway does.
//!
//! ```text
//! bytes ─ yaml.rs, json.rs ─► tree with places (node.rs)
//!       ─ read.rs: which kind of file, then settings.rs, server.rs, access.rs
//!             each asks the reader (reader.rs) for values; every "no" is a finding (finding.rs)
//!       ─► Config (model.rs) ─ document.rs ─► snapshot document
//! load.rs adds the key store; watch.rs does it all again when a file changes.
//! ```
//!
//! A configuration is taken whole or refused whole: one error and there is no [`Config`]. All findings come
//! together, so that one run of `ringway check` is enough. No finding, summary or `Debug` holds a secret.

mod access;
mod bounds;
mod document;
mod excerpt;
mod finding;
mod json;
mod load;
mod local;
mod model;
mod names;
mod node;
mod read;
mod reader;
mod schema;
mod secret;
mod server;
mod settings;
mod summary;
mod surroundings;
mod template;
mod units;
mod values;
mod watch;
mod yaml;

pub use finding::{Code, Finding, Findings, Severity};
pub use load::Loader;
pub use model::{
    Config, LegacySse, LimitSettings, Listener, LocalServer, Log, LogFormat, LogLevel, Package, Program,
    Remote, Server, ServerKind, Settings, Sharing, TlsFiles, Workers,
};
pub use node::Position;
pub use read::{Outcome, read, to_json};
pub use schema::schema;
pub use secret::Secret;
pub use surroundings::{Surroundings, System, Written};
pub use units::{duration, moment, moment_text};
pub use watch::{Change, Watch, watch};

pub(crate) use finding::quote;
pub(crate) use local::{IDLE_STOP, command, npx_package, passed_on, uvx_package};
pub(crate) use names::{check_id, normal_server_name, origin};
pub(crate) use node::{Node, Value};
pub(crate) use read::{is_ringway, of_servers, parse, text};
pub(crate) use reader::{Cursor, Field, Fields, Reader};
pub(crate) use server::read_headers;
pub(crate) use template::{Template, is_variable_name};
pub(crate) use yaml::plain_is_text;
