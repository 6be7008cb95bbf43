//! A fleet on loopback: real connections, an engine that only pretends to work.

use super::{merge::tests::report, message::*, *};
use crate::report::{
    model::Report,
    progress::{Phase, Progress},
};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

const SECRET: &str = "a secret of some length";
/// Long enough for a loaded machine, short enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the pretended engine does once it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Report,
    WaitForStop,
    Fail,
    FailBeforeReady,
    Panic,
}

/// What engines have seen.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Start>>>);

/// Which part, of how many, with which keys, and when.
type Start = (usize, usize, String, Instant);

#[derive(Clone)]
struct Pretender {
    then: Then,
    seen: Seen,
    stopped: Arc<AtomicBool>,
}

impl Engine for Pretender {
    fn run(&self, part: &Part, base: &Path, hooks: Hooks) -> Result<Report, String> {
        let keys = std::fs::read_to_string(base.join("keys")).unwrap_or_default();
        if self.then == Then::FailBeforeReady {
            return Err("no route to the target".to_owned());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let Some(at) = runtime.block_on(hooks.start.wait()) else {
            self.stopped.store(true, Ordering::Relaxed);
            return Err("never started".to_owned());
        };
        self.seen
            .0
            .lock()
            .expect("seen")
            .push((part.index, part.of, keys, at));
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        hooks.progress.send_replace(Progress {
            phase: Phase::Measuring,
            achieved_per_s: 100.0,
            ..Progress::default()
        });
        match self.then {
            Then::Fail => return Err("the target went away".to_owned()),
            Then::Panic => panic!("a bug"),
            Then::WaitForStop => {
                let until = Instant::now() + PATIENCE;
                while !hooks.stop.load(Ordering::Relaxed) && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(5));
                }
                self.stopped.store(true, Ordering::Relaxed);
            }
            Then::Report | Then::FailBeforeReady => {}
        }
        Ok(report(&[(part.index as u64 + 1) * 1_000_000], &[]))
    }
}

struct Generator {
    address: String,
    seen: Seen,
    stopped: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

async fn generator(then: Then) -> Generator {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let (seen, stopped) = (Seen::default(), Arc::new(AtomicBool::new(false)));
    let engine = Pretender {
        then,
        seen: seen.clone(),
        stopped: Arc::clone(&stopped),
    };
    let token = Token::new(SECRET).expect("long enough");
    let task = tokio::spawn(async move {
        serve(listener, token, engine).await.expect("serves");
    });
    Generator {
        address,
        seen,
        stopped,
        task,
    }
}

fn orders(generators: &[&Generator]) -> Orders {
    let file = File {
        name: "keys".to_owned(),
        content: "azE=".to_owned(),
    };
    Orders {
        generators: generators
            .iter()
            .map(|generator| generator.address.clone())
            .collect(),
        token: Token::new(SECRET).expect("long enough"),
        scenario: "name = \"x\"".to_owned(),
        files: vec![file],
        stagger: Duration::from_millis(2),
    }
}

async fn coordinated(orders: &Orders) -> Result<Report, FleetError> {
    let progress = watch::Sender::new(Progress::default());
    tokio::time::timeout(PATIENCE, coordinate(orders, &progress, &AtomicBool::new(false)))
        .await
        .expect("ends in time")
}

async fn becomes(flag: &AtomicBool) {
    let until = Instant::now() + PATIENCE;
    while !flag.load(Ordering::Relaxed) {
        assert!(Instant::now() < until, "it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generators_begin_together_with_their_own_parts_and_report_as_one() {
    let (one, two) = (generator(Then::Report).await, generator(Then::Report).await);
    let progress = watch::Sender::new(Progress::default());
    let orders = orders(&[&one, &two]);
    let all = coordinate(&orders, &progress, &AtomicBool::new(false))
        .await
        .expect("reports");
    assert_eq!((all.total.ok, all.total.latency.count), (2, 2));
    assert!(
        (all.total.latency.max - 2_000.0).abs() < 5.0,
        "{}",
        all.total.latency.max
    );
    let mut starts = Vec::new();
    for (n, generator) in [&one, &two].into_iter().enumerate() {
        let seen = generator.seen.0.lock().expect("seen");
        let (index, of, keys, start) = &seen[0];
        assert_eq!((*index, *of, keys.as_str()), (n, 2, "k1"));
        starts.push(*start);
    }
    // Both were told of one moment; what lies between is scheduling.
    let apart = starts[1].max(starts[0]) - starts[1].min(starts[0]);
    assert!(apart < Duration::from_secs(5), "{apart:?}");
    // And again: a generator serves one run after another.
    assert_eq!(coordinated(&orders).await.expect("reports again").total.ok, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_or_refuses_is_named_before_anything_is_called() {
    let fine = generator(Then::Report).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let gone = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let mut all = orders(&[&fine]);
    all.generators.push(gone.clone());
    let why = coordinated(&all).await.expect_err("one is gone").to_string();
    assert!(
        why.contains(&gone) && why.contains("cannot be reached") && !why.contains(&fine.address),
        "{why}"
    );

    let mut stranger = orders(&[&fine]);
    stranger.token = Token::new("another secret of some length").expect("long enough");
    let why = coordinated(&stranger).await.expect_err("a stranger").to_string();
    assert!(why.contains("token") && why.contains(&fine.address), "{why}");

    for (generators, word) in [
        (vec![], "no generators"),
        (vec!["a:1".to_owned(), "a:1".to_owned()], "twice"),
    ] {
        let wrong = Orders {
            generators,
            ..orders(&[])
        };
        let why = coordinated(&wrong).await.expect_err(word).to_string();
        assert!(why.contains(word), "{why}");
    }
    assert!(fine.seen.0.lock().expect("seen").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_and_another_protocol_are_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let mut other = orders(&[]);
    other.generators = vec![listener.local_addr().expect("bound").to_string()];
    let answers = tokio::spawn(async move {
        let (mut newer, _) = listener.accept().await.expect("accepts");
        let hello = serde_json::json!({ "protocol": 99, "program": "ringway-loadtest 9.9", "nonce": "00", "more": 1 });
        frame::write(&mut newer, &hello, 1000).await.expect("writes");
        let (mut http, _) = listener.accept().await.expect("accepts");
        tokio::io::AsyncWriteExt::write_all(&mut http, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("writes");
        (newer, http)
    });
    let why = coordinated(&other).await.expect_err("newer").to_string();
    assert!(
        why.contains("version 99") && why.contains("ringway-loadtest 9.9"),
        "{why}"
    );
    let why = coordinated(&other).await.expect_err("no generator").to_string();
    assert!(why.contains("is no generator"), "{why}");
    drop(answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_learn_nothing_and_keep_nobody_out() {
    let generator = generator(Then::Report).await;
    let silent = TcpStream::connect(&generator.address).await.expect("connects");
    let mut liar = TcpStream::connect(&generator.address).await.expect("connects");
    let hello: Hello = frame::read(&mut liar, GREETING_BYTES_MAX).await.expect("hello");
    let claim = Claim {
        protocol: PROTOCOL,
        program: "a liar".to_owned(),
        // The generator's own nonce, mirrored.
        nonce: hello.nonce.clone(),
        proof: "00".repeat(32),
    };
    frame::write(&mut liar, &claim, GREETING_BYTES_MAX)
        .await
        .expect("writes");
    let answer: Welcome = frame::read(&mut liar, GREETING_BYTES_MAX)
        .await
        .expect("an answer");
    assert!(matches!(answer, Welcome::Refused { why } if why.contains("token")));
    assert!(frame::read::<News>(&mut liar, 1000).await.is_err());
    coordinated(&orders(&[&generator]))
        .await
        .expect("is served beside them");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generator_that_is_busy_says_so() {
    let generator = generator(Then::WaitForStop).await;
    let (mine, other) = (orders(&[&generator]), orders(&[&generator]));
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let first = tokio::spawn(async move {
        let progress = watch::Sender::new(Progress::default());
        coordinate(&mine, &progress, &stopping).await
    });
    while generator.seen.0.lock().expect("seen").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let why = coordinated(&other).await.expect_err("busy").to_string();
    assert!(why.contains("busy"), "{why}");
    stop.store(true, Ordering::Relaxed);
    // What was measured until the order to stop is reported.
    assert_eq!(first.await.expect("runs").expect("reports").total.ok, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_ends_the_run_with_its_name_and_stops_the_others() {
    for (then, word) in [
        (Then::Fail, "the target went away"),
        (Then::FailBeforeReady, "no route"),
        (Then::Panic, "panicked"),
    ] {
        let (good, bad) = (generator(Then::WaitForStop).await, generator(then).await);
        let why = coordinated(&orders(&[&good, &bad]))
            .await
            .expect_err(word)
            .to_string();
        assert!(
            why.contains(&bad.address) && why.contains(word) && !why.contains(&good.address),
            "{why}"
        );
        becomes(&good.stopped).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generator_lost_in_mid_run_voids_it_with_its_name() {
    let good = generator(Then::WaitForStop).await;
    // One that greets and begins, and then its machine is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let lost = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let token = Token::new(SECRET).expect("long enough");
        greeting::welcome(&mut stream, &token, async { Ok(()) })
            .await
            .expect("greets");
        let _: Order = frame::read(&mut stream, MESSAGE_BYTES_MAX).await.expect("a part");
        frame::write(&mut stream, &News::Ready, MESSAGE_BYTES_MAX)
            .await
            .expect("writes");
        loop {
            match frame::read(&mut stream, MESSAGE_BYTES_MAX)
                .await
                .expect("an order")
            {
                Order::Ping => frame::write(&mut stream, &News::Pong, MESSAGE_BYTES_MAX)
                    .await
                    .expect("writes"),
                Order::Start { .. } => return,
                other => panic!("{other:?}"),
            }
        }
    });
    let mut both = orders(&[&good]);
    both.generators.push(lost.clone());
    let error = coordinated(&both).await.expect_err("one is lost");
    assert!(matches!(error, FleetError::Lost(_)));
    let why = error.to_string();
    assert!(
        why.contains(&lost) && why.contains("void") && !why.contains(&good.address),
        "{why}"
    );
    becomes(&good.stopped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_of_all_is_shown_as_one() {
    let (one, two) = (
        generator(Then::WaitForStop).await,
        generator(Then::WaitForStop).await,
    );
    let all = orders(&[&one, &two]);
    let stop = Arc::new(AtomicBool::new(false));
    let progress = watch::Sender::new(Progress::default());
    let mut shown = progress.subscribe();
    let stopping = Arc::clone(&stop);
    let run = tokio::spawn(async move { coordinate(&all, &progress, &stopping).await });
    let together = tokio::time::timeout(PATIENCE, shown.wait_for(|p| p.achieved_per_s > 150.0));
    assert_eq!(
        together.await.expect("in time").expect("shown").phase,
        Phase::Measuring
    );
    stop.store(true, Ordering::Relaxed);
    assert_eq!(run.await.expect("runs").expect("reports").total.ok, 2);
    one.task.abort();
    two.task.abort();
}
