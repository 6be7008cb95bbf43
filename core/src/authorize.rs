//! Authorisation: what may this principal see and call?
//!
//! Roles hold patterns over exposed names. When a snapshot is compiled, each distinct set of roles becomes one
//! [`Permits`]: a bit per tool, prompt and server. After that every question is one bit, and lists ([`crate::
//! catalogue`], [`crate::search`]) and calls ask the same bits, so what is shown and what is allowed cannot
//! part ways.
//!
//! What is not permitted reads exactly like what does not exist: the same rejection with the caller's own words.

use crate::{
    bits::Bits,
    names::SEPARATOR,
    rejection::Rejection,
    resolve,
    snapshot::{Principal, PromptIndex, Scope, ServerIndex, Snapshot, ToolIndex},
};
use ringway_proto::revision::Era;

/// Proof that a principal may call a tool.
#[derive(Debug)]
pub struct Permit {
    tool: ToolIndex,
}

impl Permit {
    /// The tool that may be called.
    pub fn tool(&self) -> ToolIndex {
        self.tool
    }
}

/// Proof that a principal may get a prompt.
#[derive(Debug)]
pub struct PromptPermit {
    prompt: PromptIndex,
}

impl PromptPermit {
    /// The prompt that may be had.
    pub fn prompt(&self) -> PromptIndex {
        self.prompt
    }
}

/// Proof that a principal may read a resource.
#[derive(Debug)]
pub struct ResourcePermit<'u> {
    server: ServerIndex,
    uri: &'u str,
}

impl<'u> ResourcePermit<'u> {
    /// The server that answers for it.
    pub fn server(&self) -> ServerIndex {
        self.server
    }

    /// The URI as that server knows it.
    pub fn uri(&self) -> &'u str {
        self.uri
    }
}

/// Proof that a principal may use a server's own endpoint.
#[derive(Debug)]
pub struct ServerPermit {
    server: ServerIndex,
}

impl ServerPermit {
    /// The server.
    pub fn server(&self) -> ServerIndex {
        self.server
    }
}

/// May `principal` call this tool? `scope` says by which of its names it was asked for.
pub fn tool(
    snapshot: &Snapshot,
    principal: &Principal,
    scope: Scope,
    tool: ToolIndex,
) -> Result<Permit, Rejection> {
    if snapshot.permits(principal).tool(tool) {
        return Ok(Permit { tool });
    }
    Err(Rejection::ToolUnknown(
        snapshot.shown_tool_name(scope, tool).to_owned(),
    ))
}

/// May `principal` get this prompt? `scope` says by which of its names it was asked for.
pub fn prompt(
    snapshot: &Snapshot,
    principal: &Principal,
    scope: Scope,
    prompt: PromptIndex,
) -> Result<PromptPermit, Rejection> {
    if snapshot.permits(principal).prompt(prompt) {
        return Ok(PromptPermit { prompt });
    }
    Err(Rejection::PromptUnknown(
        snapshot.shown_prompt_name(scope, prompt).to_owned(),
    ))
}

/// Which server may `principal` read this URI from? On `/mcp` this is [`resolve::resource`]; on a
/// server's own endpoint it is that server.
pub fn resource<'u>(
    snapshot: &Snapshot,
    principal: &Principal,
    scope: Scope,
    uri: &'u str,
    era: Era,
) -> Result<ResourcePermit<'u>, Rejection> {
    let permits = snapshot.permits(principal);
    let found = match scope {
        Scope::Merged => resolve::resource(snapshot, permits, uri),
        Scope::Server(server) => permits.resources(server).then_some((server, uri)),
    };
    let (server, uri) = found.ok_or_else(|| Rejection::ResourceUnknown {
        era,
        uri: uri.to_owned(),
    })?;
    Ok(ResourcePermit { server, uri })
}

/// May `principal` use `/servers/{name}/mcp`? A visible server that is not ready is refused as such.
pub fn server(snapshot: &Snapshot, principal: &Principal, name: &str) -> Result<ServerPermit, Rejection> {
    let permits = snapshot.permits(principal);
    match snapshot.server(name).filter(|server| permits.server(*server)) {
        None => Err(Rejection::ServerUnknown(name.to_owned())),
        Some(server) if !snapshot.servers[server.at()].ready => {
            Err(Rejection::ServerNotReady(name.to_owned()))
        }
        Some(server) => Ok(ServerPermit { server }),
    }
}

/// Everything one set of roles may see and call, in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    pub(crate) tools: Bits,
    pub(crate) prompts: Bits,
    pub(crate) resources: Bits,
    pub(crate) servers: Bits,
    tools_count: usize,
}

impl Permits {
    /// Whether this tool may be seen and called.
    pub fn tool(&self, tool: ToolIndex) -> bool {
        self.tools.contains(tool.at())
    }

    /// Whether this prompt may be seen and had.
    pub fn prompt(&self, prompt: PromptIndex) -> bool {
        self.prompts.contains(prompt.at())
    }

    /// Whether this server's resources may be seen and read.
    pub fn resources(&self, server: ServerIndex) -> bool {
        self.resources.contains(server.at())
    }

    /// Whether this server is visible: any of its tools, prompts or resources is.
    pub fn server(&self, server: ServerIndex) -> bool {
        self.servers.contains(server.at())
    }

    /// How many tools may be called.
    pub fn tools_count(&self) -> usize {
        self.tools_count
    }

    /// The permits of one role: its patterns over the names in `snapshot`.
    pub(crate) fn of_role(patterns: &[Pattern], snapshot: &Snapshot) -> Self {
        let allowed = |name: &str| patterns.iter().any(|p| p.matches(name));
        let mut permits = Self {
            tools: Bits::new(snapshot.tools.len()),
            prompts: Bits::new(snapshot.prompts.len()),
            resources: Bits::new(snapshot.servers.len()),
            servers: Bits::new(snapshot.servers.len()),
            tools_count: 0,
        };
        for (at, server) in snapshot.servers.iter().enumerate() {
            let prefix = format!("{}{SEPARATOR}", server.name);
            // A pattern decides a whole server at once far more often than not.
            let all = patterns.iter().any(|p| p.covers(&prefix));
            let some = all || patterns.iter().any(|p| p.reaches(&prefix));
            if !some {
                continue;
            }
            if all {
                permits.resources.insert(at);
            }
            for tool in server.tools.clone() {
                if all || allowed(&snapshot.tools[tool as usize].exposed) {
                    permits.tools.insert(tool as usize);
                    permits.servers.insert(at);
                }
            }
            for prompt in server.prompts.clone() {
                if all || allowed(&snapshot.prompts[prompt as usize].exposed) {
                    permits.prompts.insert(prompt as usize);
                    permits.servers.insert(at);
                }
            }
            // What a server that is not ready will offer is unknown: it is visible to those who may get some of it.
            if all || !server.ready {
                permits.servers.insert(at);
            }
        }
        permits.tools_count = permits.tools.count();
        permits
    }

    /// What any of `roles` allows.
    pub(crate) fn union<'p>(roles: impl IntoIterator<Item = &'p Self>, snapshot: &Snapshot) -> Self {
        let mut all = Self::of_role(&[], snapshot);
        for role in roles {
            all.tools.union(&role.tools);
            all.prompts.union(&role.prompts);
            all.resources.union(&role.resources);
            all.servers.union(&role.servers);
        }
        all.tools_count = all.tools.count();
        all
    }
}

/// A pattern over exposed names; `*` stands for any run of characters, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Box<str>);

/// A pattern longer than any name, with room for stars, matches nothing a shorter one would not.
const PATTERN_CHARS_MAX: usize = 128;

impl Pattern {
    /// Reads a pattern; the error says why it could never match.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'*');
        if text.is_empty() || text.len() > PATTERN_CHARS_MAX {
            return Err(format!("a pattern has 1 to {PATTERN_CHARS_MAX} characters"));
        }
        match text.chars().find(|c| !u8::try_from(*c).is_ok_and(plain)) {
            Some(c) => Err(format!(
                "{c:?} stands in no exposed name, so this pattern can never match"
            )),
            None => Ok(Self(text.into())),
        }
    }

    /// Whether the pattern matches the whole of `name`.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        // Greedy with one point of return: the last star seen takes one character more.
        let (mut p, mut n) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        p = at + 1;
                        n = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }

    /// Whether every name that begins with `prefix` matches.
    pub(crate) fn covers(&self, prefix: &str) -> bool {
        self.0.ends_with('*') && self.matches(prefix)
    }

    /// Whether some name longer than `prefix` that begins with it could match.
    pub(crate) fn reaches(&self, prefix: &str) -> bool {
        let pattern = self.0.as_bytes();
        // Cut the pattern at each place: does the front match the prefix, and is something left for the rest? A
        // star at the cut serves both sides.
        (0..pattern.len()).any(|cut| {
            let front = if pattern[cut] == b'*' {
                &self.0[..=cut]
            } else {
                &self.0[..cut]
            };
            Self(front.into()).matches(prefix)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(p("*").matches("") && p("*").matches("a__b"));
        assert!(p("a__*").matches("a__b") && !p("a__*").matches("aa__b"));
        assert!(p("*__read_*").matches("fs__read_file") && !p("*__read_*").matches("fs__read"));
        assert!(p("a__b").matches("a__b") && !p("a__b").matches("a__bc"));
        assert!(p("a*b*c").matches("aXbYbZc") && !p("a*b*c").matches("aXc"));
    }

    #[test]
    fn covering_and_reaching() {
        for (pattern, covers, reaches) in [
            ("*", true, true),
            ("git__*", true, true),
            ("gi*", true, true),
            ("*__*", true, true),
            ("*t__*", true, true),
            ("git__read*", false, true),
            ("*_file", false, true),
            ("git__", false, false),
            ("git", false, false),
            ("hub__*", false, false),
            ("git__a", false, true),
        ] {
            assert_eq!(
                (p(pattern).covers("git__"), p(pattern).reaches("git__")),
                (covers, reaches),
                "{pattern}"
            );
        }
    }

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        for bad in ["", "a.b", "a b", "é", "a?", &"a".repeat(200)] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab*]{1,8}", name in "[ab]{0,8}") {
            fn slow(p: &[u8], n: &[u8]) -> bool {
                match p {
                    [] => n.is_empty(),
                    [b'*', rest @ ..] => (0..=n.len()).any(|k| slow(rest, &n[k..])),
                    [c, rest @ ..] => n.first() == Some(c) && slow(rest, &n[1..]),
                }
            }
            prop_assert_eq!(p(&pattern).matches(&name), slow(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn covers_implies_all_and_a_match_implies_reaches(pattern in "[ab_*]{1,8}", prefix in "[ab]{1,3}", rest in "[ab]{1,5}") {
            let prefix = format!("{prefix}__");
            let name = format!("{prefix}{rest}");
            if p(&pattern).covers(&prefix) {
                prop_assert!(p(&pattern).matches(&name));
            }
            if p(&pattern).matches(&name) {
                prop_assert!(p(&pattern).reaches(&prefix));
            }
        }
    }
}
