//! HTTP/1.1: framings, reuse, and what is refused.

use super::peer::{CLOSED, Step, say};
use super::*;

const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: s-1\r\ncontent-length: 2\r\n\r\n{}";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One call against one scripted connection.
async fn one(steps: Vec<Step>) -> Result<Answer, Fault> {
    let peer = Peer::start(vec![[vec![Step::Hear], steps].concat()]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await?;
    connection.exchange(&request(&head), &want()).await
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

#[tokio::test]
async fn a_call_is_one_request_and_its_connection_serves_the_next() {
    let peer_steps = vec![
        Step::Hear,
        say(OK),
        Step::Hear,
        say(OK),
        Step::Hear,
        say("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"),
    ];
    let mut peer = Peer::start(vec![peer_steps]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    for _ in 0..2 {
        let answer = connection
            .exchange(&request(&head), &want())
            .await
            .expect("answered");
        assert_eq!(
            (answer.status, answer.content, answer.ended),
            (200, Content::Json, Ended::Complete)
        );
        assert_eq!((&answer.body[..], answer.body_bytes), (&b"{}"[..], 2));
        assert_eq!(answer.session_id.as_deref(), Some(&b"s-1"[..]));
        assert_eq!(answer.bytes_in, OK.len() as u64);
        let first = answer.first.expect("a body came");
        assert!(answer.written <= first && first <= answer.last);
        let heard = peer.heard().await;
        assert_eq!(answer.bytes_out, heard.len() as u64);
        let expected = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{CALL}",
            peer.address,
            CALL.len()
        );
        assert_eq!(heard, expected);
        assert!(connection.is_reusable());
    }
    let answer = connection
        .exchange(&request(&head), &want())
        .await
        .expect("answered");
    assert_eq!((answer.status, answer.body_bytes), (202, 0));
}

#[tokio::test]
async fn other_methods_say_no_length_and_extra_fields_stand_behind_the_shared_ones() {
    let mut peer = Peer::start(vec![vec![Step::Hear, say(OK)]]).await;
    let target = target_of(&peer).await;
    let head = Head::new(&target, Method::Delete, &[("accept", "*/*")]).expect("plain fields");
    let extra = [(
        http::HeaderName::from_static("mcp-session-id"),
        http::HeaderValue::from_static("s-1"),
    )];
    let request = Request {
        head: &head,
        extra: &extra,
        body: Bytes::new(),
    };
    let mut connection = Connection::open(&target).await.expect("connects");
    connection.exchange(&request, &want()).await.expect("answered");
    let heard = peer.heard().await;
    assert!(
        heard.starts_with("DELETE /mcp HTTP/1.1\r\n") && !heard.contains("content-length"),
        "{heard}"
    );
    assert!(
        heard.ends_with("accept: */*\r\nmcp-session-id: s-1\r\n\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn fields_that_frame_a_message_are_not_the_callers() {
    let peer = Peer::start(vec![]).await;
    let target = target_of(&peer).await;
    for name in [
        "Host",
        "Content-Length",
        "transfer-encoding",
        "connection",
        "bad name",
    ] {
        assert!(
            Head::new(&target, Method::Post, &[(name, "1")]).is_err(),
            "{name}"
        );
    }
    assert!(Head::new(&target, Method::Post, &[("x", "a\r\nb: c")]).is_err());
}

#[tokio::test]
async fn every_framing_gives_the_same_body_however_it_is_cut() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n";
    let wires = [
        format!("{head}content-length: 11\r\n\r\nhello world"),
        format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n"),
        format!(
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{head}content-length: 11\r\n\r\nhello world"
        ),
    ];
    for wire in wires {
        for steps in [vec![say(&wire)], vec![Step::Spell(wire.clone().into_bytes())]] {
            let answer = one([steps, vec![Step::Hold]].concat()).await.expect(&wire);
            assert_eq!(answer.body, "hello world", "{wire}");
            assert_eq!(
                (answer.content, answer.bytes_in),
                (Content::Json, wire.len() as u64)
            );
        }
    }
    let until_close = format!("{head}\r\nhello world");
    assert_eq!(
        one(vec![say(until_close)]).await.expect("closed is the end").body,
        "hello world"
    );
}

#[tokio::test]
async fn a_large_body_is_kept_whole_or_only_counted() {
    let size = 3_000_000;
    let body = "x".repeat(size);
    for wire in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{body}"),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk(&body)
        ),
    ] {
        let peer = Peer::start(vec![
            std::iter::repeat_n([Step::Hear, say(&wire)], 3)
                .flatten()
                .collect(),
        ])
        .await;
        let target = target_of(&peer).await;
        let head = post(&target);
        let mut connection = Connection::open(&target).await.expect("connects");
        let kept = connection.exchange(&request(&head), &want()).await.expect("kept");
        assert!(kept.body.len() == size && kept.body.iter().all(|b| *b == b'x'));
        let discard = Want {
            body: BodyWish::Discard,
            ..want()
        };
        let counted = connection
            .exchange(&request(&head), &discard)
            .await
            .expect("counted");
        assert_eq!((counted.body.len(), counted.body_bytes), (0, size as u64));
        assert!(connection.is_reusable());
        let small = Want {
            body: BodyWish::Keep { bytes_max: size - 1 },
            ..want()
        };
        let fault = connection
            .exchange(&request(&head), &small)
            .await
            .expect_err("too large");
        assert_eq!(fault.key(), "protocol");
        assert!(!connection.is_reusable());
    }
}

#[tokio::test]
async fn a_large_request_arrives_as_it_was_given() {
    let mut peer = Peer::start(vec![vec![Step::Hear, say(OK)]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let body = "y".repeat(2_000_000);
    let request = Request {
        head: &head,
        extra: &[],
        body: Bytes::from(body.clone()),
    };
    let mut connection = Connection::open(&target).await.expect("connects");
    let answer = connection.exchange(&request, &want()).await.expect("answered");
    let heard = peer.heard().await;
    assert!(heard.ends_with(&body));
    assert_eq!(heard.len() as u64, answer.bytes_out);
}

#[tokio::test]
async fn events_are_shown_as_they_come_and_the_last_one_is_the_body() {
    let wire = [
        EVENTS.to_owned(),
        chunk(": hello\r\n\r\nid: 1\r\ndata:\r\n\r\n"),
        chunk("event: message\r\ndata: {\"progress\":1}\r"),
        chunk("\n\r\ndata: {\"res"),
        chunk("ult\":2}\r\n\r\n"),
        "0\r\n\r\n".to_owned(),
    ]
    .concat();
    for step in [say(&wire), Step::Spell(wire.clone().into_bytes())] {
        let peer = Peer::start(vec![vec![Step::Hear, step]]).await;
        let target = target_of(&peer).await;
        let head = post(&target);
        let mut connection = Connection::open(&target).await.expect("connects");
        let mut seen = Vec::new();
        let answer = connection
            .exchange_with(&request(&head), &want(), &mut |event: &Event, at| {
                seen.push((String::from_utf8_lossy(&event.data).into_owned(), at));
                Flow::Continue
            })
            .await
            .expect("answered");
        let texts: Vec<_> = seen.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["", r#"{"progress":1}"#, r#"{"result":2}"#]);
        assert_eq!((answer.events, &answer.body[..]), (3, &br#"{"result":2}"#[..]));
        assert_eq!(answer.first, Some(seen[0].1));
        assert_eq!((answer.content, answer.ended), (Content::Events, Ended::Complete));
        assert!(connection.is_reusable());
    }
}

#[tokio::test]
async fn a_listener_that_has_seen_enough_closes_the_connection() {
    let wire = format!("{EVENTS}{}", chunk("data: 1\n\ndata: 2\n\ndata: 3\n\n"));
    let mut peer = Peer::start(vec![vec![Step::Hear, say(wire), Step::HearClose]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let mut left = 2;
    let answer = connection
        .exchange_with(&request(&head), &want(), &mut |_: &Event, _| {
            left -= 1;
            if left == 0 { Flow::Stop } else { Flow::Continue }
        })
        .await
        .expect("stopped");
    assert_eq!((answer.events, answer.ended), (2, Ended::Stopped));
    assert!(!connection.is_reusable());
    peer.heard().await;
    assert_eq!(peer.heard().await, CLOSED);
}

#[tokio::test]
async fn a_stream_is_held_open_and_read_event_by_event() {
    let wire = format!("{EVENTS}{}", chunk("data: 1\n\n"));
    let rest = chunk("data: 2\n\n");
    let steps = vec![Step::Hear, say(wire), say(rest), Step::HearClose];
    let mut peer = Peer::start(vec![steps]).await;
    let target = target_of(&peer).await;
    let head = Head::new(&target, Method::Get, &[("accept", "text/event-stream")]).expect("plain fields");
    let request = Request {
        head: &head,
        extra: &[],
        body: Bytes::new(),
    };
    let forever = Want {
        timeout: None,
        ..want()
    };
    let mut connection = Connection::open(&target).await.expect("connects");
    let mut reply = connection.start(&request, &forever).await.expect("begins");
    assert_eq!(reply.so_far().status, 200);
    for expected in ["1", "2"] {
        let (event, _) = reply.next_event().await.expect("goes on").expect("an event");
        assert_eq!(event.data, expected);
    }
    drop(reply);
    assert!(!connection.is_reusable());
    peer.heard().await;
    assert_eq!(peer.heard().await, CLOSED);
}

#[tokio::test]
async fn an_answer_that_ends_early_is_closed_and_a_reset_is_a_reset() {
    let cut = [
        "",
        "HTTP/1.1 200 OK\r\nconte",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
    ];
    for wire in cut {
        let fault = one(vec![say(wire)]).await.expect_err(wire);
        assert_eq!((fault.key(), fault.stale), ("closed", false), "{wire:?}: {fault}");
        let fault = one(vec![say(wire), Step::Reset]).await.expect_err(wire);
        assert_eq!((fault.key(), fault.stale), ("reset", false), "{wire:?}: {fault}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_fault() {
    let many_interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(20);
    let endless_head = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(20_000));
    let garbage = [
        "\0\x01\x02garbage garbage\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        &many_interim,
        &endless_head,
    ];
    for wire in garbage {
        let fault = one(vec![say(wire), Step::Hold]).await.expect_err(wire);
        assert_eq!(fault.key(), "protocol", "{wire:?}: {fault}");
    }
}

#[tokio::test]
async fn a_connection_given_up_while_idle_is_stale_and_one_that_says_close_is_not_reused() {
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let timeout = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n";
    for after in [
        vec![say(OK)],
        vec![say(OK), Step::Reset],
        vec![say([OK, timeout].concat())],
    ] {
        let peer = Peer::start(vec![[vec![Step::Hear], after].concat()]).await;
        let target = target_of(&peer).await;
        let head = post(&target);
        let mut connection = Connection::open(&target).await.expect("connects");
        connection
            .exchange(&request(&head), &want())
            .await
            .expect("answered");
        let fault = connection
            .exchange(&request(&head), &want())
            .await
            .expect_err("given up");
        assert!(fault.stale, "{fault}");
        assert!(!connection.is_reusable());
    }
    let peer = Peer::start(vec![vec![Step::Hear, say(closing), Step::Hold]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    connection
        .exchange(&request(&head), &want())
        .await
        .expect("answered");
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_counts() {
    let refused = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let peer = Peer::start(vec![vec![say(refused), Step::Hold]]).await;
    let target = target_of(&peer).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    // The answer may be here before the request leaves, which is a connection given up, or after it.
    match connection.exchange(&request(&head), &want()).await {
        Ok(answer) => assert_eq!(answer.status, 413),
        Err(fault) => assert_eq!(fault.key(), "closed"),
    }
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_a_connect_fault() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let target = Target::resolve(&format!("http://{address}/"), &TargetOptions::default())
        .await
        .expect("resolves");
    let fault = Connection::open(&target).await.err().expect("refused");
    assert_eq!(fault.key(), "connect");
}

#[tokio::test]
async fn a_target_is_read_from_its_url() {
    let options = TargetOptions::default();
    let target = Target::resolve("http://127.0.0.1:8080/mcp?x=1", &options)
        .await
        .expect("reads");
    assert_eq!(
        (target.authority(), target.path()),
        ("127.0.0.1:8080", "/mcp?x=1")
    );
    assert_eq!(target.addresses()[0].port(), 8080);
    assert_eq!(
        Target::resolve("https://127.0.0.1", &options)
            .await
            .expect("reads")
            .addresses()[0]
            .port(),
        443
    );
    assert_eq!(
        Target::resolve("http://[::1]/", &options)
            .await
            .expect("reads")
            .addresses()[0]
            .port(),
        80
    );
    for wrong in [
        "ftp://x/",
        "127.0.0.1:80",
        "http://user:pw@127.0.0.1/",
        "http:///x",
        "not a url",
    ] {
        assert!(
            matches!(
                Target::resolve(wrong, &options).await,
                Err(TargetError::Url { .. })
            ),
            "{wrong}"
        );
    }
}
