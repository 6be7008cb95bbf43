//! Serving from a desktop file as it is: every server, and nobody who may use them but the holder of the
//! development key, because such a file has no word for rights.

use super::desktop::{Entry, Input, Text, Transport, entries, inputs};
use crate::config::{
    Code, Config, Cursor, IDLE_STOP, LegacySse, LocalServer, Reader, Remote, Secret, Server, ServerKind,
    Sharing, Template, of_servers, origin, passed_on, quote, read_headers,
};
use ringway_proto::snapshot::{HttpVersion, Timeouts};

/// Serves from a desktop file as it is.
pub(crate) fn config(reader: &Reader<'_>, root: &Cursor) -> Option<Config> {
    let inputs = inputs(reader, root);
    let entries = entries(reader, root);
    let servers = entries
        .iter()
        .filter(|entry| entry.enabled)
        .filter_map(|entry| server(reader, entry, &inputs));
    Some(of_servers(reader, servers.collect()))
}

fn server(reader: &Reader<'_>, entry: &Entry, inputs: &[Input]) -> Option<Server> {
    let template = |text: &Text| template(reader, text, inputs);
    let kind = match &entry.transport {
        Transport::Stdio {
            program,
            args,
            env,
            cwd,
        } => {
            let value = |text: &Text| passed_on(reader, &text.at, &template(text)?);
            let args: Vec<Option<Secret>> = args.iter().map(value).collect();
            let env: Vec<Option<(String, Secret)>> = env
                .iter()
                .map(|(field, text)| Some((field.name.clone(), value(text)?)))
                .collect();
            let cwd = match cwd {
                Some(text) => Some(reader.directory.join(value(text)?.expose())),
                None => None,
            };
            ServerKind::Local(LocalServer {
                program: program.clone(),
                args: args.into_iter().collect::<Option<_>>()?,
                env: env.into_iter().collect::<Option<_>>()?,
                cwd,
                sharing: Sharing::default(),
                idle_stop: Some(IDLE_STOP),
            })
        }
        Transport::Remote { legacy, url, headers } => {
            let address = template(url).and_then(|template| reader.address(&url.at, &template, false));
            let fields = headers
                .iter()
                .filter_map(|(field, text)| Some((field.clone(), template(text)?)));
            let headers = read_headers(reader, fields, address.as_ref());
            let url = address?;
            let origin = origin(url.expose());
            if *legacy {
                let headers = headers
                    .into_iter()
                    .map(|header| (header.name, header.value))
                    .collect();
                ServerKind::LegacySse(LegacySse {
                    url,
                    origin,
                    headers,
                    ca_file: None,
                })
            } else {
                let headers = headers
                    .into_iter()
                    .map(|header| (header.name, header.document))
                    .collect();
                ServerKind::Remote(Remote {
                    url,
                    origin,
                    http: HttpVersion::Auto,
                    ca_file: None,
                    headers,
                })
            }
        }
    };
    let position = entry.key.node.start;
    Some(Server {
        name: entry.name.clone(),
        enabled: true,
        timeouts: Timeouts::default(),
        position,
        kind,
    })
}

/// The template of a value; what an editor would ask a person for must be set in the environment.
fn template(reader: &Reader<'_>, text: &Text, inputs: &[Input]) -> Option<Template> {
    let mut complete = true;
    for (id, name) in &text.translated.inputs {
        if reader.surroundings.variable(name).is_some() {
            continue;
        }
        complete = false;
        let described = inputs
            .iter()
            .find(|input| input.id == *id)
            .and_then(|input| input.description.as_deref());
        let message = format!("the editor asks a person for {}; here nobody is asked", quote(id));
        let what = described
            .map(|text| format!(" ({})", quote(text)))
            .unwrap_or_default();
        let hint = format!("set the environment variable `{name}`{what} before starting");
        reader.error(Code::UnsetVariable, &text.at, message, hint);
    }
    let template = match Template::parse(&text.translated.text) {
        Ok(template) => template,
        Err((message, hint)) => {
            reader.error(Code::BadReference, &text.at, message, hint);
            return None;
        }
    };
    complete.then_some(template)
}
