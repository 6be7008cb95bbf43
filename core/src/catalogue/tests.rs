//! Lists as callers see them, and their agreement with what calls allow.

use super::*;
use crate::{
    authorize,
    fixture::{document, index, principal, scope_of, server, snapshot, two_servers},
    resolve,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn view<'a>(snapshot: &'a Snapshot, principal: &'a Principal, scope: Scope, era: Era) -> View<'a> {
    View {
        snapshot,
        principal,
        scope,
        era,
    }
}

fn page(view: View<'_>, what: List, cursor: Option<&str>, limits: &Limits) -> Value {
    serde_json::from_slice(&list(view, what, cursor, limits).unwrap()).unwrap()
}

/// Every value of `member` over all pages.
fn all(view: View<'_>, what: List, limits: &Limits, member: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = page(view, what, cursor.as_deref(), limits);
        let items = page[what.member()].as_array().unwrap();
        out.extend(items.iter().map(|i| i[member].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return out,
        }
    }
}

fn names(s: &Snapshot, who: &str, scope: Scope, what: List) -> Vec<String> {
    let member = match what {
        List::Resources => "uri",
        List::Templates => "uriTemplate",
        _ => "name",
    };
    all(
        view(s, &principal(s, who), scope, Era::Legacy),
        what,
        &Limits::default(),
        member,
    )
}

#[test]
fn a_merged_list_has_exposed_names_in_order() {
    let s = two_servers();
    let sign = crate::names::exposed("git", "commit.sign");
    assert_eq!(
        names(&s, "all", Scope::Merged, List::Tools),
        ["fs__read_file", "fs__write_file", "git__read_log", &sign]
    );
    assert_eq!(
        names(&s, "fs", Scope::Merged, List::Tools),
        ["fs__read_file", "fs__write_file"]
    );
    assert_eq!(
        names(&s, "read", Scope::Merged, List::Tools),
        ["fs__read_file", "git__read_log"]
    );
    assert_eq!(names(&s, "read", Scope::Merged, List::Prompts), ["git__read_me"]);
    assert!(
        names(&s, "read", Scope::Merged, List::Resources).is_empty(),
        "resources need the whole server"
    );
}

#[test]
fn a_servers_own_list_has_its_own_names() {
    let s = two_servers();
    let git = scope_of(&s, "git");
    assert_eq!(names(&s, "all", git, List::Tools), ["read_log", "commit.sign"]);
    assert_eq!(names(&s, "read", git, List::Tools), ["read_log"]);
    assert_eq!(
        names(&s, "all", git, List::Resources),
        ["file:///both", "git:head"]
    );
    assert_eq!(
        names(&s, "all", git, List::Templates),
        ["file:///repo/{name}", "file:///{+path}"]
    );
    assert!(names(&s, "fs", git, List::Tools).is_empty());
}

#[test]
fn a_uri_belongs_to_the_first_visible_server() {
    let s = two_servers();
    assert_eq!(
        names(&s, "all", Scope::Merged, List::Resources),
        [
            "file:///a",
            "file:///both",
            "ringway+git:file:///both",
            "git:head"
        ]
    );
    assert_eq!(
        names(&s, "all", Scope::Merged, List::Templates),
        [
            "file:///{+path}",
            "file:///repo/{name}",
            "ringway+git:file:///{+path}"
        ]
    );
    let route = |who: &str, uri: &str| {
        let p = principal(&s, who);
        resolve::resource(&s, s.permits(&p), uri)
            .map(|(server, uri)| (s.servers[server.at()].name.to_string(), uri.to_owned()))
    };
    let to = |server: &str, uri: &str| Some((server.to_owned(), uri.to_owned()));
    assert_eq!(route("all", "file:///both"), to("fs", "file:///both"));
    assert_eq!(
        route("all", "ringway+git:file:///both"),
        to("git", "file:///both")
    );
    assert_eq!(
        route("all", "ringway+fs:file:///both"),
        to("fs", "file:///both"),
        "the form is always accepted"
    );
    assert_eq!(
        route("all", "file:///other"),
        to("fs", "file:///other"),
        "by template"
    );
    assert_eq!(
        route("all", "file:///repo/x"),
        to("git", "file:///repo/x"),
        "the longer fixed beginning wins"
    );
    assert_eq!(route("all", "mail:1"), None, "two servers could answer");
    assert_eq!(route("fs", "mail:1"), to("fs", "mail:1"), "only one could");
    assert_eq!(route("fs", "ringway+git:file:///both"), None);
    assert_eq!(
        route("fs", "git:head"),
        to("fs", "git:head"),
        "what another server has says nothing to this caller"
    );
    assert_eq!(route("read", "file:///a"), None);
}

#[test]
fn modern_results_have_their_members_and_legacy_ones_have_not() {
    let s = two_servers();
    let p = principal(&s, "all");
    for what in [List::Tools, List::Prompts, List::Resources, List::Templates] {
        let modern = page(
            view(&s, &p, Scope::Merged, Era::Modern),
            what,
            None,
            &Limits::default(),
        );
        assert_eq!(
            (&modern["resultType"], &modern["cacheScope"]),
            (&json!("complete"), &json!("private"))
        );
        assert!(modern["ttlMs"].is_u64());
        assert_eq!(
            modern["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
            "ringway"
        );
        let legacy = page(
            view(&s, &p, Scope::Merged, Era::Legacy),
            what,
            None,
            &Limits::default(),
        );
        assert_eq!(
            legacy.as_object().unwrap().keys().collect::<Vec<_>>(),
            [what.member()]
        );
    }
}

#[test]
fn search_mode_lists_two_tools() {
    let mut d = document(vec![server("fs", &["a"], &[])]);
    d["gateway"] = json!({"interface": "search"});
    let s = snapshot(d);
    assert_eq!(
        names(&s, "all", Scope::Merged, List::Tools),
        ["SEARCH_TOOLS", "EXECUTE_TOOL"]
    );
    assert_eq!(names(&s, "all", scope_of(&s, "fs"), List::Tools), ["a"]);
}

#[test]
fn older_clients_get_no_output_schema_they_cannot_read() {
    let mut fs = server("fs", &[], &[]);
    fs["catalogue"]["tools"] =
        json!([{"name": "a", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}}]);
    let s = snapshot(document(vec![fs]));
    let p = principal(&s, "all");
    for scope in [Scope::Merged, scope_of(&s, "fs")] {
        let schema = |era| {
            page(view(&s, &p, scope, era), List::Tools, None, &Limits::default())["tools"][0]
                .get("outputSchema")
                .cloned()
        };
        assert_eq!(schema(Era::Modern), Some(json!({"type": "array"})));
        assert_eq!(schema(Era::Legacy), None);
    }
}

fn many(number: u64, tools: usize) -> Snapshot {
    let names: Vec<String> = (0..tools).map(|n| format!("t{n}")).collect();
    let mut d = document(vec![server(
        "fs",
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        &[],
    )]);
    d["number"] = json!(number);
    d["gateway"] = json!({"interface": "list"});
    snapshot(d)
}

#[test]
fn a_cursor_continues_while_the_list_is_the_same() {
    let limits = Limits {
        page_items_max: 2,
        ..Limits::default()
    };
    let (old, same, changed) = (many(1, 5), many(2, 5), many(3, 6));
    let first = page(
        view(&old, &principal(&old, "all"), Scope::Merged, Era::Legacy),
        List::Tools,
        None,
        &limits,
    );
    let cursor = first["nextCursor"].as_str().unwrap();
    let next = page(
        view(&same, &principal(&same, "all"), Scope::Merged, Era::Legacy),
        List::Tools,
        Some(cursor),
        &limits,
    );
    assert_eq!(next["tools"][0]["name"], "fs__t2");
    let gone = list(
        view(&changed, &principal(&changed, "all"), Scope::Merged, Era::Legacy),
        List::Tools,
        Some(cursor),
        &limits,
    );
    assert_eq!(gone, Err(Rejection::CursorInvalid));
    let p = principal(&old, "all");
    let v = view(&old, &p, Scope::Merged, Era::Legacy);
    for bad in ["x", "AAAAAAAAAAAAAAAAAAAAAA", &cursor[1..]] {
        assert_eq!(
            list(v, List::Tools, Some(bad), &limits),
            Err(Rejection::CursorInvalid),
            "{bad}"
        );
    }
    assert_eq!(
        list(v, List::Prompts, Some(cursor), &limits),
        Err(Rejection::CursorInvalid),
        "of another list"
    );
    assert!(
        list(v, List::Tools, Some(""), &limits).is_ok(),
        "an empty cursor is the start"
    );
}

#[test]
fn pages_are_bounded_by_bytes_too() {
    let s = many(1, 50);
    let p = principal(&s, "all");
    let v = view(&s, &p, Scope::Merged, Era::Modern);
    let limits = Limits {
        page_bytes_max: 500,
        ..Limits::default()
    };
    assert!(list(v, List::Tools, None, &limits).unwrap().len() < 1_000);
    assert_eq!(all(v, List::Tools, &limits, "name").len(), 50);
    let tiny = Limits {
        page_bytes_max: 1,
        page_items_max: 0,
        ..Limits::default()
    };
    assert_eq!(
        all(v, List::Tools, &tiny, "name").len(),
        50,
        "a page has at least one item"
    );
}

#[test]
fn a_cache_gives_what_rendering_gives() {
    let (a, b) = (two_servers(), many(8, 3));
    let limits = Limits::default();
    let mut cache = Cache::new();
    for s in [&a, &b, &a] {
        for who in ["all", "fs", "read", "all"] {
            let p = principal(s, who);
            for scope in [Scope::Merged, scope_of(s, "fs")] {
                for era in [Era::Legacy, Era::Modern] {
                    let v = view(s, &p, scope, era);
                    let rendered = list(v, List::Tools, None, &limits).unwrap();
                    assert_eq!(cache.list(v, List::Tools, None, &limits).unwrap(), rendered);
                    assert_eq!(cache.list(v, List::Tools, None, &limits).unwrap(), rendered);
                }
            }
        }
    }
    let stale = principal(&b, "all");
    let nothing = cache
        .list(
            view(&a, &stale, Scope::Merged, Era::Legacy),
            List::Tools,
            None,
            &limits,
        )
        .unwrap();
    assert_eq!(
        nothing,
        br#"{"tools":[]}"#[..],
        "a principal of another snapshot sees nothing"
    );
}

#[test]
fn changes_are_told_to_those_they_concern() {
    let digests =
        |s: &Snapshot, who: &str| Digests::of(view(s, &principal(s, who), Scope::Merged, Era::Legacy));
    let before = two_servers();
    let fs = server("fs", &["read_file", "write_file"], &["review"]);
    let mut git = server(
        "git",
        &["read_log", "commit.sign", "push"],
        &["review", "read_me"],
    );
    git["catalogue"]["tools"][1]["description"] = json!("another text");
    let after = snapshot(document(vec![fs, git]));
    let changes = |who| digests(&before, who).changes(&digests(&after, who));
    assert_eq!(
        changes("all"),
        Changes {
            tools: true,
            prompts: false,
            resources: true
        }
    );
    assert_eq!(changes("read"), Changes::default());
    assert_eq!(
        changes("fs"),
        Changes {
            resources: true,
            ..Changes::default()
        }
    );
    assert_eq!(
        digests(&before, "all").changes(&digests(&two_servers(), "all")),
        Changes::default()
    );
}

#[test]
fn the_gateway_introduces_itself() {
    let s = two_servers();
    let p = principal(&s, "all");
    let hello: Value = serde_json::from_slice(&initialize(
        view(&s, &p, Scope::Merged, Era::Legacy),
        ringway_proto::revision::Revision::V2025_06_18,
    ))
    .unwrap();
    assert_eq!(hello["protocolVersion"], "2025-06-18");
    assert_eq!(hello["serverInfo"]["name"], "ringway");
    assert_eq!(
        hello["capabilities"],
        json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true},
               "resources": {"listChanged": true, "subscribe": true}, "logging": {}})
    );
    assert_eq!(
        hello["instructions"],
        "## fs\n\nHow to use fs.\n\n## git\n\nHow to use git."
    );

    let reader = principal(&s, "read");
    let found: Value = serde_json::from_slice(&discover(
        view(&s, &reader, Scope::Merged, Era::Modern),
        &Limits::default(),
    ))
    .unwrap();
    assert_eq!(found["supportedVersions"][0], "2026-07-28");
    assert_eq!(found["supportedVersions"].as_array().unwrap().len(), 4);
    assert_eq!(found["resultType"], "complete");
    assert!(
        found["capabilities"].get("resources").is_none(),
        "no resources for roles over single tools"
    );

    let own: Value = serde_json::from_slice(&discover(
        view(&s, &p, scope_of(&s, "git"), Era::Modern),
        &Limits::default(),
    ))
    .unwrap();
    assert_eq!(own["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "git");
    assert_eq!(own["instructions"], "How to use git.");
    assert!(own["capabilities"]["resources"].get("subscribe").is_none());
}

#[test]
fn instructions_are_bounded() {
    let servers = (0..20).map(|n| {
        let mut s = server(&format!("s{n}"), &[], &[]);
        s["catalogue"]["instructions"] = json!("é".repeat(10_000));
        s
    });
    let s = snapshot(document(servers.collect()));
    let p = principal(&s, "all");
    let text = instructions(view(&s, &p, Scope::Merged, Era::Legacy)).unwrap();
    assert!(text.len() <= crate::limits::INSTRUCTIONS_BYTES_MAX);
    assert!(text.matches("## ").count() >= 7);
}

#[test]
fn a_server_shows_itself_when_anything_of_it_is_shown() {
    let mut d = document(vec![
        server("fs", &["read_file"], &[]),
        server("git", &["push"], &[]),
        json!({"name": "new", "url": "http://new/"}),
    ]);
    d["roles"][1]["allow"] = json!(["fs__*", "new__x"]);
    let s = snapshot(d);
    let ask = |who: &str, name: &str| {
        authorize::server(&s, &principal(&s, who), name)
            .map(|p| p.server())
            .map_err(|r| r.reason())
    };
    assert_eq!(ask("all", "git"), Ok(index(&s, "git")));
    assert_eq!(ask("read", "fs"), Ok(index(&s, "fs")));
    assert_eq!(ask("read", "git"), Err("server_unknown"));
    assert_eq!(ask("read", "nowhere"), Err("server_unknown"));
    assert_eq!(ask("all", "new"), Err("server_not_ready"));
    assert_eq!(ask("fs", "new"), Err("server_not_ready"));
    assert_eq!(
        ask("read", "new"),
        Err("server_not_ready"),
        "its tools are unknown; some might be readable"
    );
}

#[test]
fn hidden_and_unknown_read_alike() {
    let s = two_servers();
    let p = principal(&s, "read");
    let hidden = resolve::tool(&s, Scope::Merged, "fs__write_file")
        .and_then(|t| authorize::tool(&s, &p, Scope::Merged, t))
        .unwrap_err();
    let unknown = resolve::tool(&s, Scope::Merged, "fs__write_fils").unwrap_err();
    let text = |r: &Rejection| String::from_utf8(r.render(Some(b"1"))).unwrap();
    assert_eq!(text(&hidden), text(&unknown).replace("fils", "file"));
    let git = scope_of(&s, "git");
    let hidden = resolve::tool(&s, git, "commit.sign")
        .and_then(|t| authorize::tool(&s, &p, git, t))
        .unwrap_err();
    assert_eq!(hidden, Rejection::ToolUnknown("commit.sign".to_owned()));
}

proptest! {
    /// What lists show is what calls allow: for any roles, every listed tool, prompt and resource may be had,
    /// and every other is refused as if it did not exist.
    #[test]
    fn lists_and_calls_agree(
        patterns in prop::collection::vec("(\\*|fs__|git__|read|_|\\*_file|log|\\*__){1,4}", 0..4),
    ) {
        let mut fs = server("fs", &["read_file", "write_file", "log"], &["read", "log"]);
        fs["catalogue"]["resources"] = json!([{"uri": "x:1", "name": "a"}, {"uri": "x:2", "name": "b"}]);
        let mut git = server("git", &["read_log", "log"], &["read"]);
        git["catalogue"]["resources"] = json!([{"uri": "x:1", "name": "c"}, {"uri": "x:3", "name": "d"}]);
        let mut d = document(vec![fs, git]);
        d["roles"][0]["allow"] = json!(patterns);
        let s = snapshot(d);
        let p = principal(&s, "all");
        for scope in [Scope::Merged, scope_of(&s, "fs"), scope_of(&s, "git")] {
            let v = view(&s, &p, scope, Era::Legacy);
            let own = |server: ServerIndex| scope == Scope::Merged || scope == Scope::Server(server);
            let limits = Limits::default();
            let shown = all(v, List::Tools, &limits, "name");
            for (at, tool) in s.tools.iter().enumerate().filter(|(_, t)| own(t.server)) {
                let index = crate::snapshot::ToolIndex(at as u32);
                let name = s.shown_tool_name(scope, index);
                let allowed = resolve::tool(&s, scope, name).and_then(|t| authorize::tool(&s, &p, scope, t));
                prop_assert_eq!(allowed.is_ok(), shown.iter().any(|n| n == name), "{}", tool.exposed);
                prop_assert_eq!(allowed.map(|permit| permit.tool()).ok(), shown.iter().any(|n| n == name).then_some(index));
            }
            let shown = all(v, List::Prompts, &limits, "name");
            for (at, prompt) in s.prompts.iter().enumerate().filter(|(_, t)| own(t.server)) {
                let name = s.shown_prompt_name(scope, crate::snapshot::PromptIndex(at as u32));
                let allowed = resolve::prompt(&s, scope, name).and_then(|t| authorize::prompt(&s, &p, scope, t));
                prop_assert_eq!(allowed.is_ok(), shown.iter().any(|n| n == name), "{}", prompt.exposed);
            }
            // Each listed URI is read from the server whose definition was listed.
            let page = page(v, List::Resources, None, &limits);
            for item in page["resources"].as_array().unwrap() {
                let permit = authorize::resource(&s, &p, scope, item["uri"].as_str().unwrap(), Era::Legacy).unwrap();
                let holder = s.resources.iter().find(|r| r.server == permit.server() && *r.uri == *permit.uri()).unwrap();
                let definition: Value = serde_json::from_slice(&holder.definition).unwrap();
                prop_assert_eq!(&definition["name"], &item["name"]);
            }
            if page["resources"].as_array().unwrap().is_empty() {
                for uri in ["x:1", "x:2", "x:3", "ringway+git:x:1"] {
                    prop_assert!(authorize::resource(&s, &p, scope, uri, Era::Legacy).is_err());
                }
            }
            let visible = |server: ServerIndex| s.permits(&p).server(server);
            for server in [index(&s, "fs"), index(&s, "git")] {
                let sees = [List::Tools, List::Prompts, List::Resources]
                    .iter()
                    .any(|l| !items(view(&s, &p, Scope::Server(server), Era::Legacy), *l).is_empty());
                prop_assert_eq!(visible(server), sees);
            }
        }
    }
}
