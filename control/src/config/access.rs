//! Who may call what: `roles`, `keys`, `anonymous`, and the checks that need all of them together.

use super::{
    finding::{Code, nearest, quote},
    model::Listener,
    names,
    reader::{Cursor, Fields, Reader},
    settings::INTERFACES,
    units,
};
use ringway_proto::snapshot::{Anonymous, ApiKey, Role, default_tenant};

pub(crate) const ROLE_KEYS: &[&str] = &["allow"];
pub(crate) const KEY_KEYS: &[&str] = &["id", "hash", "name", "tenant", "roles", "expires", "interface"];
pub(crate) const ANONYMOUS_KEYS: &[&str] = &["roles", "allow_on_public_listeners"];

/// A pattern and where it stands, to be judged when the servers are known.
pub(crate) struct Placed {
    pattern: String,
    at: Cursor,
}

pub(crate) fn roles(reader: &Reader<'_>, at: &Cursor) -> (Vec<Role>, Vec<Placed>) {
    let (mut roles, mut placed) = (Vec::new(), Vec::new());
    let Some(fields) = reader.fields(at, "`roles`", &[]) else {
        return (roles, placed);
    };
    for field in &fields.list {
        if let Err(rule) = names::check_id(&field.name) {
            reader.error(
                Code::BadName,
                &field.key,
                format!("{} cannot name a role", quote(&field.name)),
                rule,
            );
        }
        let allow = reader
            .fields(&field.value, "a role", ROLE_KEYS)
            .and_then(|role| reader.required(&role, "allow", "a role").cloned())
            .map_or_else(Vec::new, |at| patterns(reader, &at));
        roles.push(Role {
            name: field.name.clone(),
            allow: allow.iter().map(|placed| placed.pattern.clone()).collect(),
        });
        placed.extend(allow);
    }
    (roles, placed)
}

fn patterns(reader: &Reader<'_>, at: &Cursor) -> Vec<Placed> {
    let mut patterns = Vec::new();
    for item in reader.items(at, "`allow`") {
        let Some(text) = reader.text(&item) else { continue };
        match names::check_pattern(text) {
            Ok(()) => patterns.push(Placed {
                pattern: text.to_owned(),
                at: item.clone(),
            }),
            Err(hint) => {
                reader.error(
                    Code::DeadPattern,
                    &item,
                    format!("the pattern {} can never match", quote(text)),
                    hint,
                );
            }
        }
    }
    patterns
}

/// Warns of patterns that no configured server could satisfy. A warning, not an error: such a pattern grants
/// nothing, and removing a server must not need a change of every role in the same moment.
pub(crate) fn dead_patterns(reader: &Reader<'_>, placed: &[Placed], servers: &[&str]) {
    for Placed { pattern, at } in placed {
        if servers.iter().any(|server| names::could_match(pattern, server)) {
            continue;
        }
        let prefix = pattern
            .split_once("__")
            .map_or(pattern.as_str(), |(prefix, _)| prefix);
        let hint = if servers.is_empty() {
            "no server is configured".to_owned()
        } else if servers.contains(&prefix) {
            format!("every tool of this server: `{prefix}__*`")
        } else {
            match nearest(prefix, servers.iter().copied()) {
                Some(near) => format!("did you mean the server `{near}`?"),
                None => format!("exposed names are `server__tool`; servers: {}", some(servers)),
            }
        };
        reader.warn(
            Code::DeadPattern,
            at,
            format!("{} matches no tool of any server", quote(pattern)),
            hint,
        );
    }
}

/// A list short enough for a hint.
fn some(names: &[&str]) -> String {
    const NAMED_MAX: usize = 8;
    let mut text = names
        .iter()
        .take(NAMED_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMED_MAX {
        text.push_str(", …");
    }
    text
}

pub(crate) fn keys(reader: &Reader<'_>, at: &Cursor, roles: &[Role]) -> Vec<(ApiKey, Cursor)> {
    let mut keys: Vec<(ApiKey, Cursor)> = Vec::new();
    for item in reader.items(at, "`keys`") {
        let Some(fields) = reader.fields(&item, "a key", KEY_KEYS) else {
            continue;
        };
        let Some((key, at)) = key(reader, &fields, roles) else {
            continue;
        };
        if let Some((_, other)) = keys.iter().find(|(other, _)| other.id == key.id) {
            let hint = format!("it stands in line {} already", other.node.start.line);
            reader.error(
                Code::DuplicateId,
                &at,
                format!("two keys have the id {}", quote(&key.id)),
                hint,
            );
        } else if let Some((other, _)) = keys.iter().find(|(other, _)| other.hash == key.hash) {
            let message = format!("{} and {} are the same key", quote(&key.id), quote(&other.id));
            reader.error(
                Code::DuplicateId,
                &at,
                message,
                "the hashes are equal; every holder gets a key of its own",
            );
        }
        keys.push((key, at));
    }
    keys
}

fn key(reader: &Reader<'_>, fields: &Fields, roles: &[Role]) -> Option<(ApiKey, Cursor)> {
    let id_at = reader.required(fields, "id", "a key");
    let id = id_at.and_then(|at| identifier(reader, at, "a key"));
    let hash = reader
        .required(fields, "hash", "a key")
        .and_then(|at| hash(reader, at));
    let granted = reader
        .required(fields, "roles", "a key")
        .map(|at| grants(reader, at, roles));
    let tenant = match fields.get("tenant") {
        Some(at) => identifier(reader, at, "a tenant"),
        None => Some(default_tenant()),
    };
    let name = fields
        .get("name")
        .and_then(|at| reader.any_text(at))
        .map(str::to_owned);
    let expires_at = fields.get("expires").map(|at| expires(reader, at));
    let interface = fields
        .get("interface")
        .and_then(|at| reader.choice(at, &INTERFACES));
    let key = ApiKey {
        id: id?,
        hash: hash?,
        tenant: tenant?,
        name,
        roles: granted?,
        expires_at: expires_at.map_or(Some(None), |expires| expires.map(Some))?,
        interface,
    };
    Some((key, id_at?.clone()))
}

fn identifier(reader: &Reader<'_>, at: &Cursor, what: &str) -> Option<String> {
    if at
        .node
        .text()
        .is_some_and(|text| text.starts_with(ringway_proto::key::PREFIX))
    {
        reader.error(
            Code::BadName,
            at,
            format!("a key cannot name {what}"),
            "take it out of the file and revoke it",
        );
        return None;
    }
    let text = reader.any_text(at)?;
    if let Err(rule) = names::check_id(text) {
        reader.error(
            Code::BadName,
            at,
            format!("{} cannot name {what}", quote(text)),
            rule,
        );
        return None;
    }
    Some(text.to_owned())
}

/// `sha256:` and 64 hex digits. Never repeated in a message: people paste the key itself here.
fn hash(reader: &Reader<'_>, at: &Cursor) -> Option<String> {
    let Some(text) = at.node.text() else {
        reader.error(
            Code::WrongType,
            at,
            format!("expected text, found {}", at.node.kind_name()),
            "",
        );
        return None;
    };
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
    if digits.is_some_and(|digits| {
        digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }) {
        reader.show(at);
        return Some(text.to_owned());
    }
    let (message, hint) = if text.starts_with(ringway_proto::key::PREFIX) {
        (
            "this is a key, not the hash of one",
            "take it out of the file and revoke it; `ringway keys create --json` prints the hash of a new one",
        )
    } else {
        (
            "this is not the hash of a key",
            "write `sha256:` and 64 lower-case hex digits, as `ringway keys create --json` prints them",
        )
    };
    reader.error(Code::BadValue, at, message, hint);
    None
}

fn grants(reader: &Reader<'_>, at: &Cursor, roles: &[Role]) -> Vec<String> {
    let mut granted: Vec<String> = Vec::new();
    let items = reader.items(at, "`roles`");
    if items.is_empty() && matches!(at.node.value, super::node::Value::List(_)) {
        reader.warn(
            Code::BadValue,
            at,
            "no role is granted, so every tool is refused",
            "",
        );
    }
    for item in items {
        let Some(name) = reader.any_text(&item) else {
            continue;
        };
        if !roles.iter().any(|role| role.name == name) {
            let known: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "the file has no `roles`".to_owned(),
                None => format!("known roles: {}", some(&known)),
            };
            reader.error(
                Code::UnknownRole,
                &item,
                format!("there is no role {}", quote(name)),
                hint,
            );
        }
        granted.push(name.to_owned());
    }
    granted
}

fn expires(reader: &Reader<'_>, at: &Cursor) -> Option<u64> {
    let text = reader.any_text(at)?;
    match units::moment(text) {
        Ok(moment) => {
            if moment <= reader.surroundings.now() {
                reader.warn(
                    Code::Expired,
                    at,
                    format!("the key's time was over at {text}"),
                    "remove it, or create a new one",
                );
            }
            Some(moment)
        }
        Err(usage) => {
            reader.error(
                Code::BadValue,
                at,
                format!("{} is not a moment", quote(text)),
                usage,
            );
            None
        }
    }
}

pub(crate) fn anonymous(
    reader: &Reader<'_>,
    at: &Cursor,
    roles: &[Role],
    listeners: &[Listener],
) -> Option<Anonymous> {
    let fields = reader.fields(at, "`anonymous`", ANONYMOUS_KEYS)?;
    let granted = reader
        .required(&fields, "roles", "`anonymous`")
        .map(|at| grants(reader, at, roles));
    let public = fields
        .get("allow_on_public_listeners")
        .and_then(|at| reader.boolean(at))
        .unwrap_or(false);
    let loopback = listeners
        .iter()
        .any(|listener| listener.address.ip().is_loopback());
    if !public && !loopback && !listeners.is_empty() {
        let hint = "callers without a key are served on loopback listeners only, and `listen` has none";
        reader.warn(Code::NobodyMayCall, at, "`anonymous` never applies", hint);
    }
    Some(Anonymous {
        roles: granted?,
        allow_on_public_listeners: public,
    })
}
