//! Nothing is left behind: sessions and processes come and go, and descriptors and processes are as many as before.
//!
//! `RINGWAY_PROCESS_CYCLES=1000 cargo test -p ringway-sandbox --test leaks` starts and stops a thousand processes;
//! without it fifty, so that the test stays quick. One test only: it counts what the whole process has.
#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

#[path = "bridge/support.rs"]
mod support;

use futures_util::{StreamExt, stream};
use support::*;

const SESSIONS: usize = 1000;
const AT_ONCE: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_and_many_processes_leave_nothing() {
    let cycles = std::env::var("RINGWAY_PROCESS_CYCLES").map_or(50, |n| n.parse().expect("a number"));
    // Everything that is made once: the runtime's signal pipe, the blocking pool, the client's resolver.
    round(1, 1).await;
    let before = settled(|_| true).await;
    round(SESSIONS, cycles).await;
    let after = settled(|now| now == before).await;
    assert_eq!(after, before, "(descriptors, processes) after and before");
}

async fn round(sessions: usize, cycles: usize) {
    let gateway = Gateway::new();
    let shared = gateway.serve(scripted("shared", &[])).await;
    stream::iter(0..sessions)
        .for_each_concurrent(AT_ONCE, |_| async {
            let session = shared.initialize(json!({})).await;
            let mut stream = session.listen().await;
            assert_eq!(session.request(json!(1), "ping", json!({})).await.status, 200);
            assert_eq!(session.end().await, 200);
            assert_eq!(stream.next().await, Ok(None));
        })
        .await;
    assert_eq!(gateway.status("shared").sessions, 0);
    assert_eq!(gateway.status("shared").pids.len(), 1);

    let own = LocalServer {
        sharing: Sharing::PerSession,
        ..scripted("own", &[])
    };
    let own = gateway.serve(own).await;
    stream::iter(0..cycles)
        .for_each_concurrent(4, |n| {
            let own = &own;
            async move {
                let session = own.initialize(json!({})).await;
                // Every way to go: orderly, by a crash, and with a descendant left behind.
                match n % 3 {
                    0 => assert_eq!(session.end().await, 200),
                    1 => assert_eq!(session.call("exit", json!({})).await.reason(), "server_ended"),
                    _ => {
                        session.call("fork", json!({"how": "brief"})).await;
                        session.end().await;
                    }
                }
            }
        })
        .await;
    gateway.until("own", |status| status.pids.is_empty()).await;
    // While the sandbox is there: it waits for the strays.
    settled(|(_, processes)| processes == 1).await;
    gateway.stop().await;
}

/// (descriptors, processes) once they fit, or what they are when they never do. Connections end a moment after
/// their sockets, and strays of unknown origin are waited for some seconds later.
async fn settled(fits: impl Fn((usize, usize)) -> bool) -> (usize, usize) {
    let began = Instant::now();
    loop {
        let now = (descriptors(), processes());
        if fits(now) || began.elapsed() > SOON {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

/// This process's children, zombies included.
fn processes() -> usize {
    let us = std::process::id().to_string();
    let parent = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some(stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned())
    };
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    all.filter_map(parent).filter(|parent| *parent == us).count()
}
