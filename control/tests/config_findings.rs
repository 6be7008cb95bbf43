//! What a person reads when a configuration is wrong, held by golden files: `config_golden/NAME.{yaml,json}` is
//! read, `NAME.txt` is what is printed for people, `NAME.findings.json` for programs.
//!
//! `RINGWAY_BLESS=1 cargo test -p ringway-control --test config_findings` writes them anew.
#![allow(clippy::unwrap_used, reason = "tests may unwrap: a panic here is the report")]

use ringway_control::config::{self, Code, Outcome, Written};
use std::path::{Path, PathBuf};

const NOW: u64 = 1_795_132_800;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_golden")
}

fn world() -> Written {
    Written {
        variables: [
            ("SET", "value"),
            ("SECRET_URL", "https://hunter2.example/hunter2"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        files: [(PathBuf::from("/etc/ringway/empty.pem"), Vec::new())].into(),
        now: NOW,
    }
}

fn read(text: &str, name: &str) -> Outcome {
    config::read(text.as_bytes(), name, Path::new("/etc/ringway"), &world())
}

fn codes(text: &str) -> Vec<&'static str> {
    read(text, "ringway.yaml")
        .findings
        .list
        .iter()
        .map(|finding| finding.code.as_str())
        .collect()
}

#[test]
fn findings_read_as_they_are_written_down() {
    let mut count = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let input = name.ends_with(".yaml") || (name.ends_with(".json") && !name.ends_with(".findings.json"));
        if !input {
            continue;
        }
        count += 1;
        let outcome = read(&std::fs::read_to_string(&path).unwrap(), &name);
        for (extension, text) in [
            ("txt", outcome.render_check(&name, false)),
            ("findings.json", outcome.findings.render_json()),
        ] {
            // Whatever is a secret in these files is called so.
            assert!(!text.contains("hunter"), "{name} shows a secret:\n{text}");
            let golden = path.with_extension(extension);
            if std::env::var_os("RINGWAY_BLESS").is_some() {
                std::fs::write(&golden, &text).unwrap();
            }
            let expected = std::fs::read_to_string(&golden).unwrap_or_default();
            assert!(
                expected == text,
                "{} differs; it should be:\n{text}",
                golden.display()
            );
        }
        let shown = format!("{outcome:?}");
        assert!(!shown.contains("hunter"), "Debug shows a secret: {shown}");
    }
    assert!(count >= 6, "{count} inputs");
}

/// Every text that can be made of `text` by cutting it off, or by leaving out one character.
fn damaged(text: &str) -> impl Iterator<Item = String> {
    text.char_indices().flat_map(|(at, c)| {
        [
            text[..at].to_owned(),
            format!("{}{}", &text[..at], &text[at + c.len_utf8()..]),
        ]
    })
}

#[test]
fn no_damage_to_a_file_makes_it_panic_or_shows_a_secret() {
    for name in [
        "secrets.yaml",
        "syntax.yaml",
        "desktop.json",
        "desktop-secrets.json",
        "good.yaml",
    ] {
        let text = std::fs::read_to_string(directory().join(name)).unwrap();
        for text in damaged(&text) {
            let outcome = read(&text, name);
            let shown = format!(
                "{}{}",
                outcome.render_check(name, false),
                outcome.findings.render_json()
            );
            if let Some(at) = shown.find("hunter") {
                let near = &shown
                    [shown.floor_char_boundary(at.saturating_sub(300))..shown.ceil_char_boundary(at + 60)];
                panic!("{name} shows a secret:\n{near}\nthe file:\n{text}");
            }
            // And as an import, which has its own readers.
            let imported = ringway_control::import::import(text.as_bytes(), name, Path::new("/etc/ringway"));
            assert!(
                !imported.findings.render_human(false).contains("hunter"),
                "{text}"
            );
        }
    }
}

#[test]
fn every_code_is_in_the_documentation() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    for code in Code::ALL {
        let row = format!("| `{}` | {} |", code.as_str(), code.meaning());
        assert!(page.contains(&row), "docs/configuration.md lacks the row\n{row}");
    }
}

#[test]
fn one_mistake_gives_one_finding() {
    // Each row: a file with exactly one mistake, and its code.
    for (text, code) in [
        ("", "missing"),
        ("listen: 127.0.0.1:1", "missing"),
        ("[]", "wrong_type"),
        ("servers: 1", "wrong_type"),
        ("servers: {}\nservers: {}", "duplicate_key"),
        ("servers: {}\nserver: {}", "unknown_key"),
        ("servers: {}\n1: {}", "non_string_key"),
        ("servers: {a_b: {command: x}}", "bad_name"),
        ("servers: {a: {}}", "missing"),
        ("servers: {a: {command: x, url: https://x}}", "conflict"),
        ("servers: {a: {command: x, headers: {A: b}}}", "not_applicable"),
        ("servers: {a: {command: 'npx -y foo'}}", "bad_value"),
        ("servers: {a: {npx: 'foo bar'}}", "bad_name"),
        ("servers: {a: {npx: foo@1.0, version: 2}}", "conflict"),
        ("servers: {a: {uvx: foo, version: '>=1'}}", "bad_value"),
        ("servers: {a: {command: x, args: [[]]}}", "wrong_type"),
        ("servers: {a: {command: x, args: y}}", "wrong_type"),
        ("servers: {a: {command: x, env: [K=v]}}", "wrong_type"),
        ("servers: {a: {command: x, env: {K: }}}", "wrong_type"),
        ("servers: {a: {command: x, env: {'K-1': v}}}", "bad_name"),
        (
            "servers: {a: {command: x, env: {K: '${UNSET}'}}}",
            "unset_variable",
        ),
        (
            "servers: {a: {command: x, env: {K: '${file:/nope}'}}}",
            "unreadable_file",
        ),
        ("servers: {a: {command: x, env: {K: '${'}}}", "bad_reference"),
        ("servers: {a: {command: '${SET}'}}", "bad_reference"),
        ("servers: {a: {command: x, sharing: both}}", "bad_value"),
        ("servers: {a: {command: x, idle_stop: 10}}", "bad_value"),
        ("servers: {a: {command: x, disabled: yes}}", "wrong_type"),
        ("servers: {a: {url: 'htp://x'}}", "bad_url"),
        ("servers: {a: {sse: 'unix:/x'}}", "bad_url"),
        ("servers: {a: {url: https://x, headers: {'A b': c}}}", "bad_name"),
        (
            "servers: {a: {url: https://x, headers: {Mcp-Method: c}}}",
            "bad_name",
        ),
        (
            "servers: {a: {url: https://x, headers: {A: \"b\\nc\"}}}",
            "bad_value",
        ),
        (
            "servers: {a: {url: https://x, headers: {A: b, a: c}}}",
            "duplicate_key",
        ),
        (
            "servers: {a: {url: http://x, headers: {Authorization: c}}}",
            "insecure",
        ),
        (
            "servers: {a: {url: https://x, ca_file: empty.pem}}",
            "unreadable_file",
        ),
        (
            "servers: {a: {url: https://x, timeouts: {total: 2d}}}",
            "bad_value",
        ),
        (
            "servers: {a: {url: https://x, timeouts: {idle: 1h}}}",
            "bad_value",
        ),
        ("servers: {}\nlisten: 8808", "bad_address"),
        ("servers: {}\nlisten: []", "missing"),
        ("servers: {}\nlisten: [127.0.0.1:1, 127.0.0.1:1]", "conflict"),
        ("servers: {}\nlisten: 127.0.0.1:8809", "conflict"),
        ("servers: {}\nlisten: {address: 127.0.0.1:1, tls: {}}", "missing"),
        ("servers: {}\nworkers: 0", "bad_value"),
        ("servers: {}\nworkers: atuo", "bad_value"),
        ("servers: {}\nlimits: {body: 4mb}", "bad_value"),
        ("servers: {}\ngateway: {interface: lst}", "bad_value"),
        (
            "servers: {}\ngateway: {allowed_origins: [example.org]}",
            "bad_value",
        ),
        ("servers: {}\nroles: {a: {}}", "missing"),
        ("servers: {}\nroles: {a: {allow: ['x?']}}", "dead_pattern"),
        (
            "servers: {git: {command: x}}\nroles: {a: {allow: [gti__log]}}",
            "dead_pattern",
        ),
        ("servers: {}\nanonymous: {roles: [x]}", "unknown_role"),
        ("servers: {}\nstate_dir: ''", "bad_value"),
        ("servers: {}\n---\nservers: {}", "syntax"),
        ("servers: !x {}", "syntax"),
        ("servers: {", "syntax"),
    ] {
        assert!(
            codes(text).starts_with(&[code]),
            "{text}\n{}",
            read(text, "f").findings.render_human(false)
        );
        let other: Vec<&str> = codes(text).into_iter().filter(|found| *found != code).collect();
        assert!(
            other.is_empty(),
            "{text}\n{}",
            read(text, "f").findings.render_human(false)
        );
    }
}

#[test]
fn keys_are_checked_together() {
    let key = |rest: &str| {
        let hash = "0".repeat(64);
        format!(
            "servers: {{}}\nroles: {{r: {{allow: [\"*\"]}}}}\nkeys:\n  - {{id: a, hash: 'sha256:{hash}', roles: [r]}}\n{rest}"
        )
    };
    let dead = |mut found: Vec<&'static str>| {
        // `*` matches nothing as long as there is no server.
        found.retain(|code| *code != "dead_pattern");
        found
    };
    let hash = "1".repeat(64);
    assert!(dead(codes(&key(""))).is_empty());
    for (rest, code) in [
        (
            format!("  - {{id: a, hash: 'sha256:{hash}', roles: [r]}}"),
            "duplicate_id",
        ),
        (
            format!("  - {{id: b, hash: 'sha256:{}', roles: [r]}}", "0".repeat(64)),
            "duplicate_id",
        ),
        (
            format!("  - {{id: b, hash: 'sha256:{hash}', roles: [x]}}"),
            "unknown_role",
        ),
        (
            format!("  - {{id: b, hash: 'sha256:{hash}', roles: [r], expires: 2020-01-01T00:00:00Z}}"),
            "expired",
        ),
        (
            format!("  - {{id: b, hash: 'sha256:{hash}', roles: [r], expires: 2030-01-01}}"),
            "bad_value",
        ),
        ("  - {id: b, hash: abc, roles: [r]}".to_owned(), "bad_value"),
        (format!("  - {{hash: 'sha256:{hash}', roles: [r]}}"), "missing"),
        (
            format!("  - {{id: 'a b', hash: 'sha256:{hash}', roles: [r]}}"),
            "bad_name",
        ),
    ] {
        assert_eq!(dead(codes(&key(&rest))), [code], "{rest}");
    }
}

#[test]
fn a_flood_of_mistakes_is_cut_and_counted() {
    let text = format!(
        "servers:\n{}",
        (0..900)
            .map(|n| format!("  a{n}: {{x: 1}}\n"))
            .collect::<String>()
    );
    let outcome = read(&text, "ringway.yaml");
    assert!(outcome.config.is_none());
    assert_eq!(outcome.findings.list.len(), 201);
    assert!(
        outcome.findings.list[200].message.contains("1600 more"),
        "{}",
        outcome.findings.list[200].message
    );
}

#[test]
fn sizes_are_bounded() {
    let long = format!("servers: {{}}\nx-a: {}", "a".repeat(2 << 20));
    assert_eq!(codes(&long), ["too_large"]);
    let servers: String = (0..1100).map(|n| format!("  a{n}: {{command: x}}\n")).collect();
    assert_eq!(codes(&format!("servers:\n{servers}")), ["too_large"]);
    assert_eq!(
        config::read(b"servers: {}\n\xff", "f", Path::new("/"), &world())
            .findings
            .list[0]
            .code,
        Code::Syntax
    );
}
