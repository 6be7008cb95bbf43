//! What a person sees in the terminal: the run while it goes on (on standard error), and its summary (on standard
//! output).
//!
//! `live` follows a run's progress, as a block that is drawn again in place or, where nobody looks at a terminal, as a
//! line now and then. `summary` is a finished run, `side_by_side` several. All fit [`COLUMNS`] columns, and text of
//! servers cannot steer the terminal.

mod live;
mod summary;
mod text;

pub use live::{Style, follow};
pub use summary::{side_by_side, summary, verdict};

/// What summaries fit into: wide enough for eight figures, narrow enough for half a screen and for most logs.
pub const COLUMNS: usize = 100;
