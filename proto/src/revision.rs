//! MCP protocol revisions and the two eras they fall into.
//!
//! Legacy revisions open with `initialize` and have sessions; the modern one carries its revision in every
//! request (specification 2026-07-28, "Versioning").

/// A protocol revision Ringway speaks. Ordered by date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the dates")]
pub enum Revision {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// Sessions and `initialize`, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2025-03-26 to 2025-11-25: `initialize`, `Mcp-Session-Id`, server-initiated requests.
    Legacy,
    /// 2026-07-28: each request stands alone.
    Modern,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 4] = [
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];
    /// The newest revision that opens with `initialize`.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;
    /// The newest revision of all.
    pub const NEWEST: Self = Self::V2026_07_28;

    /// Reads a revision string as it stands in headers and bodies; unknown strings give `None`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str().as_bytes() == text)
    }

    /// The date string of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era this revision belongs to.
    pub fn era(self) -> Era {
        if self == Self::V2026_07_28 {
            Era::Modern
        } else {
            Era::Legacy
        }
    }
}
