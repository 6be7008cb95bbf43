//! The peers of a whole call: a client and an upstream MCP server that say the same bytes each time, one after the
//! other, and only to a gateway at rest ([`super::quiet`]).

use super::{callgrind::Failure, quiet};
use bytes::{Bytes, BytesMut};
use ringway_bench::corpus::{
    self,
    documents::{self, KEY_SOME},
};
use ringway_proto::{
    chunked::{Chunk, Decoder},
    http::Headers,
    http1::{self, Framing, HeadLimits, ResponseFraming},
    rpc::{self, Shape},
};
use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// How a tool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// The corpus's small result.
    Small,
    /// A JSON result with this much text.
    Text(usize),
    /// An event stream: sixteen progress notifications, then the result.
    Events,
}

/// Nothing in a simulated gateway takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// After 1.5 seconds a gateway stops waiting for its servers when a session is opened. The session then lacks what
/// a call needs, and each call takes a longer way than the one that is to be counted.
const QUICK: Duration = Duration::from_secs(1);

/// Starts an MCP server that serves `gateway`; its threads end with their connections, or with the process.
pub fn upstream(listener: TcpListener, answers: Answers, gateway: u32) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // An upstream that fails shows as a call that fails.
                let _ = serve(stream, answers, gateway);
            });
        }
    });
}

/// A listener for [`upstream`], so that its address can stand in a document.
pub fn listener() -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("a port for the upstream"))?;
    let address = listener.local_addr().map_err(failed("its address"))?;
    Ok((listener, address))
}

fn serve(stream: TcpStream, answers: Answers, gateway: u32) -> Result<(), Failure> {
    let mut wire = Wire::new(stream)?;
    loop {
        let head = wire.read_with(|buffer| http1::parse_request(buffer, HeadLimits::default()))?;
        let Framing::Length(length) = head.framing else {
            return Err(Failure::Peer(
                "the gateway sent a body without a length".to_owned(),
            ));
        };
        let body = wire.read_exact(length as usize)?;
        let message = rpc::scan(&body).map_err(|e| Failure::Peer(format!("the gateway sent: {e}")))?;
        let id = message
            .id
            .map(|id| String::from_utf8_lossy(id.of(&body)).into_owned());
        let answer = match (message.method(&body), id) {
            (Some("initialize"), Some(id)) => json_answer(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{"listChanged":true}}}},"serverInfo":{{"name":"notes","version":"1.0.0"}}}}}}"#
            )),
            (Some("tools/call"), Some(id)) => {
                tool_answer(answers, &id, head.headers.get("mcp-method").is_some())
            }
            _ => b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec(),
        };
        // Whoever opens a session has not long to wait for its servers; and it is not among what is counted.
        if message.method(&body) == Some("tools/call") {
            quiet::wait(gateway)?;
        }
        wire.write(&answer)?;
    }
}

fn tool_answer(answers: Answers, id: &str, modern: bool) -> Vec<u8> {
    // The newer revision wants each result to say that it is whole.
    let complete = if modern { r#""resultType":"complete","# } else { "" };
    let renamed = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).replacen(
            r#""id":"5f0c8a1e-77d2-4c0b""#,
            &format!(r#""id":{id}"#),
            1,
        );
        text.replacen(r#""result":{"#, &format!(r#""result":{{{complete}"#), 1)
    };
    match answers {
        Answers::Small => json_answer(&renamed(corpus::RESULT)),
        Answers::Text(bytes) => json_answer(&renamed(&corpus::text_result(r#""5f0c8a1e-77d2-4c0b""#, bytes))),
        Answers::Events => {
            let stream = String::from_utf8_lossy(corpus::PROGRESS_LF)
                .replace(r#""id":118"#, &format!(r#""id":{id}"#))
                .replacen(r#""result":{"#, &format!(r#""result":{{{complete}"#), 1);
            let mut answer = corpus::uvicorn_response();
            answer.extend(corpus::chunked(stream.as_bytes(), 512));
            answer
        }
    }
}

fn json_answer(body: &str) -> Vec<u8> {
    let mut answer = corpus::express_response(body.len());
    answer.extend_from_slice(body.as_bytes());
    answer
}

/// A client with one connection.
pub struct Client {
    wire: Wire,
    gateway: u32,
    authority: String,
}

/// An answer, read whole.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its head.
    pub headers: Headers,
    /// Its body, without framing.
    pub body: Bytes,
}

impl Client {
    /// Connects to the gateway that is process `gateway`.
    pub fn connect(address: SocketAddr, gateway: u32) -> Result<Self, Failure> {
        quiet::wait(gateway)?;
        let stream = TcpStream::connect(address).map_err(failed("connecting to the gateway"))?;
        Ok(Self {
            wire: Wire::new(stream)?,
            gateway,
            authority: address.to_string(),
        })
    }

    /// A POST to `/mcp`, as bytes: headers of a real client, and these beside them.
    pub fn request(&self, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\nconnection: keep-alive\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nauthorization: Bearer {}\r\nuser-agent: node\r\n",
            self.authority,
            documents::key_text(KEY_SOME),
        );
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        [head.as_bytes(), body].concat()
    }

    /// Sends when the gateway rests, and reads the answer.
    pub fn call(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        quiet::wait(self.gateway)?;
        self.wire.write(request)?;
        let head = self
            .wire
            .read_with(|buffer| http1::parse_response(buffer, false, HeadLimits::default()))?;
        let body = match head.framing {
            ResponseFraming::None => Bytes::new(),
            ResponseFraming::Length(length) => self.wire.read_exact(length as usize)?,
            ResponseFraming::Chunked => self.wire.read_chunked()?,
            ResponseFraming::UntilClose => return Err(Failure::Peer("an answer without an end".to_owned())),
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Opens a session of the older era and gives its id.
    pub fn open_session(&mut self) -> Result<String, Failure> {
        let began = Instant::now();
        let opened = self.call(&self.request(&[], corpus::INITIALIZE))?;
        if began.elapsed() > QUICK {
            return Err(Failure::Slow);
        }
        let session = opened
            .headers
            .get("mcp-session-id")
            .map(|s| String::from_utf8_lossy(s).into_owned());
        let session = session.ok_or_else(|| unexpected("no session", &opened))?;
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let accepted = self.call(&self.request(&[("mcp-session-id", &session)], initialized))?;
        if accepted.status == 202 {
            Ok(session)
        } else {
            Err(unexpected("the session did not begin", &accepted))
        }
    }
}

/// Whether `answer` holds a tool's result (`true`) or a refusal (`false`), as was expected.
pub fn judge(answer: &Answer, result: bool) -> Result<(), Failure> {
    let last = if answer
        .headers
        .get("content-type")
        .is_some_and(|t| t.starts_with(b"text/event-stream"))
    {
        let mut events = answer
            .body
            .split(|b| *b == b'\n')
            .filter_map(|line| line.strip_prefix(b"data: "));
        events.next_back().unwrap_or_default()
    } else {
        &answer.body
    };
    let shape = rpc::scan(last).map(|m| m.shape());
    let right = if result {
        Ok(Shape::Result)
    } else {
        Ok(Shape::Error)
    };
    if shape == right {
        Ok(())
    } else {
        Err(unexpected("another answer than expected", answer))
    }
}

fn unexpected(what: &str, answer: &Answer) -> Failure {
    let body = String::from_utf8_lossy(&answer.body);
    Failure::Peer(format!("{what}: status {}: {body}", answer.status))
}

/// A connection and what was read ahead from it.
struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Wire {
    fn new(stream: TcpStream) -> Result<Self, Failure> {
        stream.set_nodelay(true).map_err(failed("a socket option"))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(failed("a socket option"))?;
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream
            .write_all(bytes)
            .map_err(failed("writing to the gateway"))
    }

    fn more(&mut self) -> Result<(), Failure> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Failure::Peer("the gateway closed the connection".to_owned())),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(())
            }
            Err(error) => Err(failed("reading from the gateway")(error)),
        }
    }

    fn read_with<H>(
        &mut self,
        parse: impl Fn(&mut BytesMut) -> Result<Option<H>, http1::HeadError>,
    ) -> Result<H, Failure> {
        loop {
            match parse(&mut self.buffer) {
                Ok(Some(head)) => return Ok(head),
                Ok(None) => self.more()?,
                Err(error) => return Err(Failure::Peer(format!("the gateway sent a bad head: {error}"))),
            }
        }
    }

    fn read_exact(&mut self, bytes: usize) -> Result<Bytes, Failure> {
        while self.buffer.len() < bytes {
            self.more()?;
        }
        Ok(self.buffer.split_to(bytes).freeze())
    }

    fn read_chunked(&mut self) -> Result<Bytes, Failure> {
        let (mut decoder, mut body) = (Decoder::new(), BytesMut::new());
        loop {
            match decoder.decode(&mut self.buffer) {
                Ok(Chunk::Data(piece)) => body.extend_from_slice(&piece),
                Ok(Chunk::More) => self.more()?,
                Ok(Chunk::End) => return Ok(body.freeze()),
                Err(error) => return Err(Failure::Peer(format!("the gateway sent a bad chunk: {error}"))),
            }
        }
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Peer(format!("{what}: {error}"))
}
