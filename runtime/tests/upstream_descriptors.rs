//! Descriptors are counted for the whole process, so this test has one to itself.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use ringway_core::limits::UpstreamLimits;
use ringway_proto::http::Method;
use ringway_runtime::upstream::Request;
use upstream_support::*;

#[test]
fn five_hundred_calls_leave_no_descriptor_behind() {
    on_workers(
        UpstreamLimits {
            pool_idle_max: 4,
            ..UpstreamLimits::default()
        },
        |pools| async move {
            let peer = Peer::start(|listener| {
                let mut threads = Vec::new();
                loop {
                    let mut conn = listener.accept();
                    let (head, _) = conn.request();
                    if head.starts_with("DELETE") {
                        conn.answer("");
                        break;
                    }
                    threads.push(std::thread::spawn(move || {
                        conn.answer("ok");
                        while conn.has_more() {
                            conn.serve("ok");
                        }
                    }));
                }
                threads.into_iter().for_each(|t| t.join().expect("served"));
            });
            let endpoint = peer.endpoint();
            let before = open_files();
            for round in 0..50 {
                let calls = (0..10).map(|i| {
                    let (pools, endpoint) = (pools.clone(), endpoint.clone());
                    async move {
                        let mut response = pools.send(&endpoint, ANYONE, post("{}")).await.expect("answers");
                        // Some calls are given up half way.
                        if (round + i) % 7 != 0 {
                            assert_eq!(response.body.chunk().await.expect("some").expect("good"), "ok");
                        }
                    }
                });
                futures_util::future::join_all(calls).await;
            }
            pools.retain(|_| false);
            let stop = Request {
                method: Method::Delete,
                ..get()
            };
            call(&pools, &endpoint, stop).await.expect("answers");
            pools.retain(|_| false);
            peer.finished().await;
            until(|| open_files() < before).await;
        },
    );
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}
