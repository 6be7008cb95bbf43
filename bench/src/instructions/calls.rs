//! Whole calls through the data plane: what is asked, of whom, and how one run of it goes.

use super::{
    callgrind::{self, Failure, Threads},
    gateway::Gateway,
    peers::{self, Answers, Client},
};
use ringway_bench::corpus::{
    self,
    documents::{self, Speaks},
};
use ringway_proto::revision::Era;
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// One kind of call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// `gateway.what`.
    pub name: &'static str,
    /// Calls in the shorter of two runs.
    pub rounds: u32,
    client: Era,
    server: Speaks,
    asks: Asks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// The corpus's small `tools/call`, answered so.
    Tool(Answers),
    /// A tool that does not exist.
    UnknownTool,
    /// `tools/list`.
    List,
}

const SMALL: Asks = Asks::Tool(Answers::Small);

/// Every kind.
pub const ALL: &[Call] = &[
    call("gateway.call_legacy", Era::Legacy, Speaks::Legacy, SMALL),
    call("gateway.call_modern", Era::Modern, Speaks::Modern, SMALL),
    call("gateway.call_translated", Era::Modern, Speaks::Legacy, SMALL),
    call(
        "gateway.call_64k",
        Era::Legacy,
        Speaks::Legacy,
        Asks::Tool(Answers::Text(64 << 10)),
    ),
    call(
        "gateway.call_events",
        Era::Legacy,
        Speaks::Legacy,
        Asks::Tool(Answers::Events),
    ),
    call("gateway.list", Era::Legacy, Speaks::Legacy, Asks::List),
    call("gateway.refusal", Era::Legacy, Speaks::Legacy, Asks::UnknownTool),
];

const fn call(name: &'static str, client: Era, server: Speaks, asks: Asks) -> Call {
    Call {
        name,
        rounds: 100,
        client,
        server,
        asks,
    }
}

/// Calls before those that are counted: caches fill, buffers find their size.
const WARM_UP: u32 = 20;

/// A run whose session was opened too slowly is done again so often.
const ATTEMPTS: u32 = 5;

impl Call {
    /// The shorter and the longer run of the gateway `program`, with callgrind's files in `folder`; each gives its counts by thread.
    ///
    /// A worker has timers, which cost something by the second and not by the call. The longer run goes first, and
    /// the shorter one then stays as long as that took, so that the timers' part is in both.
    pub fn run_twice(&self, program: &Path, folder: &Path) -> Result<(Threads, Threads), Failure> {
        let (longer, took) = self.run(program, folder, 2 * self.rounds, Duration::ZERO)?;
        let (shorter, _) = self.run(program, folder, self.rounds, took)?;
        Ok((shorter, longer))
    }

    fn run(
        &self,
        program: &Path,
        folder: &Path,
        rounds: u32,
        stay: Duration,
    ) -> Result<(Threads, Duration), Failure> {
        let mut attempts = 1..=ATTEMPTS;
        loop {
            match (self.run_once(program, folder, rounds, stay), attempts.next()) {
                (Err(Failure::Slow), Some(_)) => {}
                (ran, _) => return ran,
            }
        }
    }

    fn run_once(
        &self,
        program: &Path,
        folder: &Path,
        rounds: u32,
        stay: Duration,
    ) -> Result<(Threads, Duration), Failure> {
        let (listener, upstream) = peers::listener()?;
        let document = documents::small(&format!("http://{upstream}/mcp"), self.server);
        let out = folder.join(format!("{}.{rounds}", self.name));
        let gateway = Gateway::start(program, &document, folder, &out)?;
        let answers = match self.asks {
            Asks::Tool(answers) => answers,
            Asks::UnknownTool | Asks::List => Answers::Small,
        };
        peers::upstream(listener, answers, gateway.process());
        let took = self.talk(&gateway, rounds, stay)?;
        gateway.stop()?;
        Ok((callgrind::read(&out)?, took))
    }

    /// Talks to the gateway, and stays at least so long; tells how long the talk took.
    fn talk(&self, gateway: &Gateway, rounds: u32, stay: Duration) -> Result<Duration, Failure> {
        let began = Instant::now();
        let mut client = Client::connect(gateway.address, gateway.process())?;
        let request = self.request(&mut client)?;
        for _ in 0..WARM_UP + rounds {
            let answer = client.call(&request)?;
            peers::judge(&answer, self.asks != Asks::UnknownTool)?;
        }
        let took = began.elapsed();
        thread::sleep(stay.saturating_sub(took));
        Ok(took)
    }

    fn request(&self, client: &mut Client) -> Result<Vec<u8>, Failure> {
        let unknown =
            String::from_utf8_lossy(corpus::CALL_LEGACY).replace(corpus::TOOL_EXPOSED, "notes__no_such");
        let (small, headers) = match self.client {
            Era::Legacy => (corpus::CALL_LEGACY, vec![("mcp-protocol-version", "2025-11-25")]),
            Era::Modern => (
                corpus::CALL_MODERN,
                vec![
                    ("mcp-protocol-version", "2026-07-28"),
                    ("mcp-method", "tools/call"),
                    ("mcp-name", corpus::TOOL_EXPOSED),
                ],
            ),
        };
        let body = match self.asks {
            Asks::Tool(_) => small,
            Asks::UnknownTool => unknown.as_bytes(),
            Asks::List => br#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
        };
        if self.client == Era::Modern {
            return Ok(client.request(&headers, body));
        }
        let session = client.open_session()?;
        let headers: Vec<(&str, &str)> = headers
            .into_iter()
            .chain([("mcp-session-id", session.as_str())])
            .collect();
        Ok(client.request(&headers, body))
    }
}
