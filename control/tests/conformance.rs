//! The official conformance suite, directly and through the gateway, in the same run.
//!
//! Two promises. Transparent endpoints (`/servers/{name}/mcp`) in front of a server of the client's own era change
//! nothing: no check is worse than directly. And where client and server are of different eras, the gateway stands
//! in for what is missing: those checks pass too, except the ones a baseline lists with a reason.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod support;

use std::thread;

use support::{
    gateway::Gateway,
    peers::{Fixture, Node, Upstream, or_skip},
    say,
    suite::{Baseline, LEGACY, MODERN, Run, Status},
};

#[test]
fn nothing_is_lost_in_front_of_a_server_of_both_eras_for_legacy_clients() {
    let Some((node, fixture)) = needed() else { return };
    transparent(&node, || fixture.serve(&["--era", "both"]), LEGACY);
}

#[test]
fn nothing_is_lost_in_front_of_a_server_of_both_eras_for_modern_clients() {
    let Some((node, fixture)) = needed() else { return };
    transparent(&node, || fixture.serve(&["--era", "both"]), MODERN);
}

#[test]
fn nothing_is_lost_when_the_server_answers_in_plain_json() {
    let Some((node, fixture)) = needed() else { return };
    transparent(&node, || fixture.serve(&["--era", "both", "--json"]), MODERN);
}

#[test]
fn nothing_is_lost_in_front_of_server_everything() {
    let Some((node, _)) = needed() else { return };
    transparent(&node, || node.everything(), LEGACY);
}

#[test]
fn a_modern_server_serves_modern_clients() {
    let Some((node, fixture)) = needed() else { return };
    bridged(
        &node,
        &fixture.serve(&["--era", "modern"]),
        MODERN,
        "modern-clients-modern-fixture",
    );
}

#[test]
fn a_modern_server_serves_legacy_clients() {
    let Some((node, fixture)) = needed() else { return };
    bridged(
        &node,
        &fixture.serve(&["--era", "modern"]),
        LEGACY,
        "legacy-clients-modern-fixture",
    );
}

#[test]
fn a_legacy_server_serves_modern_clients() {
    let Some((node, fixture)) = needed() else { return };
    bridged(
        &node,
        &fixture.serve(&["--era", "legacy"]),
        MODERN,
        "modern-clients-legacy-fixture",
    );
}

#[test]
fn server_everything_serves_modern_clients() {
    let Some((node, _)) = needed() else { return };
    bridged(
        &node,
        &node.everything(),
        MODERN,
        "modern-clients-server-everything",
    );
}

/// The fixture itself is what all of the above stands on.
#[test]
fn the_fixture_passes_directly() {
    let Some(node) = or_skip(Node::find()) else { return };
    let Some(fixture) = or_skip(Fixture::build()) else {
        return;
    };
    let directly = |era: &str, requirements: &str| {
        let run = Run::of(&node, &fixture.serve(&["--era", era]).url, requirements);
        (
            format!("fixture --era {era}, {requirements}, directly: {}", run.totals()),
            run.failures(),
        )
    };
    let runs = thread::scope(|scope| {
        let cases = [
            ("both", LEGACY),
            ("legacy", LEGACY),
            ("both", MODERN),
            ("modern", MODERN),
        ];
        let runs = cases.map(|(era, requirements)| scope.spawn(move || directly(era, requirements)));
        runs.map(|run| run.join().expect("no run panics"))
    });
    for (line, failures) in runs {
        say(&line);
        assert_eq!(failures, Default::default(), "{line}");
    }
}

fn needed() -> Option<(Node, Fixture)> {
    Some((or_skip(Node::find())?, or_skip(Fixture::build())?))
}

/// Directly and through the gateway, each with a server of its own: nothing may be worse, and the gateway checks
/// `Host` and `Origin` even where the server does not.
fn transparent(node: &Node, serve: impl Fn() -> Upstream, requirements: &str) {
    let (alone, behind) = (serve(), serve());
    let gateway = Gateway::open(&[("upstream", &behind.url)]);
    let (directly, through) = thread::scope(|scope| {
        let directly = scope.spawn(|| Run::of(node, &alone.url, requirements));
        let through = Run::of(node, &gateway.server("upstream"), requirements);
        (directly.join().expect("the direct run does not panic"), through)
    });
    say(format_args!(
        "{requirements}: directly {}, through the gateway {}",
        directly.totals(),
        through.totals()
    ));
    let worse = through.worse_than(&directly).join("\n");
    assert!(
        worse.is_empty(),
        "{requirements}: worse through the gateway:\n{worse}"
    );
    assert_eq!(through.scenario("dns-rebinding-protection"), Status::Success);
}

/// Client and server of different eras: what fails must be listed, and what is listed must fail.
fn bridged(node: &Node, server: &Upstream, requirements: &str, baseline: &str) {
    let gateway = Gateway::open(&[("upstream", &server.url)]);
    let run = Run::of(node, &gateway.server("upstream"), requirements);
    say(format_args!("{requirements}, {baseline}: {}", run.totals()));
    Baseline::read(baseline).check(&run);
    assert_eq!(run.scenario("dns-rebinding-protection"), Status::Success);
}

/// The comparison is worth something only if it can fail.
mod the_comparison {
    use super::*;
    use serde_json::json;

    fn run(checks: &[(&str, &str)]) -> Run {
        let mut run = Run::default();
        for (id, status) in checks {
            run.add(
                "scenario",
                &json!({ "id": id, "name": id, "status": status, "errorMessage": "why" }),
            );
        }
        run
    }

    #[test]
    fn sees_every_way_of_being_worse() {
        let directly = run(&[
            ("a", "SUCCESS"),
            ("b", "SUCCESS"),
            ("c", "FAILURE"),
            ("d", "SUCCESS"),
        ]);
        let through = run(&[
            ("a", "FAILURE"),
            ("b", "WARNING"),
            ("c", "SUCCESS"),
            ("new", "FAILURE"),
        ]);
        let worse = through.worse_than(&directly).join("\n");
        for id in ["a", "b", "d", "new"] {
            assert!(worse.contains(&format!("scenario:{id} ")), "{id} in\n{worse}");
        }
        assert!(!worse.contains("scenario:c "), "better is not worse:\n{worse}");
        assert!(directly.worse_than(&directly).is_empty());
    }

    #[test]
    fn keeps_the_worst_of_checks_that_share_a_name() {
        let mixed = run(&[("a", "FAILURE"), ("a", "SUCCESS")]);
        assert_eq!(mixed.scenario("scenario"), Status::Failure);
        assert_eq!(mixed.totals(), "1/1");
    }

    #[test]
    fn accepts_what_a_baseline_lists() {
        let baseline = Baseline::parse("test", "server:\n  - scenario:a # the server cannot\n");
        baseline.check(&run(&[("a", "FAILURE"), ("b", "SUCCESS")]));
        Baseline::parse("test", "server:\n  - scenario:* # the server cannot\n")
            .check(&run(&[("a", "FAILURE")]));
    }

    #[test]
    #[should_panic(expected = "scenario:b # TODO why")]
    fn refuses_a_failure_that_is_not_listed() {
        Baseline::parse("test", "server: []\n").check(&run(&[("a", "SUCCESS"), ("b", "FAILURE")]));
    }

    #[test]
    #[should_panic(expected = "listed and no longer failing")]
    fn refuses_an_entry_that_has_gone_stale() {
        Baseline::parse("test", "server:\n  - scenario:a # the server cannot\n")
            .check(&run(&[("a", "SUCCESS")]));
    }

    #[test]
    #[should_panic(expected = "line 2: wants")]
    fn refuses_an_entry_without_a_reason() {
        Baseline::parse("test", "server:\n  - scenario:a\n");
    }
}
