//! Log lines: to stderr, for people or as one JSON object each.
//!
//! Stdout belongs to what was asked for. No line holds a secret: types that hold one print nothing of it, and
//! what servers say is freed of what we sent them before it gets here.

use std::sync::OnceLock;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Connection-level chatter of libraries is of use to nobody below `debug`.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn";

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object each.
    Json,
    /// For people.
    Plain,
    /// For people at a terminal.
    Coloured,
}

/// Decided once, at start: access lines are too many to ask for each.
static ACCESS: OnceLock<Option<Format>> = OnceLock::new();

/// What access lines look like; `None` when nobody reads them, or when [`start`] does not own the log. They do not
/// pass through `tracing`, which would cost more than the calls they tell of (`mcp::access`).
pub fn access() -> Option<Format> {
    ACCESS.get().copied().flatten()
}

/// Starts logging. `level` is one of error, warn, info, debug, trace; `$RINGWAY_LOG` wins with a filter of its own
/// (`info,ringway_control=debug`; `access=off` silences access lines). A second call changes nothing. In release builds
/// trace says no more than debug: the points of it that libraries have are compiled out.
pub fn start(level: &str, json: bool) {
    let directives = std::env::var("RINGWAY_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .parse_lossy(format!("{QUIET},{directives}"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let format = if json {
        Format::Json
    } else if terminal && std::env::var_os("NO_COLOR").is_none() {
        Format::Coloured
    } else {
        Format::Plain
    };
    let layer = layer(format, std::io::stderr);
    // Only a program that embeds this one can have set another subscriber; it keeps its own.
    let started = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    if started.is_ok() {
        let wanted = tracing::enabled!(target: "access", tracing::Level::INFO);
        _ = ACCESS.set(wanted.then_some(format));
    }
}

/// Writes events in a format.
pub(crate) fn layer<S, W>(format: Format, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'s> tracing_subscriber::registry::LookupSpan<'s>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(to);
    match format {
        Format::Json => layer.json().flatten_event(true).boxed(),
        Format::Plain | Format::Coloured => layer
            .with_target(false)
            .with_ansi(format == Format::Coloured)
            .boxed(),
    }
}
