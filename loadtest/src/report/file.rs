//! Reports on disk: JSON, one report a file, written whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::model::{FORMAT, Report};

/// A larger file is no report: a day of seconds and a thousand operations with full histograms stay far below.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Why a file is no report that this program reads.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not to be opened, read or written.
    #[error("{}: {reason}", path.display())]
    Disk {
        #[allow(missing_docs)]
        path: PathBuf,
        #[allow(missing_docs)]
        reason: io::Error,
    },
    /// Beyond the bound on files.
    #[error("{}: {bytes} bytes are more than a report has ({FILE_BYTES_MAX} at most)", path.display())]
    TooLarge {
        #[allow(missing_docs)]
        path: PathBuf,
        #[allow(missing_docs)]
        bytes: u64,
    },
    /// Ends before the JSON does.
    #[error("{}: the file is cut short (line {line}): the run that wrote it, or a copy of it, did not finish", path.display())]
    Truncated {
        #[allow(missing_docs)]
        path: PathBuf,
        #[allow(missing_docs)]
        line: usize,
    },
    /// Another program's, or a later version's.
    #[error("{}: report format {found}, and this program reads format {FORMAT}; use the version that wrote it", path.display())]
    Format {
        #[allow(missing_docs)]
        path: PathBuf,
        #[allow(missing_docs)]
        found: u64,
    },
    /// JSON, but no report, or not JSON at all.
    #[error("{}: not a load test report: {reason}", path.display())]
    Shape {
        #[allow(missing_docs)]
        path: PathBuf,
        #[allow(missing_docs)]
        reason: String,
    },
}

/// Reads and checks one report.
///
/// # Errors
/// When the file is not a whole report of a format known here, with histograms that can be read.
pub fn read(path: &Path) -> Result<Report, FileError> {
    let disk = |reason| FileError::Disk {
        path: path.to_owned(),
        reason,
    };
    let bytes = fs::metadata(path).map_err(disk)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    parse(path, &fs::read(path).map_err(disk)?)
}

/// Writes one report beside its name first, so that a reader never sees half of it.
///
/// # Errors
/// When the disk refuses.
pub fn write(path: &Path, report: &Report) -> Result<(), FileError> {
    let shape = |reason: serde_json::Error| FileError::Shape {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let mut text = serde_json::to_vec_pretty(report).map_err(shape)?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// Writes any file whole or not at all, except where the name is no regular file's (`/dev/stdout`, a pipe).
///
/// # Errors
/// When the disk refuses.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let disk = |reason| FileError::Disk {
        path: path.to_owned(),
        reason,
    };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, bytes).map_err(disk);
    }
    let name = path
        .file_name()
        .ok_or_else(|| disk(io::Error::other("a file name is missing")))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|reason| {
        // Best effort: the first failure is the one to tell.
        let _ = fs::remove_file(&beside);
        disk(reason)
    })
}

fn parse(path: &Path, text: &[u8]) -> Result<Report, FileError> {
    let wrong = |reason: serde_json::Error| {
        let path = path.to_owned();
        if reason.is_eof() {
            FileError::Truncated {
                path,
                line: reason.line(),
            }
        } else {
            FileError::Shape {
                path,
                reason: reason.to_string(),
            }
        }
    };
    // The format first: of a later one, nothing else is known.
    #[derive(Deserialize)]
    struct Head {
        format: Option<u64>,
    }
    let head: Head = serde_json::from_slice(text).map_err(wrong)?;
    match head.format {
        Some(found) if found == u64::from(FORMAT) => {}
        Some(found) => {
            return Err(FileError::Format {
                path: path.to_owned(),
                found,
            });
        }
        None => {
            let reason = "it has no `format`".to_owned();
            return Err(FileError::Shape {
                path: path.to_owned(),
                reason,
            });
        }
    }
    let report: Report = serde_json::from_slice(text).map_err(wrong)?;
    check(&report).map_err(|reason| FileError::Shape {
        path: path.to_owned(),
        reason,
    })?;
    Ok(report)
}

/// What every page relies on: histograms that can be read.
fn check(report: &Report) -> Result<(), String> {
    let operations = report.operations.iter().map(|o| (o.name.as_str(), &o.outcome));
    let stages = report.stages.iter().map(|s| (s.load.as_str(), &s.outcome));
    for (name, outcome) in std::iter::once(("total", &report.total))
        .chain(operations)
        .chain(stages)
    {
        for times in [
            Some(&outcome.latency),
            Some(&outcome.service),
            outcome.first_event.as_ref(),
        ]
        .into_iter()
        .flatten()
        {
            times.histogram().map_err(|reason| format!("{name}: {reason}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Headroom, Latency, Outcome};

    fn report() -> Report {
        let mut counted = hdrhistogram::Histogram::<u64>::new(3).expect("three digits");
        counted.record_n(250_000, 10).expect("recorded");
        Report {
            format: FORMAT,
            label: "a \"run\" \u{1b}[31m".into(),
            target: "http://127.0.0.1/mcp".into(),
            started_unix: 1.5,
            generator: "test".into(),
            scenario: "rate = 5\n".into(),
            warmup_s: 0.0,
            measured_s: 10.0,
            total: Outcome {
                ok: 10,
                latency: Latency::of(&counted),
                ..Outcome::default()
            },
            operations: Vec::new(),
            stages: Vec::new(),
            timeline: Vec::new(),
            saturation: None,
            headroom: Headroom::default(),
            thresholds: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("run.json");
        write(&path, &report()).expect("written");
        write(&path, &report()).expect("written over");
        let back = read(&path).expect("read");
        assert_eq!(back.label, report().label);
        assert_eq!(
            back.total
                .latency
                .histogram()
                .expect("readable")
                .expect("counted")
                .len(),
            10
        );
        assert_eq!(
            fs::read_dir(dir.path()).expect("listed").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_reason() {
        let whole = serde_json::to_vec(&report()).expect("JSON");
        let path = Path::new("run.json");
        let said = |text: &[u8]| parse(path, text).expect_err("refused").to_string();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            assert!(
                said(&whole[..cut]).contains("cut short"),
                "{}",
                said(&whole[..cut])
            );
        }
        let text = String::from_utf8(whole).expect("UTF-8");
        let later = said(text.replacen("\"format\":1", "\"format\":2", 1).as_bytes());
        assert!(
            later.contains("format 2") && later.contains("reads format 1"),
            "{later}"
        );
        assert!(said(b"{\"format\":77,\"all\":\"else\"}").contains("format 77"));
        assert!(said(b"{}").contains("no `format`"));
        assert!(said(b"{\"format\":1}").contains("missing field"));
        assert!(said(b"hello").contains("not a load test report"));
        let mut broken = report();
        broken.total.latency.hdr = "AAAA".into();
        assert!(said(&serde_json::to_vec(&broken).expect("JSON")).contains("total: `hdr`"));
        assert!(
            read(Path::new("/nowhere/run.json"))
                .expect_err("absent")
                .to_string()
                .starts_with("/nowhere/run.json: ")
        );
    }
}
