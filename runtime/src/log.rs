//! Log lines: to stderr, for people or as one JSON object each.
//!
//! Stdout belongs to what was asked for. No line holds a secret: types that hold one print nothing of it, and
//! what servers say is freed of what we sent them before it gets here.

use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Connection-level chatter of libraries is of use to nobody below `debug`.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn";

/// Starts logging. `level` is one of error, warn, info, debug, trace; `$RINGWAY_LOG` wins with a filter of its own
/// (`info,ringway_control=debug`; `access=off` silences access lines). A second call changes nothing.
pub fn start(level: &str, json: bool) {
    let directives = std::env::var("RINGWAY_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .parse_lossy(format!("{QUIET},{directives}"));
    let layer = if json {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
            .boxed()
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        fmt::layer()
            .with_target(false)
            .with_ansi(colour)
            .with_writer(std::io::stderr)
            .boxed()
    };
    // Only a program that embeds this one can have set another subscriber; it keeps its own.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
}
