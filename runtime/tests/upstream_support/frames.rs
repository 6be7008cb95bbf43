//! An HTTP/2 server written frame by frame (RFC 9113 §6), so that a script can misbehave exactly as it likes.

use super::Conn;
use std::io::{Read, Write};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

pub const MAX_CONCURRENT_STREAMS: u16 = 3;

pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// `:status: 200` in HPACK's static table (RFC 7541, Appendix A).
pub const STATUS_200: &[u8] = &[0x88];

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The server's side of a connection.
pub struct Frames {
    pub conn: Conn,
}

impl Frames {
    /// Reads the client's preface and sends these settings.
    pub fn open(conn: Conn, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::mute(conn);
        frames.settings(settings);
        frames
    }

    /// Reads the client's preface and says nothing.
    pub fn mute(mut conn: Conn) -> Self {
        let mut preface = [0; 24];
        conn.stream.read_exact(&mut preface).expect("a preface");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Self { conn }
    }

    pub fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &payload);
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        assert!(self.try_send(kind, flags, stream, payload), "the client reads");
    }

    /// For frames after which the client may well close; gives whether it has not.
    pub fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.conn.stream.write_all(&bytes).is_ok()
    }

    /// The next frame, `None` at the end; SETTINGS and PING are acknowledged on the way.
    pub fn next_any(&mut self) -> Option<Frame> {
        let frame = self.read()?;
        if frame.flags & ACK == 0 && matches!(frame.kind, SETTINGS | PING) {
            let echo = if frame.kind == PING {
                frame.payload.clone()
            } else {
                Vec::new()
            };
            self.send(frame.kind, ACK, 0, &echo);
        }
        Some(frame)
    }

    /// The next frame that belongs to a request: HEADERS, DATA or RST_STREAM.
    pub fn next(&mut self) -> Frame {
        loop {
            let frame = self.next_any().expect("the client goes on");
            if matches!(frame.kind, HEADERS | DATA | RST_STREAM) {
                return frame;
            }
        }
    }

    /// The id of the next stream whose request is complete, and its body.
    pub fn request(&mut self) -> (u32, Vec<u8>) {
        let mut body = Vec::new();
        loop {
            let frame = self.next();
            assert_ne!(frame.kind, RST_STREAM);
            if frame.kind == DATA {
                body.extend(frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                return (frame.stream, body);
            }
        }
    }

    pub fn head(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, STATUS_200);
    }

    pub fn answer(&mut self, stream: u32, body: &str) {
        self.head(stream);
        self.send(DATA, END_STREAM, stream, body.as_bytes());
    }

    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    pub fn go_away(&mut self, last: u32, code: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        self.send(GOAWAY, 0, 0, &payload);
    }

    /// Takes the next request while the client resets these streams with this code, in whatever order the
    /// frames come; gives the new stream.
    pub fn request_and_resets(&mut self, mut streams: Vec<u32>, code: u32) -> u32 {
        let mut asked = None;
        while asked.is_none() || !streams.is_empty() {
            let frame = self.next();
            if frame.kind == RST_STREAM {
                assert_eq!(frame.payload, code.to_be_bytes());
                let known = streams
                    .iter()
                    .position(|s| *s == frame.stream)
                    .expect("one of those given up");
                streams.remove(known);
            } else if frame.flags & END_STREAM != 0 {
                assert!(asked.replace(frame.stream).is_none(), "one request");
            }
        }
        asked.expect("a request")
    }

    /// The client ends the connection without another request.
    pub fn expect_end(&mut self) {
        while let Some(frame) = self.next_any() {
            assert!(!matches!(frame.kind, HEADERS | DATA), "{frame:?}");
        }
    }

    fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.conn.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("the client is silent"),
            Err(_) => return None,
        }
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.conn.stream.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            payload,
        })
    }
}
