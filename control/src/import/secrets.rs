//! Taking secrets out of a draft: what looks like one becomes `${NAME}`, and the list says what to set.
//!
//! The judgement errs toward secrecy. Every header value is one (they nearly always are), every environment value
//! whose name or form says so, arguments that follow a telling flag, and telling parameters of an address. The
//! values themselves go nowhere: the operator has the file they came from.

use super::{Body, Draft, Variable, placeholder::variable_name};
use crate::config::{Code, Cursor, Reader, quote};

/// Header fields that hold no secret, as everybody uses them.
const OPEN_HEADERS: &[&str] = &[
    "user-agent",
    "accept-language",
    "x-client-name",
    "x-client-version",
];
/// How tokens of well-known issuers begin.
const TOKEN_PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "pk_live_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "eyJ",
    "rwk_",
    "hf_",
    "npm_",
    "pypi-",
    "ATATT",
    "lin_api_",
    "ntn_",
    "secret_",
    "dop_v1_",
    "shpat_",
    "SG.",
    "tvly-",
    "fc-",
    "Bearer ",
    "Basic ",
];

/// The draft with references in place of secrets.
pub(crate) fn take_out(
    draft: Draft,
    at: &Cursor,
    reader: &Reader<'_>,
    variables: &mut Vec<Variable>,
) -> Draft {
    let server = draft.name.clone();
    let mut mover = Mover {
        server: &server,
        at,
        reader,
        variables,
    };
    let body = match draft.body {
        Body::Local {
            program,
            args,
            env,
            cwd,
        } => Body::Local {
            program,
            args: mover.arguments(args),
            env: env
                .into_iter()
                .map(|(name, value)| mover.environment(name, value))
                .collect(),
            cwd,
        },
        Body::Remote { legacy, url, headers } => Body::Remote {
            legacy,
            url: mover.address(url),
            headers: headers
                .into_iter()
                .map(|(name, value)| mover.header(name, value))
                .collect(),
        },
    };
    Draft { body, ..draft }
}

struct Mover<'m, 'w> {
    server: &'m str,
    at: &'m Cursor,
    reader: &'m Reader<'w>,
    variables: &'m mut Vec<Variable>,
}

impl Mover<'_, '_> {
    fn environment(&mut self, name: String, value: String) -> (String, String) {
        if is_open(&value) || !(tells(&name) || looks_secret(&value)) {
            return (name, value);
        }
        // The variable is called as the server calls it, unless another server's is called so already.
        let wanted = if self.is_free(&name) {
            name.clone()
        } else {
            self.prefixed(&name)
        };
        let reference = self.replace(&wanted, &format!("env.{name}"));
        (name, reference)
    }

    fn header(&mut self, name: String, value: String) -> (String, String) {
        if is_open(&value) || OPEN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return (name, value);
        }
        let authorization = name.eq_ignore_ascii_case("authorization");
        let wanted = self.prefixed(if authorization { "TOKEN" } else { &name });
        let reference = self.replace(&wanted, &format!("headers.{name}"));
        // The scheme is no secret, and the variable is easier to fill without it.
        let scheme = ["Bearer ", "Basic ", "Token "]
            .into_iter()
            .find(|scheme| value.starts_with(scheme));
        (name, format!("{}{reference}", scheme.unwrap_or_default()))
    }

    fn arguments(&mut self, args: Vec<String>) -> Vec<String> {
        let mut out: Vec<String> = Vec::with_capacity(args.len());
        let mut previous_tells = None;
        for arg in args {
            let told = previous_tells.take();
            let flag = arg
                .starts_with('-')
                .then(|| arg.split_once('=').map_or(arg.as_str(), |(flag, _)| flag));
            let flag = flag.map(str::to_owned);
            let value = arg
                .split_once('=')
                .filter(|_| flag.is_some())
                .map(|(_, value)| value.to_owned());
            match (flag, value) {
                (Some(flag), Some(value)) if (tells(&flag) || looks_secret(&value)) && !is_open(&value) => {
                    let reference = self.argument(&flag);
                    out.push(format!("{flag}={reference}"));
                }
                (Some(flag), _) => {
                    previous_tells = tells(&flag).then_some(flag);
                    out.push(arg);
                }
                (None, _) => match told {
                    Some(flag) if !is_open(&arg) => out.push(self.argument(&flag)),
                    _ => match arg.split_once("Bearer ") {
                        // `--header "Authorization: Bearer …"`
                        Some((before, token)) if !is_open(token) => {
                            let reference = self.argument("TOKEN");
                            out.push(format!("{before}Bearer {reference}"));
                        }
                        _ if looks_secret(&arg) && !is_open(&arg) => out.push(self.argument("ARGUMENT")),
                        _ => out.push(arg),
                    },
                },
            }
        }
        out
    }

    fn argument(&mut self, flag: &str) -> String {
        let wanted = self.prefixed(flag);
        self.replace(&wanted, "args")
    }

    fn address(&mut self, url: String) -> String {
        let Some((before, query)) = url.split_once('?') else {
            return url;
        };
        let parameters: Vec<String> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, value)) if (tells(name) || looks_secret(value)) && !is_open(value) => {
                    let wanted = self.prefixed(name);
                    format!("{name}={}", self.replace(&wanted, "url"))
                }
                _ => parameter.to_owned(),
            })
            .collect();
        format!("{before}?{}", parameters.join("&"))
    }

    fn prefixed(&self, name: &str) -> String {
        let stem = format!("{}_{}", variable_name(self.server), variable_name(name));
        let numbered = (2..).map(|number| format!("{stem}_{number}"));
        std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| self.is_free(name))
            .unwrap_or(stem)
    }

    fn is_free(&self, name: &str) -> bool {
        !self.variables.iter().any(|variable| variable.name == name)
    }

    fn replace(&mut self, name: &str, key: &str) -> String {
        let path = format!("servers.{}.{key}", self.server);
        let message = format!(
            "a secret in {} was replaced by `${{{name}}}`",
            quote(&format!("{}.{key}", self.server))
        );
        let hint = format!("set the environment variable `{name}` to what stands in the imported file");
        self.reader.warn(Code::SecretMoved, self.at, message, hint);
        let meaning = "stands in the imported file".to_owned();
        self.variables.push(Variable {
            name: name.to_owned(),
            path,
            meaning,
        });
        format!("${{{name}}}")
    }
}

/// Nothing to hide: a reference already, or a switch.
fn is_open(value: &str) -> bool {
    let number = value.len() <= 5 && value.bytes().all(|b| b.is_ascii_digit());
    value.contains("${") || number || matches!(value, "" | "true" | "false" | "yes" | "no" | "on" | "off")
}

/// Whether a name says that its value is a secret.
fn tells(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let contains = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "APIKEY",
        "CREDENTIAL",
        "AUTHORIZATION",
        "PRIVATEKEY",
    ]
    .iter()
    .any(|word| upper.replace(['_', '-'], "").contains(word));
    let words = [
        "KEY", "PASS", "PWD", "AUTH", "BEARER", "COOKIE", "PAT", "DSN", "JWT",
    ];
    contains || upper.split(['_', '-', '.']).any(|word| words.contains(&word))
}

/// Whether a value has the form of a secret.
fn looks_secret(value: &str) -> bool {
    if TOKEN_PREFIXES.iter().any(|prefix| value.starts_with(prefix)) {
        return true;
    }
    // `scheme://user:password@host`
    let authority = value
        .split_once("://")
        .map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    if authority
        .and_then(|text| text.split_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
    {
        return true;
    }
    let token = value.len() >= 24
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-+=".contains(&b));
    token && value.bytes().any(|b| b.is_ascii_digit()) && value.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tell() {
        for name in [
            "API_KEY",
            "githubToken",
            "DB_PASSWORD",
            "--api-key",
            "X-Auth",
            "GITHUB_PAT",
            "apikey",
            "PGPASSWORD",
        ] {
            assert!(tells(name), "{name}");
        }
        for name in [
            "PATH",
            "MONKEY",
            "LOG_LEVEL",
            "PORT",
            "AUTHOR",
            "--verbose",
            "COMPASS",
        ] {
            assert!(!tells(name), "{name}");
        }
    }

    #[test]
    fn values_that_look_secret() {
        for value in [
            "sk-abc",
            "postgres://me:pw@db/x",
            "eyJhbGciOi",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert!(looks_secret(value), "{value}");
        }
        for value in [
            "info",
            "/home/me/a-long-path/with-1-number/in-it",
            "https://example.org/x",
            "mcp-server-everything",
        ] {
            assert!(!looks_secret(value), "{value}");
        }
    }
}
