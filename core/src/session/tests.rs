//! Who may open what, and what becomes of too much.

use super::*;
use crate::{
    fixture::{principal, two_servers},
    seal::{
        Broken,
        tests::{counter, sealer},
    },
    snapshot::Snapshot,
};
use proptest::prelude::*;
use serde_json::Value;

fn token(s: &Snapshot, who: &str, server: Option<&str>) -> SessionToken {
    let p = principal(s, who);
    SessionToken::new(
        &p,
        server,
        Revision::V2025_06_18,
        Some(br#"{"sampling":{}}"#),
        Some(br#"{"name":"c","version":"1"}"#),
        1_000,
        &Limits::default(),
        &mut counter(),
    )
}

fn sealed(t: &SessionToken) -> String {
    t.seal(&sealer(&[1]), &mut counter()).unwrap()
}

#[test]
fn a_session_comes_back_as_it_was() {
    let s = two_servers();
    let mut t = token(&s, "fs", Some("fs"));
    t.set_leg("fs", Some("abc"));
    t.set_leg("git", None);
    let text = sealed(&t);
    let opened = SessionToken::open(
        &sealer(&[2, 1]),
        text.as_bytes(),
        &principal(&s, "fs"),
        Some("fs"),
        1_001,
    );
    assert_eq!(opened.unwrap(), t);
    assert_eq!(t.leg("fs").unwrap().session.as_deref(), Some("abc"));
    assert_eq!(t.leg("git").unwrap().session, None);
    t.set_leg("fs", Some("def"));
    assert_eq!(
        (t.legs.len(), t.leg("fs").unwrap().session.as_deref()),
        (2, Some("def"))
    );
}

#[test]
fn a_session_opens_for_its_own_caller_endpoint_and_time() {
    let s = two_servers();
    let text = sealed(&token(&s, "fs", None));
    let open = |who: &str, server: Option<&str>, now: u64| {
        SessionToken::open(&sealer(&[1]), text.as_bytes(), &principal(&s, who), server, now).map(|_| ())
    };
    assert_eq!(open("fs", None, 1_000), Ok(()));
    assert_eq!(open("read", None, 1_000), Err(Rejection::SessionUnknown));
    assert_eq!(open("fs", Some("fs"), 1_000), Err(Rejection::SessionUnknown));
    let end = 1_000 + u64::from(Limits::default().session_lifetime_s);
    assert_eq!(open("fs", None, end - 1), Ok(()));
    assert_eq!(open("fs", None, end), Err(Rejection::SessionUnknown));
    let mut other = (*principal(&s, "fs")).clone();
    other.tenant = "other".into();
    let foreign = SessionToken::open(&sealer(&[1]), text.as_bytes(), &other, None, 1_000);
    assert_eq!(foreign.unwrap_err(), Rejection::SessionUnknown);
    let retired = SessionToken::open(&sealer(&[2]), text.as_bytes(), &principal(&s, "fs"), None, 1_000);
    assert_eq!(retired.unwrap_err(), Rejection::SessionUnknown);
}

#[test]
fn what_does_not_fit_is_left_out() {
    let s = two_servers();
    let p = principal(&s, "all");
    let big = format!(
        r#"{{"experimental":{{"x":"{}"}},"sampling":{{}}, "elicitation":{{"form":{{}}}}}}"#,
        "y".repeat(2_000)
    );
    let info = format!(
        r#"{{"icons":["{}"],"name":"client","version":"1"}}"#,
        "z".repeat(2_000)
    );
    let mut t = SessionToken::new(
        &p,
        None,
        Revision::V2025_11_25,
        Some(big.as_bytes()),
        Some(info.as_bytes()),
        0,
        &Limits::default(),
        &mut counter(),
    );
    assert_eq!(t.capabilities, r#"{"sampling":{},"elicitation":{"form":{}}}"#);
    assert_eq!(
        t.client_info.as_deref(),
        Some(&br#"{"name":"client","version":"1"}"#[..])
    );
    t.set_leg("long", Some(&"x".repeat(LEG_ID_BYTES_MAX + 1)));
    assert_eq!(t.legs.len(), 0);
    for n in 0..200 {
        t.set_leg(&format!("server-{n}"), Some(&format!("{n:064}")));
    }
    let text = sealed(&t);
    assert!(text.len() <= SESSION_TOKEN_CHARS_MAX, "{}", text.len());
    let opened = SessionToken::open(&sealer(&[1]), text.as_bytes(), &p, None, 1).unwrap();
    assert!(
        opened.legs.len() > 20 && opened.legs[..] == t.legs[..opened.legs.len()],
        "{}",
        opened.legs.len()
    );
}

#[test]
fn the_largest_token_without_legs_fits() {
    let s = two_servers();
    let mut p = (*principal(&s, "all")).clone();
    p.credential = "c".repeat(128).into();
    p.tenant = "t".repeat(128).into();
    let caps = format!(r#"{{"a":"{}"}}"#, "y".repeat(SESSION_CAPABILITIES_BYTES_MAX - 8));
    let info = format!(
        r#"{{"name":"{}"}}"#,
        "z".repeat(SESSION_CLIENT_INFO_BYTES_MAX - 11)
    );
    let server = "s".repeat(32);
    let t = SessionToken::new(
        &p,
        Some(&server),
        Revision::V2025_11_25,
        Some(caps.as_bytes()),
        Some(info.as_bytes()),
        0,
        &Limits::default(),
        &mut counter(),
    );
    assert_eq!(
        (t.capabilities.len(), t.client_info.as_ref().unwrap().len()),
        (caps.len(), info.len())
    );
    assert!(
        sealed(&t).len() < SESSION_TOKEN_CHARS_MAX - 1_000,
        "a leg must fit beside it"
    );
}

#[test]
fn a_parked_call_opens_for_its_request_alone() {
    let s = two_servers();
    let (p, k) = (principal(&s, "fs"), sealer(&[1]));
    let request = request_digest("tools/call", "fs", "read_file");
    let parked = Parked {
        replica: 7,
        worker: 3,
        call: u64::MAX,
        upstream_state: Some(Bytes::from_static(b"\"theirs\"")),
    };
    let text = parked
        .seal(&k, &p, request, 100, &Limits::default(), &mut counter())
        .unwrap();
    let open = |p: &Principal, request, now| Parked::open(&k, text.as_bytes(), p, request, now);
    assert_eq!(open(&p, request, 101), Ok(parked.clone()));
    let end = 100 + u64::from(Limits::default().parked_lifetime_s);
    assert_eq!(open(&p, request, end), Err(Rejection::ParkedCallGone));
    assert_eq!(
        open(&principal(&s, "all"), request, 101),
        Err(Rejection::ParkedCallGone)
    );
    for other in [
        request_digest("tools/call", "fs", "write_file"),
        request_digest("prompts/get", "fs", "read_file"),
        request_digest("tools/callfs", "", "read_file"),
    ] {
        assert_eq!(open(&p, other, 101), Err(Rejection::ParkedCallGone));
    }
    let huge = Parked {
        upstream_state: Some(vec![b'x'; 100_000].into()),
        ..parked
    };
    assert!(
        huge.seal(&k, &p, request, 100, &Limits::default(), &mut counter())
            .is_err()
    );
}

#[test]
fn an_answer_finds_its_server_on_its_own_session_only() {
    let k = sealer(&[1]);
    for id in [&b"0"[..], br#""0""#] {
        let asked = ServerRequestId {
            server: "git".into(),
            upstream_session: Some("u-1".into()),
            id: Bytes::from_static(id),
        };
        let text = asked.seal(&k, [5; 16], &mut counter()).unwrap();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "a JSON string as it is"
        );
        assert_eq!(ServerRequestId::open(&k, text.as_bytes(), [5; 16]), Ok(asked));
        assert_eq!(ServerRequestId::open(&k, text.as_bytes(), [6; 16]), Err(Broken));
    }
    let long = ServerRequestId {
        server: "git".into(),
        upstream_session: None,
        id: vec![b'1'; 1_000].into(),
    };
    assert_eq!(long.seal(&k, [5; 16], &mut counter()), Err(Broken));
}

#[test]
fn one_kind_does_not_open_as_another() {
    let s = two_servers();
    let (p, k) = (principal(&s, "fs"), sealer(&[1]));
    let session = sealed(&token(&s, "fs", None));
    let request = request_digest("tools/call", "fs", "read_file");
    assert!(Parked::open(&k, session.as_bytes(), &p, request, 0).is_err());
    assert!(ServerRequestId::open(&k, session.as_bytes(), [0; 16]).is_err());
    let parked = Parked {
        replica: 0,
        worker: 0,
        call: 0,
        upstream_state: None,
    };
    let parked = parked
        .seal(&k, &p, request, 0, &Limits::default(), &mut counter())
        .unwrap();
    assert!(SessionToken::open(&k, parked.as_bytes(), &p, None, 0).is_err());
}

proptest! {
    #[test]
    fn any_changed_character_ends_a_session(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_-]") {
        let s = two_servers();
        let text = sealed(&token(&s, "fs", None));
        let at = at.index(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
        let opened = SessionToken::open(&sealer(&[1]), changed.as_bytes(), &principal(&s, "fs"), None, 1_000);
        prop_assert_eq!(opened.is_ok(), changed == text);
    }

    #[test]
    fn bounded_facts_are_json(keys in prop::collection::vec(("[a-z]{1,8}", 0usize..900), 0..8)) {
        let members: serde_json::Map<String, Value> =
            keys.into_iter().map(|(k, n)| (k, Value::String("\"\\é".repeat(n / 4)))).collect();
        let raw = serde_json::to_vec_pretty(&members).unwrap();
        let kept = bounded_capabilities(&raw);
        prop_assert!(kept.len() <= SESSION_CAPABILITIES_BYTES_MAX);
        let kept: serde_json::Map<String, Value> = serde_json::from_slice(&kept).unwrap();
        prop_assert!(kept.iter().all(|(k, v)| members.get(k) == Some(v)));
        let info = bounded_client_info(&raw).unwrap();
        prop_assert!(info.len() <= SESSION_CLIENT_INFO_BYTES_MAX);
        prop_assert!(serde_json::from_slice::<Value>(&info).is_ok());
    }
}
