//! Lines against the log's own writer, and their way from a worker to a pipe: whole, in time, or lost and counted.

use super::*;
use crate::log;
use std::{
    io::{Read, Write},
    sync::Mutex,
};
use tracing_subscriber::layer::SubscriberExt;

fn line<'a>(id: &'a str, tool: &'a str) -> Line<'a> {
    Line {
        at: Instant::now(),
        id,
        method: "tools/call",
        credential: "ci-runner",
        tenant: "acme \"x\" ü",
        endpoint: "",
        server: "files",
        tool,
        revision: "2026-07-28",
        outcome: "ok",
        resumed: false,
        remote: IpAddr::from([127, 0, 0, 1]),
        bytes_out: 300,
        first_byte: Duration::from_micros(12),
        total: Duration::from_micros(1_234_567),
    }
}

/// What the log itself writes for the same facts.
fn as_logged(format: Format, line: &Line<'_>) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let to = kept.clone();
    let subscriber = tracing_subscriber::registry().with(log::layer(format, move || to.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(
            target: "access",
            id = %line.id,
            method = line.method,
            credential = line.credential,
            tenant = line.tenant,
            endpoint = %line.endpoint,
            server = %line.server,
            tool = %line.tool,
            revision = line.revision,
            outcome = line.outcome,
            resumed = line.resumed,
            remote = %line.remote,
            bytes_out = line.bytes_out,
            first_byte_us = line.first_byte.as_micros() as u64,
            total_us = line.total.as_micros() as u64,
            "call"
        );
    });
    let text = kept.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

fn without_stamp(line: &str) -> String {
    let at = line.find("20").unwrap();
    format!("{}{}", &line[..at], &line[at + 27..])
}

#[test]
fn a_line_is_what_the_log_writes_for_such_an_event() {
    for format in [Format::Json, Format::Plain, Format::Coloured] {
        for (id, tool, remote) in [
            ("1", "echo", IpAddr::from([127, 0, 0, 1])),
            ("\"a\\nb\"", "", IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])),
        ] {
            let line = Line {
                remote,
                ..line(id, tool)
            };
            let (mut ours, mut stamp) = (Vec::new(), Stamp::default());
            format::write(&mut ours, format, stamp.at(line.at), &line);
            let ours = String::from_utf8(ours).unwrap();
            assert_eq!(without_stamp(&ours), without_stamp(&as_logged(format, &line)));
        }
    }
}

/// A way to a printer that nobody runs.
fn unprinted() -> (Lines, async_channel::Receiver<Parcel>) {
    let (queue, parcels) = async_channel::bounded(SHEETS_WAITING_MAX);
    let lines = Lines {
        format: Some(Format::Json),
        queue,
        dropped: Arc::default(),
    };
    (lines, parcels)
}

#[test]
fn a_full_sheet_is_handed_over_whole() {
    let (lines, parcels) = unprinted();
    let sheet = Sheet::new(lines);
    let mut put = 0;
    while parcels.is_empty() {
        sheet.put(&line("1", "echo"));
        put += 1;
    }
    let parcel = parcels.try_recv().unwrap();
    assert_eq!(parcel.lines, put);
    assert!((SHEET_BYTES..SHEET_BYTES + 1024).contains(&parcel.text.len()));
    assert!(parcel.text.ends_with(b"}\n"));
    sheet.flush();
    assert!(parcels.is_empty(), "nothing is left on the sheet");
}

#[test]
fn a_sheet_that_does_not_fill_is_handed_over_in_time() {
    let (lines, parcels) = unprinted();
    let handed = io::run(io::Driver::Epoll, async move {
        let sheet = std::rc::Rc::new(Sheet::new(lines));
        let keeper = sheet.clone();
        io::spawn(async move { keeper.hand_over_in_time().await });
        let mut handed = Vec::new();
        for round in 1..=2 {
            for _ in 0..round {
                sheet.put(&line("1", "echo"));
            }
            assert!(parcels.is_empty(), "lines wait for company");
            handed.push(parcels.recv().await.unwrap().lines);
        }
        handed
    });
    assert_eq!(handed.unwrap(), [1, 2]);
}

#[test]
fn a_full_queue_drops_sheets_and_counts_their_lines() {
    let (lines, parcels) = unprinted();
    let sheet = Sheet::new(lines.clone());
    for _ in 0..SHEETS_WAITING_MAX + 3 {
        sheet.put(&line("1", "echo"));
        sheet.put(&line("2", "echo"));
        sheet.flush();
    }
    assert_eq!((parcels.len(), lines.dropped()), (SHEETS_WAITING_MAX, 6));
}

#[test]
fn without_readers_no_line_is_made() {
    let (lines, printer) = Lines::start(None).unwrap();
    let sheet = Sheet::new(lines);
    assert!(!sheet.wanted());
    sheet.put(&line("1", "echo"));
    sheet.flush();
    assert_eq!(sheet.lines.dropped(), 0);
    printer.finish();
}

/// A printer on a pipe, with what reads it.
fn piped() -> (Sheet, Printer, std::io::PipeReader) {
    let (lines, parcels) = unprinted();
    let (reader, writer) = std::io::pipe().unwrap();
    let printer = Printer::start(Some(writer), parcels, lines.dropped.clone()).unwrap();
    (Sheet::new(lines), printer, reader)
}

#[test]
fn what_was_handed_over_is_printed_before_the_end_and_no_line_is_torn() {
    const LINES: usize = 2_000;
    let (sheet, printer, mut reader) = piped();
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    let long = "x".repeat(3 * 4096);
    for n in 0..LINES {
        sheet.put(&line(&n.to_string(), if n % 100 == 0 { &long } else { "echo" }));
    }
    sheet.flush();
    printer.finish();
    let text = read.join().unwrap();
    let mut ids = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().parse::<usize>().unwrap()
    });
    assert!((0..LINES).all(|n| ids.next() == Some(n)));
    assert_eq!((ids.next(), sheet.lines.dropped()), (None, 0));
}

#[test]
fn lines_for_a_closed_pipe_are_lost_and_counted() {
    let (sheet, printer, reader) = piped();
    drop(reader);
    for _ in 0..3 {
        sheet.put(&line("1", "echo"));
        sheet.flush();
    }
    printer.finish();
    assert_eq!(sheet.lines.dropped(), 3);
}

#[test]
fn a_reader_that_is_stuck_holds_up_neither_workers_nor_the_end() {
    let (sheet, printer, reader) = piped();
    // More than a pipe, the printer's hands and the queue hold: what is too much is dropped at once.
    let mut put = 0;
    while sheet.lines.dropped() == 0 {
        sheet.put(&line("1", "echo"));
        put += 1;
    }
    let begun = Instant::now();
    printer.finish();
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "the end waits for a bounded time"
    );
    // The thread gives up what it holds, and all of it is accounted for once it has.
    let dropped = sheet.lines.dropped.clone();
    while Arc::strong_count(&dropped) > 2 {
        std::thread::yield_now();
    }
    sheet.flush();
    drop(sheet);
    let mut text = String::new();
    { reader }.read_to_string(&mut text).unwrap();
    let printed = text.lines().count() as u64;
    assert_eq!(printed + dropped.load(Ordering::Relaxed), put);
    assert!(text.ends_with('\n'), "no line is torn");
}
