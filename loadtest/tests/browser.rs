//! Report pages in a real browser: plots are drawn, legends and read-outs work, nothing is asked of the network, and
//! what hostile servers wrote stays text. Screenshots for people go to `target/loadtest-pages`.
//!
//! Needs chromium (`apt-get install chromium`, or its path in `RINGWAY_BROWSER`), Node 20 or newer and `npm ci` in
//! `tests/browser`; `.ci/run` sees to all three. Without them the test says why it did nothing, or fails where
//! `RINGWAY_REQUIRE_PEERS=1`.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ringway_loadtest::report::{html, model::Report};
use serde_json::{Value, json};
use support::sample;

/// A browser and the script that drives it, or why there is none.
fn browser() -> Result<PathBuf, String> {
    let given = std::env::var_os("RINGWAY_BROWSER").map(PathBuf::from);
    let known = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ]
    .map(PathBuf::from);
    let found = given.into_iter().chain(known).find(|path| path.exists());
    let found = found.ok_or("there is no chromium; install it or set RINGWAY_BROWSER")?;
    if !scripts().join("node_modules/playwright-core").exists() {
        return Err("playwright-core is not there; run `npm ci` in loadtest/tests/browser".into());
    }
    match Command::new("node").arg("--version").output() {
        Ok(said) if said.status.success() => Ok(found),
        _ => Err("node does not start".into()),
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Pages and screenshots, kept for people.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../loadtest-pages");
    fs::create_dir_all(&folder).expect("a folder in target");
    folder.canonicalize().expect("the folder")
}

fn look(browser: &Path, looks: &Value) -> Vec<Value> {
    let order = json!({ "browser": browser, "folder": folder(), "looks": looks });
    let said = Command::new("node")
        .arg(scripts().join("look.mjs"))
        .arg(order.to_string())
        .output()
        .expect("node starts");
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(
        said.status.success(),
        "the browser was not driven to the end:\n{out}\n{err}"
    );
    serde_json::from_str(out.lines().last().unwrap_or_default()).expect("what was seen")
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What every page shows, whatever it holds.
fn assert_sound(seen: &Value) {
    let name = &seen["name"];
    assert_eq!(
        list(&seen["complaints"]),
        [] as [Value; 0],
        "{name}: the console says"
    );
    assert_eq!(
        list(&seen["requests"]),
        [] as [Value; 0],
        "{name}: the network was asked for"
    );
    assert_eq!(seen["harmed"], Value::Null, "{name}: a server's text ran");
    assert!(
        seen["overflow"].as_i64().is_some_and(|px| px <= 0),
        "{name}: wider than the window by {}",
        seen["overflow"]
    );
    for plot in list(&seen["plots"]) {
        let id = &plot["id"];
        assert!(texts(&plot["x"]).len() >= 3, "{name} {id}: x axis {}", plot["x"]);
        assert!(texts(&plot["y"]).len() >= 2, "{name} {id}: y axis {}", plot["y"]);
        assert!(
            texts(&plot["titles"]).iter().all(|title| !title.is_empty()),
            "{name} {id}: {}",
            plot["titles"]
        );
        assert_eq!(
            texts(&plot["legend"]).len(),
            list(&plot["lines"]).len(),
            "{name} {id}: the legend"
        );
        assert!(
            plot["alt"].as_str().is_some_and(|alt| alt.len() > 40),
            "{name} {id}: {}",
            plot["alt"]
        );
        assert!(
            plot["rows"].as_u64().is_some_and(|rows| rows > 1),
            "{name} {id}: no table of its figures"
        );
        for line in list(&plot["lines"]) {
            assert!(
                line["width"].as_u64().is_some_and(|px| px > 40),
                "{name} {id}: a line of no width, {line}"
            );
        }
    }
}

fn plot<'a>(seen: &'a Value, id: &str) -> &'a Value {
    let found = list(&seen["plots"]).iter().find(|plot| plot["id"] == id);
    found.unwrap_or_else(|| panic!("{}: no plot {id}", seen["name"]))
}

fn points(line: &Value) -> u64 {
    line["points"].as_u64().unwrap_or(0)
}

#[test]
fn pages_are_drawn_and_used_in_a_real_browser() {
    let browser = match browser() {
        Ok(found) => found,
        Err(why) if std::env::var_os("RINGWAY_REQUIRE_PEERS").is_some_and(|value| value == "1") => {
            panic!("RINGWAY_REQUIRE_PEERS=1, and this test cannot run: {why}")
        }
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            return;
        }
    };
    let mut limited = sample::steady(sample::OTHER);
    limited.headroom.limited = true;
    limited.headroom.reason = "thread 1 was busy 97 % of the time".into();
    let three = [sample::RINGWAY, sample::NGINX, sample::OTHER];
    let pages: [(&str, Vec<Report>); 6] = [
        ("single", vec![sample::steady(sample::RINGWAY)]),
        ("limited", vec![limited]),
        ("three", three.map(sample::steady).into()),
        ("saturation", vec![sample::search(sample::RINGWAY)]),
        ("saturation-three", three.map(sample::search).into()),
        ("hostile", vec![sample::hostile(), sample::hostile()]),
    ];
    for (name, reports) in &pages {
        let text = html::page(reports).expect("a page");
        fs::write(folder().join(format!("{name}.html")), text).expect("written");
    }
    let look_at = |page: &str, name: &str, scheme: &str, width: u32, touch: bool| json!({ "page": format!("{page}.html"), "name": name, "scheme": scheme, "width": width, "touch": touch });
    let seen = look(
        &browser,
        &json!([
            look_at("single", "single-light", "light", 1280, true),
            look_at("single", "single-dark", "dark", 1280, false),
            look_at("single", "single-narrow", "light", 420, false),
            look_at("limited", "limited-light", "light", 1280, false),
            look_at("three", "three-light", "light", 1280, true),
            look_at("three", "three-dark", "dark", 1280, false),
            look_at("saturation", "saturation-light", "light", 1280, false),
            look_at("saturation-three", "saturation-three-dark", "dark", 1280, false),
            look_at("hostile", "hostile-light", "light", 1280, true),
        ]),
    );
    assert_eq!(seen.len(), 9);
    for page in &seen {
        assert_sound(page);
    }

    let [single, dark, _, limited, three, _, search, searches, hostile] = seen.as_slice() else {
        unreachable!("nine were asked for");
    };
    // One run: its calls and its three operations, up to the slowest of 120,000 calls.
    let percentiles = plot(single, "percentiles");
    let lines = list(&percentiles["lines"]);
    assert_eq!(lines.len(), 5, "{}", percentiles["legend"]);
    assert!(
        lines
            .iter()
            .all(|line| points(line) > 100 && line["height"].as_u64().is_some_and(|px| px > 40)),
        "{lines:?}"
    );
    assert!(
        texts(&percentiles["x"]).contains(&"99.99 %"),
        "{}",
        percentiles["x"]
    );
    assert!(texts(&percentiles["y"]).contains(&"1 ms"), "{}", percentiles["y"]);
    let looks: Vec<String> = lines
        .iter()
        .map(|line| format!("{}{}", line["colour"], line["dash"]))
        .collect();
    assert!(
        (1..looks.len()).all(|nth| !looks[..nth].contains(&looks[nth])),
        "two lines look alike: {looks:?}"
    );
    assert_eq!(
        points(&plot(single, "times")["lines"][1]),
        65,
        "a point for each second"
    );
    assert_ne!(
        single["background"], dark["background"],
        "light and dark are the same"
    );
    assert!(limited["plots"].is_array());

    // Three runs: latency and service of each; a search: what it found.
    assert_eq!(list(&plot(three, "percentiles")["lines"]).len(), 6);
    assert_eq!(list(&plot(three, "p99")["lines"]).len(), 3);
    assert!(points(&plot(search, "knee")["lines"][0]) >= 9);
    assert_eq!(list(&plot(searches, "knee")["lines"]).len(), 6);

    for page in [single, three, hostile] {
        let (name, touched) = (&page["name"], &page["touched"]);
        let tip = touched["tip"].as_str().unwrap_or_default();
        assert!(
            tip.contains('%') && (tip.contains("µs") || tip.contains("ms")),
            "{name}: hovering shows {tip:?}"
        );
        assert!(
            touched["dots"].as_u64().is_some_and(|dots| dots >= 4),
            "{name}: {touched}"
        );
        for step in ["before", "hidden", "again"] {
            assert_eq!(touched[step], true, "{name}: legend, {step}: {touched}");
        }
        assert_eq!(touched["alone"], 1, "{name}: {touched}");
        assert_ne!(touched["log"], touched["linear"], "{name}: the switch of scales");
        let said = touched["said"].as_str().unwrap_or_default();
        assert!(
            said.contains('%') && said.contains(':'),
            "{name}: the keyboard reads {said:?}"
        );
        assert!(
            touched["shared"].as_u64().is_some_and(|dots| dots >= 1),
            "{name}: cursors are not shared"
        );
    }
}
