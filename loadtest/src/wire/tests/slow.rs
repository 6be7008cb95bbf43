//! Time: deadlines, walking away, and reading slowly.

use super::peer::{CLOSED, Step, say};
use super::*;

#[tokio::test]
async fn silence_ends_in_a_timeout_and_the_connection_is_closed() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    for wire in ["", half] {
        let mut peer = Peer::start(vec![vec![Step::Hear, say(wire), Step::HearClose]]).await;
        let target = target_of(&peer).await;
        let head = post(&target);
        let hasty = Want {
            timeout: Some(Duration::from_millis(100)),
            ..Want::default()
        };
        let mut connection = Connection::open(&target).await.expect("connects");
        let began = Instant::now();
        let fault = connection
            .exchange(&request(&head), &hasty)
            .await
            .expect_err("silence");
        assert_eq!(fault.key(), "timeout");
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert!(!connection.is_reusable());
        peer.heard().await;
        assert_eq!(peer.heard().await, CLOSED);
    }
}

#[tokio::test]
async fn a_timer_that_rings_for_an_earlier_call_does_not_end_a_later_one() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let peer = Peer::start(vec![vec![Step::Hear, say(ok), Step::Hear, Step::Hold]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let within = |ms| Want {
        timeout: Some(Duration::from_millis(ms)),
        ..Want::default()
    };
    connection
        .exchange(&request(&head), &within(5_000))
        .await
        .expect("answered");
    let began = Instant::now();
    connection
        .exchange(&request(&head), &within(300))
        .await
        .expect_err("silence");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_millis(4_500));
}

#[tokio::test]
async fn a_call_can_be_abandoned_before_its_answer_or_after_its_first_event() {
    let mut peer = Peer::start(vec![vec![Step::Hear, Step::HearClose]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let soon = Want {
        abandon: Abandon::After(Duration::from_millis(50)),
        ..want()
    };
    let answer = connection
        .exchange(&request(&head), &soon)
        .await
        .expect("no fault");
    assert_eq!((answer.status, answer.ended), (0, Ended::Abandoned));
    assert!(answer.bytes_out > 0 && !connection.is_reusable());
    peer.heard().await;
    assert_eq!(peer.heard().await, CLOSED);

    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hi\n\ndata: 1\n\ndata: 2\n\n";
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhel";
    for (wire, events) in [(events, 1), (plain, 0)] {
        let mut peer = Peer::start(vec![vec![Step::Hear, say(wire), Step::HearClose]]).await;
        let target = target_of(&peer).await;
        let head = post(&target);
        let mut connection = Connection::open(&target).await.expect("connects");
        let at_once = Want {
            abandon: Abandon::AfterFirst,
            ..want()
        };
        let answer = connection
            .exchange(&request(&head), &at_once)
            .await
            .expect("no fault");
        assert_eq!(
            (answer.status, answer.ended, answer.events),
            (200, Ended::Abandoned, events)
        );
        assert!(answer.first.is_some());
        peer.heard().await;
        assert_eq!(peer.heard().await, CLOSED);
    }
}

#[tokio::test]
async fn a_slow_reader_takes_its_time() {
    let size = 4_000;
    let wire = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{}",
        "x".repeat(size)
    );
    let peer = Peer::start(vec![vec![Step::Hear, say(&wire), Step::Hold]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let options = OpenOptions {
        receive_buffer_bytes: Some(4096),
    };
    let mut connection = Connection::open_with(&target, &options).await.expect("connects");
    let slow = Want {
        read_bytes_per_s: Some(10_000),
        ..want()
    };
    let began = Instant::now();
    let answer = connection
        .exchange(&request(&head), &slow)
        .await
        .expect("answered");
    assert_eq!(answer.body.len(), size);
    // All but the first portion had to wait: 4,000 bytes at 10,000 a second.
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "{:?}",
        began.elapsed()
    );
}
