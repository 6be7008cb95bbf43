//! Whole imports: text in, `ringway.yaml` out, and what comes out is a configuration that reads without errors.

use super::*;
use crate::config::{Outcome, read};

fn imported(text: &str) -> Import {
    import(text.as_bytes(), "mcp.json", Path::new("/home/me/project/.vscode"))
}

fn yaml(text: &str) -> String {
    let import = imported(text);
    import
        .yaml
        .unwrap_or_else(|| panic!("{}", import.findings.render_human(false)))
}

/// The imported text read as a configuration, with every variable of the list set.
fn read_back(import: &Import) -> Outcome {
    let mut world = Written::default();
    for variable in &import.variables {
        world.variables.insert(variable.name.clone(), "x".to_owned());
    }
    world.variables.insert("HOME".to_owned(), "/home/me".to_owned());
    read(
        import.yaml.as_ref().unwrap().as_bytes(),
        "ringway.yaml",
        Path::new("/etc"),
        &world,
    )
}

fn codes(findings: &Findings) -> Vec<&'static str> {
    findings
        .list
        .iter()
        .map(|finding| finding.code.as_str())
        .collect()
}

const DESKTOP: &str = r#"{
  // what a desktop client has after a year
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "My Files": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem@2026.8.31", "/data"]},
    "git": {"command": "uvx", "args": ["mcp-server-git"], "env": {"LOG_LEVEL": "info"}, "autoApprove": ["git_log"]},
    "github": {"type": "http", "url": "https://api.example/mcp", "headers": {"Authorization": "Bearer ghp_verysecret"}},
    "search": {"command": "node", "args": ["s.js", "--api-key", "hunter2secret"], "env": {"API_KEY": "hunter3", "PORT": "8080"}},
    "other": {"command": "other", "env": {"API_KEY": "hunter4"}},
    "old": {"url": "https://old.example/sse?token=hunter5", "disabled": true,},
  },
}"#;

#[test]
fn a_desktop_file_becomes_a_ringway_yaml_without_its_secrets() {
    let import = imported(DESKTOP);
    let yaml = import.yaml.clone().unwrap();
    let everything = format!(
        "{yaml}{}{}",
        import.findings.render_human(false),
        import.findings.render_json()
    );
    for secret in ["ghp_", "verysecret", "hunter"] {
        assert!(!everything.contains(secret), "{secret}:\n{everything}");
    }
    let names: Vec<&str> = import
        .variables
        .iter()
        .map(|variable| variable.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "GITHUB_TOKEN",
            "SEARCH_API_KEY",
            "API_KEY",
            "OTHER_API_KEY",
            "OLD_TOKEN"
        ]
    );
    for part in [
        "  my-files:\n    npx: \"@modelcontextprotocol/server-filesystem\"\n    version: 2026.8.31\n    args: [/data]\n",
        "  git:\n    uvx: mcp-server-git\n    env:\n      LOG_LEVEL: info\n",
        "      Authorization: Bearer ${GITHUB_TOKEN}\n",
        "    args: [s.js, \"--api-key\", \"${SEARCH_API_KEY}\"]\n",
        "    sse: https://old.example/sse?token=${OLD_TOKEN}\n    disabled: true\n",
        "# My Files in the imported file\n",
    ] {
        assert!(yaml.contains(part), "missing {part:?} in\n{yaml}");
    }
    let outcome = read_back(&import);
    assert!(
        outcome.findings.is_empty(),
        "{}",
        outcome.findings.render_human(false)
    );
    assert_eq!(outcome.config.unwrap().servers.len(), 6);
}

#[test]
fn what_was_renamed_moved_and_ignored_is_said() {
    let codes = codes(&imported(DESKTOP).findings);
    for code in ["renamed", "secret_moved", "ignored", "assumed"] {
        assert!(codes.contains(&code), "{code} not in {codes:?}");
    }
}

#[test]
fn vs_codes_inputs_become_variables_with_their_description() {
    let import = imported(
        r#"{"inputs": [{"id": "gh-token", "type": "promptString", "description": "GitHub token", "password": true}],
            "servers": {"github": {"type": "http", "url": "https://api.example/mcp",
                                   "headers": {"Authorization": "Bearer ${input:gh-token}"}},
                        "local": {"type": "stdio", "command": "serve", "args": ["${workspaceFolder}/src"]}}}"#,
    );
    assert_eq!(import.variables[0].name, "GH_TOKEN");
    assert_eq!(import.variables[0].meaning, "GitHub token");
    let yaml = import.yaml.clone().unwrap();
    assert!(yaml.contains("Authorization: Bearer ${GH_TOKEN}"), "{yaml}");
    assert!(yaml.contains("args: [/home/me/project/src]"), "{yaml}");
    assert!(read_back(&import).config.is_some());
}

#[test]
fn two_names_that_become_one_are_refused() {
    let import = imported(r#"{"mcpServers": {"a b": {"command": "x"}, "a_b": {"command": "y"}}}"#);
    assert!(import.yaml.is_none());
    assert!(codes(&import.findings).contains(&"name_collision"));
}

#[test]
fn a_registry_document_takes_the_first_package_that_can_be_run() {
    let text = r#"{
      "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
      "name": "io.github.someone/weather-server", "description": "Weather", "version": "1.2.3",
      "packages": [
        {"registryType": "oci", "identifier": "ghcr.io/someone/weather:1", "transport": {"type": "stdio"}},
        {"registryType": "npm", "identifier": "@someone/weather", "version": "1.2.3", "transport": {"type": "stdio"},
         "runtimeArguments": [{"type": "positional", "value": "-y"}],
         "packageArguments": [{"type": "positional", "value": "serve"},
                              {"type": "named", "name": "--units", "default": "metric"},
                              {"type": "named", "name": "--city", "valueHint": "city", "isRequired": true, "description": "Home town"}],
         "environmentVariables": [{"name": "WEATHER_KEY", "isSecret": true, "isRequired": true, "description": "API key"},
                                  {"name": "OPTIONAL"}, {"name": "LANG", "default": "en"}]}],
      "remotes": [{"type": "streamable-http", "url": "https://weather.example/mcp"}]}"#;
    let import = imported(text);
    let yaml = import.yaml.clone().unwrap();
    for part in [
        "  # Weather\n  weather-server:\n    npx: \"@someone/weather\"\n    version: 1.2.3\n",
        "    args: [serve, \"--units\", metric, \"--city\", \"${WEATHER_SERVER_CITY}\"]\n",
        "      WEATHER_KEY: ${WEATHER_KEY}\n      LANG: en\n",
        "#   WEATHER_SERVER_CITY  Home town\n#   WEATHER_KEY          API key\n",
    ] {
        assert!(yaml.contains(part), "missing {part:?} in\n{yaml}");
    }
    assert!(!yaml.contains("OPTIONAL"));
    assert!(read_back(&import).findings.is_empty());
}

#[test]
fn a_registry_document_with_remotes_only_is_reached() {
    let import = imported(
        r#"{"server": {"name": "com.example/api", "remotes": [
            {"type": "streamable-http", "url": "https://{tenant}.example/mcp",
             "variables": {"tenant": {"description": "Your tenant", "isRequired": true}},
             "headers": [{"name": "Authorization", "value": "Bearer {key}", "isSecret": true}]}]}, "_meta": {}}"#,
    );
    let yaml = import.yaml.clone().unwrap();
    assert!(yaml.contains("url: https://${TENANT}.example/mcp"), "{yaml}");
    assert!(yaml.contains("Authorization: Bearer ${KEY}"), "{yaml}");
    let outcome = read_back(&import);
    assert!(
        outcome.findings.is_empty(),
        "{}",
        outcome.findings.render_human(false)
    );
}

#[test]
fn what_cannot_be_imported_says_what_can() {
    for text in [
        "{}",
        "[1]",
        "\"x\"",
        "{\"name\": \"x\", \"packages\": [{\"registryType\": \"oci\", \"identifier\": \"x\"}]}",
    ] {
        let import = imported(text);
        assert!(import.yaml.is_none(), "{text}");
        assert!(codes(&import.findings).contains(&"unsupported"), "{text}");
    }
    assert!(imported("").yaml.is_none());
    assert!(imported("{\"mcpServers\": {").yaml.is_none());
}

#[test]
fn no_server_is_still_a_file() {
    let text = yaml(r#"{"mcpServers": {}}"#);
    assert!(text.contains("\nservers: {}\n"), "{text}");
}
