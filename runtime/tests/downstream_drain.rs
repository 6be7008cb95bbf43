//! Workers as a whole: starting, jobs, stalls, and ending without cutting answers.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod downstream_support;

use downstream_support::{Client, DRIVERS, PATIENCE, Scripted, Server};
use ringway_runtime::{
    io::{self, Driver},
    worker::{Listener, NotTaken, Settings, StartError, WorkerId, Workers},
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    rc::Rc,
    sync::mpsc,
    time::{Duration, Instant},
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Waits, blocking, for a drain that has begun.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn settings(workers: usize, driver: Driver) -> Settings {
    Settings {
        workers,
        driver,
        pin: false,
        ..Settings::default()
    }
}

#[test]
fn under_load_no_answer_is_cut_and_none_is_missing() {
    for driver in DRIVERS {
        let server = Server::start_with(driver, 2, None, |_| {});
        let addr = server.addr;
        let (go_tx, go) = mpsc::channel();
        let clients: Vec<_> = (0..40)
            .map(|n| {
                let go = go_tx.clone();
                std::thread::spawn(move || {
                    let mut client = Client::connect(addr);
                    let target = ["/echo", "/slow?2", "/stream-paced?3", "/stream-large?2"][n % 4];
                    for answers in 1.. {
                        // `reply` panics on an answer that is missing or not whole.
                        let reply = client.get(target);
                        assert_eq!(reply.status, 200);
                        if answers == 5 {
                            go.send(()).unwrap();
                        }
                        if reply.closes() {
                            assert!(client.is_closed());
                            return answers;
                        }
                    }
                    unreachable!()
                })
            })
            .collect();
        (0..40).for_each(|_| go.recv().unwrap());
        let drained = wait(server.handle().drain(PATIENCE));
        assert_eq!(drained.cut, 0);
        let answers: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert_eq!(server.sum(|v| v.requests.get()), answers as u64);
        assert!(TcpStream::connect(addr).is_err());
    }
}

#[test]
fn calls_under_way_are_finished_and_idle_connections_closed() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut busy = server.client();
        busy.send("GET /slow?300 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("slow", 1);
        let mut idle = server.client();
        assert_eq!(idle.get("/echo").status, 200);
        let mut fresh = server.client();
        server.until("open connections", |v| v.connections_open.get(), 3);
        let drained = server.handle().drain(PATIENCE);
        // It spoke just now, so it is heard once more; twice if the news has not arrived.
        while !idle.get("/echo").closes() {}
        assert!(idle.is_closed());
        assert!(fresh.is_closed());
        let reply = busy.reply();
        assert_eq!((&reply.body[..], reply.closes()), (&b"slow but sure"[..], true));
        assert!(busy.is_closed());
        assert_eq!(wait(drained).cut, 0);
    }
}

#[test]
fn a_second_drain_brings_the_deadline_forward() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut stuck = server.client();
        stuck.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("hang", 1);
        let patient = server.handle().drain(10 * PATIENCE);
        drop(server.handle().drain(Duration::ZERO));
        assert_eq!(wait(patient).cut, 1);
        assert!(stuck.is_closed());
    }
}

#[test]
fn the_deadline_cuts() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut stuck: Vec<Client> = (0..3).map(|_| server.client()).collect();
        for client in &mut stuck {
            client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut half = server.client();
        half.send("GET /stream-hang?1 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("hang", 3);
        server.events.wait("stream hangs", 1);
        assert_eq!(wait(server.handle().drain(Duration::from_millis(30))).cut, 4);
        server.events.wait("hang dropped", 3);
        server.events.wait("stream dropped", 1);
        assert!(!half.rest().ends_with(b"0\r\n\r\n"));
    }
}

#[test]
fn connections_in_the_queue_are_answered() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        // While its loop is held up, connections and the drain pile up.
        let (release, held) = mpsc::channel::<()>();
        let (here_tx, here) = mpsc::channel();
        server
            .handle()
            .run_on(WorkerId(0), move || {
                Box::pin(async move {
                    here_tx.send(()).unwrap();
                    held.recv().unwrap();
                })
            })
            .unwrap();
        here.recv().unwrap();
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let drained = server.handle().drain(PATIENCE);
        release.send(()).unwrap();
        for client in &mut clients {
            assert_eq!(client.reply().status, 200);
        }
        assert_eq!(wait(drained).cut, 0);
    }
}

#[test]
fn workers_share_a_port_and_the_kernel_spreads_connections() {
    for driver in DRIVERS {
        let server = Server::start_with(driver, 3, None, |_| {});
        let mut clients: Vec<Client> = (0..60).map(|_| server.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/echo").status, 200);
        }
        let each: Vec<u64> = server
            .handle()
            .vitals()
            .iter()
            .map(|v| v.connections.get())
            .collect();
        assert_eq!(each.iter().sum::<u64>(), 60);
        assert!(each.iter().all(|n| *n > 0), "{each:?}");
    }
}

#[test]
fn several_addresses_are_served() {
    let events = downstream_support::Events::default();
    let listeners = vec![
        Listener { addr: ANY, tls: None },
        Listener { addr: ANY, tls: None },
    ];
    let inside = events.clone();
    let workers = Workers::start(settings(2, Driver::Auto), listeners, move |_| {
        Rc::new(Scripted {
            events: inside.clone(),
        })
    })
    .unwrap();
    let addrs = workers.local_addrs().to_vec();
    assert_ne!(addrs[0], addrs[1]);
    for addr in &addrs {
        assert_eq!(Client::connect(*addr).get("/echo").status, 200);
    }
    drop(workers.handle().drain(Duration::ZERO));
    workers.join();
}

#[test]
fn a_taken_port_is_an_error_with_its_address() {
    let serve = |addr| {
        Workers::start(
            settings(2, Driver::Auto),
            vec![Listener { addr, tls: None }],
            |_| {
                Rc::new(Scripted {
                    events: downstream_support::Events::default(),
                })
            },
        )
    };
    let other = std::net::TcpListener::bind(ANY).unwrap();
    let taken = other.local_addr().unwrap();
    let error = serve(taken).err().unwrap();
    assert!(matches!(error, StartError::Bind { addr, .. } if addr == taken));
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    // Also when the other one is of our own kind, which the kernel would let share the port.
    let first = serve(ANY).unwrap();
    let taken = first.local_addr().unwrap();
    assert!(matches!(serve(taken).err(), Some(StartError::Bind { .. })));
    // And free again once it has ended.
    drop(first.handle().drain(Duration::ZERO));
    first.join();
    let again = serve(taken).unwrap();
    drop(again.handle().drain(Duration::ZERO));
    again.join();
}

#[test]
fn a_service_that_cannot_be_made_is_an_error() {
    let made = Workers::start(
        settings(3, Driver::Auto),
        vec![Listener { addr: ANY, tls: None }],
        |id| {
            assert_ne!(id, WorkerId(2), "on purpose");
            Rc::new(Scripted {
                events: downstream_support::Events::default(),
            })
        },
    );
    assert!(matches!(made.err(), Some(StartError::Worker { .. })));
}

#[test]
fn jobs_run_on_their_worker_until_it_ends() {
    for driver in DRIVERS {
        let server = Server::start_with(driver, 2, None, |_| {});
        let handle = server.handle();
        let (tx, rx) = mpsc::channel();
        for worker in [0, 1] {
            let tx = tx.clone();
            handle
                .run_on(WorkerId(worker), move || {
                    Box::pin(async move {
                        io::sleep(Duration::from_millis(1)).await;
                        tx.send(std::thread::current().name().unwrap().to_owned())
                            .unwrap();
                    })
                })
                .unwrap();
        }
        let mut names = [rx.recv().unwrap(), rx.recv().unwrap()];
        names.sort();
        assert_eq!(names, ["worker-0", "worker-1"]);
        assert_eq!(handle.run_on(WorkerId(2), || Box::pin(async {})), Err(NotTaken));
        // A job that panics is alone with it.
        handle
            .run_on(WorkerId(0), || Box::pin(async { panic!("on purpose") }))
            .unwrap();
        assert_eq!(server.client().get("/echo").status, 200);
        wait(handle.drain(Duration::ZERO));
        assert_eq!(handle.run_on(WorkerId(0), || Box::pin(async {})), Err(NotTaken));
        assert!(!handle.is_well());
    }
}

#[test]
fn a_held_up_loop_is_seen_from_outside() {
    let server = Server::start(Driver::Auto, |_| {});
    let handle = server.handle();
    assert!(handle.is_well());
    let (release, held) = mpsc::channel::<()>();
    handle
        .run_on(WorkerId(0), move || Box::pin(async move { held.recv().unwrap() }))
        .unwrap();
    let end = Instant::now() + PATIENCE;
    while handle.is_well() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    release.send(()).unwrap();
    while !handle.is_well() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn workers_without_an_owner_end() {
    for driver in DRIVERS {
        let mut server = Server::start(driver, |_| {});
        let mut client = server.client();
        assert_eq!(client.get("/echo").status, 200);
        let vitals = server.handle().vitals().to_vec();
        drop(server.workers.take());
        assert!(client.is_closed());
        let end = Instant::now() + PATIENCE;
        while !vitals[0].has_ended() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_client_that_floods_after_its_last_answer_still_gets_it() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut client = server.client();
        client.send("GET /slow?50 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("slow", 1);
        let drained = server.handle().drain(PATIENCE);
        // Pipelined behind it and never to be answered.
        client.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
        let reply = client.reply();
        assert_eq!((&reply.body[..], reply.closes()), (&b"slow but sure"[..], true));
        client.io.write_all(b"more").unwrap();
        let mut end = [0; 1];
        assert_eq!(client.io.read(&mut end).unwrap(), 0);
        drop(client);
        wait(drained);
    }
}
