//! Every example in `deploy/examples` is read, prints what its `check.txt` says, and fits the JSON Schema.
//!
//! `RINGWAY_BLESS=1 cargo test -p ringway-control --test config_examples` writes the texts anew.
#![allow(clippy::unwrap_used, reason = "tests may unwrap: a panic here is the report")]

use ringway_control::{
    config::{self, Outcome, Written},
    import,
};
use std::path::{Path, PathBuf};

/// 2026-11-20T00:00:00Z: the examples' keys are good on this day.
const NOW: u64 = 1_795_132_800;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/examples")
        .canonicalize()
        .unwrap()
}

/// A world in which everything is set that the examples refer to.
fn world(example: &Path) -> Written {
    let variables = [
        ("HOME", "/home/me"),
        ("GITHUB_TOKEN", "ghp_example"),
        ("WEATHER_TOKEN", "example"),
    ];
    let certificate = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_vec();
    let key = b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n".to_vec();
    Written {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        files: [
            (example.join("server.pem"), certificate.clone()),
            (example.join("internal-ca.pem"), certificate),
            (example.join("server.key"), key),
            (PathBuf::from("/run/secrets/internal-key"), b"example\n".to_vec()),
        ]
        .into(),
        now: NOW,
    }
}

fn read(example: &Path, file: &str) -> Outcome {
    let bytes = std::fs::read(example.join(file)).unwrap();
    config::read(&bytes, file, example, &world(example))
}

/// Compares with the file, or writes it.
fn golden(path: &Path, text: &str) {
    if std::env::var_os("RINGWAY_BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs; it should be:\n{text}",
        path.display()
    );
}

fn all() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("ringway.yaml").exists())
        .collect();
    found.sort();
    found
}

#[test]
fn every_example_is_read_without_an_error() {
    let found = all();
    assert!(found.len() >= 6, "{found:?}");
    for example in found {
        let outcome = read(&example, "ringway.yaml");
        assert!(
            outcome.findings.is_empty(),
            "{}",
            outcome.findings.render_human(false)
        );
        golden(
            &example.join("check.txt"),
            &outcome.render_check("ringway.yaml", false),
        );
        assert!(
            example.join("README.md").exists(),
            "{} has no README",
            example.display()
        );
    }
}

#[test]
fn the_desktop_file_is_served_as_it_is_and_imported() {
    let example = examples().join("desktop-import");
    let outcome = read(&example, "mcp.json");
    golden(
        &example.join("check-mcp-json.txt"),
        &outcome.render_check("mcp.json", false),
    );
    assert_eq!(outcome.config.unwrap().servers.len(), 3);

    let bytes = std::fs::read(example.join("mcp.json")).unwrap();
    let imported = import::import(&bytes, "mcp.json", &example);
    golden(&example.join("ringway.yaml"), &imported.yaml.unwrap());
    golden(
        &example.join("import.txt"),
        &imported.findings.render_human(false),
    );
}

#[test]
fn every_example_fits_the_schema_and_mistakes_do_not() {
    let schema = serde_json::to_value(config::schema()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for example in all() {
        let text = std::fs::read_to_string(example.join("ringway.yaml")).unwrap();
        let value = config::to_json(&text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", example.display());
    }
    for wrong in [
        "{}",
        "servers: []",
        "servers: {Git: {command: x}}",
        "servers: {a: {command: x, url: https://x}}",
        "servers: {a: {commnd: x}}",
        "servers: {}\nlisten: 8808",
        "servers: {}\ndrain: 30",
        "servers: {}\nroles: {a: {allow: ['x/y']}}",
        "servers: {}\nkeys: [{id: a, hash: 'sha256:0', roles: []}]",
        "servers: {}\nworkers: 0",
    ] {
        assert!(!validator.is_valid(&config::to_json(wrong).unwrap()), "{wrong}");
    }
    for right in [
        "servers: {}\nadmin: off\nx-mine: {anything: [1]}",
        "servers: {}\nadmin: false",
        "servers: {a: {npx: {package: p, version: 1.10, run: r}, idle_stop: never, env: {PORT: 80}}}",
        "servers: {}\nlisten: [localhost:1, {address: '[::]:2'}]\nworkers: auto\nlimits: {body: 4MiB, reply: 1000}",
    ] {
        assert!(validator.is_valid(&config::to_json(right).unwrap()), "{right}");
    }
}
