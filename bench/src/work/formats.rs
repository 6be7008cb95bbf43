//! Work of `ringway-proto`: what is read and written of each message.

#![expect(
    clippy::expect_used,
    reason = "work that fails must not pass for work that was measured"
)]

use super::Work;
use crate::corpus::{self, Client, documents};
use bytes::{Bytes, BytesMut};
use ringway_proto::{
    chunked::{Chunk, Decoder},
    http1::{self, HeadLimits, ResponseFraming},
    json::{self, Splice},
    rpc, sse,
};
use std::hint::black_box;

const LARGE_BYTES: usize = 64 << 10;
/// What a socket gives in one read.
const READ_BYTES: usize = 16 << 10;

pub(super) const ALL: &[Work] = &[
    Work {
        name: "proto.head.read_node_fetch",
        rounds: 2_000,
        prepare: || read_request(Client::NodeFetch),
    },
    Work {
        name: "proto.head.read_python_httpx",
        rounds: 2_000,
        prepare: || read_request(Client::PythonHttpx),
    },
    Work {
        name: "proto.head.read_express",
        rounds: 2_000,
        prepare: read_response,
    },
    Work {
        name: "proto.head.write_response",
        rounds: 2_000,
        prepare: write_response,
    },
    Work {
        name: "proto.scan.call_legacy",
        rounds: 2_000,
        prepare: || scan(corpus::CALL_LEGACY.to_vec()),
    },
    Work {
        name: "proto.scan.call_modern",
        rounds: 2_000,
        prepare: || scan(corpus::CALL_MODERN.to_vec()),
    },
    Work {
        name: "proto.scan.call_nested",
        rounds: 1_000,
        prepare: || scan(corpus::CALL_NESTED.to_vec()),
    },
    Work {
        name: "proto.scan.text_64k",
        rounds: 50,
        prepare: || scan(corpus::text_call(LARGE_BYTES)),
    },
    Work {
        name: "proto.scan.rows_64k",
        rounds: 20,
        prepare: || scan(corpus::rows_call(LARGE_BYTES)),
    },
    Work {
        name: "proto.splice.rename",
        rounds: 2_000,
        prepare: rename,
    },
    Work {
        name: "proto.chunked.read_64k",
        rounds: 200,
        prepare: read_chunks,
    },
    Work {
        name: "proto.sse.progress_lf",
        rounds: 500,
        prepare: || read_events(corpus::PROGRESS_LF),
    },
    Work {
        name: "proto.sse.progress_crlf",
        rounds: 500,
        prepare: || read_events(corpus::PROGRESS_CRLF),
    },
    Work {
        name: "proto.sse.write",
        rounds: 2_000,
        prepare: write_event,
    },
];

fn read_request(client: Client) -> Box<dyn FnMut()> {
    let head = client.request(&documents::key_text(0), &"s".repeat(300), 285);
    Box::new(move || {
        let mut buffer = BytesMut::from(&black_box(&head)[..]);
        let read = http1::parse_request(&mut buffer, HeadLimits::default());
        black_box(read.expect("sound").expect("whole"));
    })
}

fn read_response() -> Box<dyn FnMut()> {
    let head = corpus::express_response(corpus::RESULT.len());
    Box::new(move || {
        let mut buffer = BytesMut::from(&black_box(&head)[..]);
        let read = http1::parse_response(&mut buffer, false, HeadLimits::default());
        black_box(read.expect("sound").expect("whole"));
    })
}

fn write_response() -> Box<dyn FnMut()> {
    let mut buffer = BytesMut::from(&corpus::express_response(corpus::RESULT.len())[..]);
    let head = http1::parse_response(&mut buffer, false, HeadLimits::default());
    let head = head.expect("sound").expect("whole");
    let mut out = Vec::with_capacity(1024);
    Box::new(move || {
        out.clear();
        let framing = ResponseFraming::Length(corpus::RESULT.len() as u64);
        http1::write_response_head(&mut out, 200, black_box(&head.headers), framing, true).expect("written");
        black_box(&out);
    })
}

fn scan(doc: Vec<u8>) -> Box<dyn FnMut()> {
    Box::new(move || {
        black_box(rpc::scan(black_box(&doc)).expect("sound"));
    })
}

fn rename() -> Box<dyn FnMut()> {
    let doc = corpus::CALL_LEGACY;
    let message = rpc::scan(doc).expect("sound");
    let name = message.params.and_then(|p| p.name).expect("a name");
    let mut quoted = Vec::new();
    json::write_string(&mut quoted, corpus::TOOL);
    Box::new(move || {
        let mut splice = Splice::new(black_box(doc));
        splice.replace(name, &quoted[..]);
        black_box(splice.finish().expect("spliced"));
    })
}

fn read_chunks() -> Box<dyn FnMut()> {
    // As it arrives: cut where a read ended, not where a chunk does.
    let body = corpus::chunked(&corpus::text_result("7", LARGE_BYTES), 8 << 10);
    let reads: Vec<Bytes> = body.chunks(READ_BYTES).map(Bytes::copy_from_slice).collect();
    Box::new(move || {
        let mut decoder = Decoder::new();
        let mut buffer = BytesMut::new();
        for read in black_box(&reads) {
            buffer.extend_from_slice(read);
            while let Chunk::Data(piece) = decoder.decode(&mut buffer).expect("sound") {
                black_box(piece);
            }
        }
        assert!(decoder.is_done());
    })
}

fn read_events(stream: &'static [u8]) -> Box<dyn FnMut()> {
    Box::new(move || {
        let mut parser = sse::Parser::new(LARGE_BYTES);
        parser.push(Bytes::from_static(black_box(stream)));
        while let Some(event) = parser.next() {
            black_box(event.expect("sound"));
        }
        assert!(parser.is_between_events());
    })
}

fn write_event() -> Box<dyn FnMut()> {
    let mut out = Vec::with_capacity(1024);
    Box::new(move || {
        out.clear();
        sse::write_event(&mut out, Some("message"), None, black_box(corpus::RESULT));
        black_box(&out);
    })
}
