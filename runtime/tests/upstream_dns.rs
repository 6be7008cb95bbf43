//! Names on the way to servers: asked off the worker, once, and with old answers for bad times.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use futures_util::{FutureExt, future::join_all};
use ringway_core::limits::{DnsLimits, UpstreamLimits};
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use ringway_runtime::{
    io::{self, Driver},
    side::{
        SideThread,
        dns::{Lookup, ResolveError, Resolver},
    },
    upstream::{FaultKind, Pools},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use upstream_support::*;

/// A resolver that answers from a script and counts the questions.
#[derive(Clone, Default)]
struct Script {
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Script {
    fn say(&self, addresses: &[SocketAddr]) {
        *self.answer.lock().expect("sound") = addresses.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn lookup(&self) -> Lookup {
        let script = self.clone();
        Arc::new(move |_, _| {
            script.asked.fetch_add(1, SeqCst);
            let answer = script.answer.lock().expect("sound").clone();
            async move {
                // Not ready at once, as in life.
                tokio::task::yield_now().await;
                match answer.is_empty() {
                    true => Err(std::io::Error::other("no such name")),
                    false => Ok(answer),
                }
            }
            .boxed()
        })
    }
}

fn on_worker<F: Future>(test: impl Fn(SideThread, Script) -> F) {
    for driver in [Driver::Uring, Driver::Epoll] {
        let side = SideThread::start("side").expect("starts");
        let ran = io::run(driver, async {
            io::timeout(PATIENCE, test(side, Script::default())).await
        });
        ran.expect("the driver runs")
            .unwrap_or_else(|_| panic!("{driver:?}: too long"));
    }
}

fn named(port: u16) -> Arc<ringway_runtime::upstream::Endpoint> {
    endpoint(&format!("http://tools.example:{port}/mcp"))
}

#[test]
fn many_calls_ask_once_and_address_literals_never() {
    on_worker(|side, script| async move {
        let peer = Peer::start(|listener| {
            for _ in 0..10 {
                listener.accept().serve("ok");
            }
            assert!(listener.accept().serve("ok").contains("host: 127.0.0.1:"));
        });
        script.say(&[peer.address]);
        let resolver = Resolver::with_lookup(&side.handle(), DnsLimits::default(), script.lookup());
        let pools = Pools::new(
            resolver,
            UpstreamLimits {
                pool_idle_max: 0,
                ..UpstreamLimits::default()
            },
        );
        let endpoint = named(peer.address.port());
        for answer in join_all((0..9).map(|_| call(&pools, &endpoint, post("{}")))).await {
            assert_eq!(answer.expect("answers"), "ok");
        }
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        assert_eq!(
            call(&pools, &peer.endpoint(), post("{}")).await.expect("answers"),
            "ok"
        );
        assert_eq!(script.asked(), 1);
        peer.finished().await;
    });
}

#[test]
fn addresses_that_refuse_are_passed_over() {
    on_worker(|side, script| async move {
        let peer = Peer::start(|listener| {
            for _ in 0..3 {
                listener.accept().serve("ok");
            }
        });
        // Nothing listens on the other loopback addresses; families mix.
        let refusing = |n: u8| SocketAddr::from(([127, 0, 1, n], peer.address.port()));
        let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], peer.address.port()));
        script.say(&[v6, refusing(1), refusing(2), peer.address]);
        let resolver = Resolver::with_lookup(&side.handle(), DnsLimits::default(), script.lookup());
        let pools = Pools::new(
            resolver,
            UpstreamLimits {
                pool_idle_max: 0,
                ..UpstreamLimits::default()
            },
        );
        for _ in 0..3 {
            let answer = call(&pools, &named(peer.address.port()), post("{}")).await;
            assert_eq!(answer.expect("answers"), "ok");
        }
        peer.finished().await;
    });
}

#[test]
fn a_name_without_address_is_a_fault_and_is_not_asked_for_each_call() {
    on_worker(|side, script| async move {
        let limits = DnsLimits {
            negative_ttl_ms: 60_000,
            ..DnsLimits::default()
        };
        let resolver = Resolver::with_lookup(&side.handle(), limits, script.lookup());
        let pools = Pools::new(resolver, UpstreamLimits::default());
        for _ in 0..5 {
            let fault = call(&pools, &named(80), post("{}"))
                .await
                .expect_err("no address");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Resolve, false));
            assert!(fault.detail.contains("tools.example: no such name"), "{fault}");
        }
        assert_eq!(script.asked(), 1);
        assert_eq!(stats(&pools).open, 0);
    });
}

#[test]
fn an_old_answer_serves_while_the_name_server_is_down() {
    on_worker(|side, script| async move {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        script.say(&[address]);
        // Every answer is old at once.
        let limits = DnsLimits {
            ttl_ms: 0,
            negative_ttl_ms: 0,
            ..DnsLimits::default()
        };
        let resolver = Resolver::with_lookup(&side.handle(), limits, script.lookup());
        assert_eq!(
            resolver.resolve("tools.example", 80).await.expect("found")[..],
            [address]
        );
        script.say(&[]);
        assert_eq!(
            resolver.resolve("tools.example", 80).await.expect("remembered")[..],
            [address]
        );
        let moved = SocketAddr::from(([192, 0, 2, 2], 80));
        script.say(&[moved]);
        assert_eq!(
            resolver.resolve("tools.example", 80).await.expect("found")[..],
            [moved]
        );
        assert_eq!(script.asked(), 3);
    });
}

#[test]
fn a_lookup_that_hangs_ends_and_so_do_those_behind_it() {
    on_worker(|side, _| async move {
        let hang: Lookup = Arc::new(|_, _| std::future::pending().boxed());
        let limits = DnsLimits {
            lookup_ms: 30,
            lookups_at_once_max: 1,
            ..DnsLimits::default()
        };
        let resolver = Resolver::with_lookup(&side.handle(), limits, hang);
        let hosts = ["a.example", "b.example", "a.example"];
        for answer in join_all(hosts.map(|host| resolver.resolve(host, 80))).await {
            assert!(matches!(answer, Err(ResolveError::Failed(why)) if why.contains("too long")));
        }
        // A call's own budget counts too.
        let pools = Pools::new(
            Resolver::with_lookup(
                &side.handle(),
                DnsLimits::default(),
                Arc::new(|_, _| std::future::pending().boxed()),
            ),
            UpstreamLimits::default(),
        );
        let timeouts = Timeouts {
            connect_ms: 30,
            ..Timeouts::default()
        };
        let endpoint = endpoint_with("http://tools.example/mcp", HttpVersion::Auto, timeouts);
        let fault = call(&pools, &endpoint, post("{}"))
            .await
            .expect_err("never resolved");
        assert_eq!((fault.kind, fault.sent), (FaultKind::ConnectTimeout, false));
    });
}

#[test]
fn questions_beyond_the_bound_are_refused_at_once() {
    on_worker(|side, _| async move {
        let hang: Lookup = Arc::new(|_, _| std::future::pending().boxed());
        let limits = DnsLimits {
            waiting_max: 2,
            lookup_ms: 30,
            ..DnsLimits::default()
        };
        let resolver = Resolver::with_lookup(&side.handle(), limits, hang);
        let answers = join_all((0..6).map(|_| resolver.resolve("a.example", 80))).await;
        let overloaded = answers
            .iter()
            .filter(|a| matches!(a, Err(ResolveError::Overloaded)))
            .count();
        let failed = answers
            .iter()
            .filter(|a| matches!(a, Err(ResolveError::Failed(_))))
            .count();
        assert!(
            overloaded >= 2 && failed >= 2 && overloaded + failed == 6,
            "{answers:?}"
        );
    });
}

#[test]
fn the_systems_resolver_knows_localhost_and_a_stopped_side_thread_is_told() {
    on_worker(|side, _| async move {
        let resolver = Resolver::start(&side.handle(), DnsLimits::default());
        let found = resolver
            .resolve("localhost", 8080)
            .await
            .expect("every host knows itself");
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 8080));
        side.stop();
        let answer = resolver.resolve("localhost", 8080).await;
        assert!(matches!(answer, Err(ResolveError::Stopped)));
        assert_eq!(
            resolver.resolve("[::1]", 1).await.expect("a literal")[0].port(),
            1
        );
    });
}
