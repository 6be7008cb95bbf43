//! What one server offers, as the probe found it. Nothing here is the operator's fault, so every fault is a
//! warning and costs only the item that has it.

use super::{Build, head_of};
use crate::{
    limits::{INSTRUCTIONS_BYTES_MAX, ITEMS_MAX, TEMPLATES_MAX},
    names, resolve,
    snapshot::{
        Features, ItemDigest, Prompt, PromptIndex, Resource, Server, ServerIndex, Template, Tool, ToolIndex,
        definition, header_params,
    },
    uri_template::UriTemplate,
};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use ringway_proto::{
    json::{self, Kind},
    revision::{Era, Revision},
    snapshot as document,
};
use serde_json::value::RawValue;
use std::ops::Range;

impl Build<'_> {
    pub(super) fn catalogue(
        &mut self,
        path: &str,
        index: ServerIndex,
        from: &document::Catalogue,
        server: &mut Server,
    ) {
        server.modern = from.modern;
        if let Some(text) = &from.legacy_revision {
            server.revision_legacy = Revision::parse(text.as_bytes()).filter(|r| r.era() == Era::Legacy);
            if server.revision_legacy.is_none() {
                self.warning(
                    &format!("{path}.legacy_revision"),
                    format!("{text:?} is no legacy revision we speak"),
                );
            }
        }
        server.ready = server.modern || server.revision_legacy.is_some();
        if !server.ready {
            self.warning(path, "the server speaks no revision that we do");
        }
        if let Some(capabilities) = self.object(&format!("{path}.capabilities"), &from.capabilities) {
            server.features = Features::read(&capabilities);
            server.capabilities = capabilities;
        }
        if let Some(info) = &from.server_info {
            server.server_info = self.object(&format!("{path}.server_info"), info);
        }
        if let Some(text) = &from.instructions {
            server.instructions = Some(head_of(text, INSTRUCTIONS_BYTES_MAX).into());
        }
        server.tools = self.tools(path, index, &from.tools, server);
        server.prompts = self.prompts(path, index, &from.prompts, server);
        server.resources = self.resources(path, index, &from.resources);
        server.templates = self.templates(path, index, &from.resource_templates);
        server.features.tools |= !server.tools.is_empty();
        server.features.prompts |= !server.prompts.is_empty();
        server.features.resources |= server.has_resources();
    }

    /// An object on one line, or a warning.
    fn object(&mut self, path: &str, raw: &RawValue) -> Option<Bytes> {
        let line = definition::one_line(raw.get().as_bytes());
        if json::check(&line, json::DEPTH_MAX).is_ok() && line.first() == Some(&b'{') {
            return Some(line.into());
        }
        self.warning(path, "not an object; left out");
        None
    }

    /// A listable definition and its path, or a warning.
    fn definition(
        &mut self,
        path: String,
        raw: &RawValue,
        rules: &definition::Rules,
    ) -> Option<(String, definition::Definition)> {
        match definition::read(raw.get(), rules) {
            Ok(read) => {
                for mended in &read.mended {
                    self.warning(&path, format!("{}: {mended}", read.key));
                }
                Some((path, read))
            }
            Err(fault) => {
                self.warning(&path, format!("not listed: {fault}"));
                None
            }
        }
    }

    /// Whether there is room for one more; says so once when there is not.
    fn room(&mut self, path: &str, held: usize, max: usize) -> bool {
        if held >= max {
            self.warning(
                path,
                format!("the rest is not listed: the gateway holds at most {max}"),
            );
        }
        held < max
    }

    fn tools(
        &mut self,
        path: &str,
        index: ServerIndex,
        raw: &[Box<RawValue>],
        server: &mut Server,
    ) -> Range<u32> {
        let first = self.snapshot.tools.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.tools.len(), ITEMS_MAX) {
                break;
            }
            let Some((path, read)) = self.definition(format!("{path}.tools[{j}]"), raw, &definition::TOOL)
            else {
                continue;
            };
            let exposed = names::exposed(&server.name, &read.key);
            let at = ToolIndex(self.snapshot.tools.len() as u32);
            if let Some(holder) = self.snapshot.tool_by_exposed.get(exposed.as_bytes()) {
                let holder = &self.snapshot.tools[holder.at()];
                let message = format!(
                    "{}: not listed: {exposed} is the name of {:?} already",
                    read.key, holder.name
                );
                self.warning(&path, message);
                continue;
            }
            let schema = json::member(&read.text, json::root(&read.text), "inputSchema");
            let header_params =
                schema.map_or(Ok(Vec::new()), |schema| header_params::find(&read.text, schema));
            if let Err(fault) = &header_params {
                self.warning(
                    &path,
                    format!("{}: not listed to clients of 2026-07-28: {fault}", read.key),
                );
            }
            let exposed_definition = renamed(&read, &exposed);
            let legacy = definition::without_output_schema(&read.text).and_then(|own| {
                Some(Box::new((
                    own,
                    definition::without_output_schema(&exposed_definition)?,
                )))
            });
            self.snapshot
                .tool_by_exposed
                .insert(exposed.as_bytes().into(), at);
            server.tool_by_name.insert(read.key.as_bytes().into(), at);
            self.snapshot.tools.push(Tool {
                server: index,
                digest: item_digest(&server.name, &exposed_definition),
                name: read.key.into(),
                exposed: exposed.into(),
                definition: read.text,
                exposed_definition,
                legacy,
                modern_listed: header_params.is_ok(),
                header_params: header_params.unwrap_or_default(),
            });
        }
        first as u32..self.snapshot.tools.len() as u32
    }

    fn prompts(
        &mut self,
        path: &str,
        index: ServerIndex,
        raw: &[Box<RawValue>],
        server: &mut Server,
    ) -> Range<u32> {
        let first = self.snapshot.prompts.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.prompts.len(), ITEMS_MAX) {
                break;
            }
            let Some((path, read)) =
                self.definition(format!("{path}.prompts[{j}]"), raw, &definition::PROMPT)
            else {
                continue;
            };
            let exposed = names::exposed(&server.name, &read.key);
            let at = PromptIndex(self.snapshot.prompts.len() as u32);
            if self.snapshot.prompt_by_exposed.contains_key(exposed.as_bytes()) {
                self.warning(
                    &path,
                    format!(
                        "{}: not listed: {exposed} is another prompt's name already",
                        read.key
                    ),
                );
                continue;
            }
            let exposed_definition = renamed(&read, &exposed);
            self.snapshot
                .prompt_by_exposed
                .insert(exposed.as_bytes().into(), at);
            server.prompt_by_name.insert(read.key.as_bytes().into(), at);
            self.snapshot.prompts.push(Prompt {
                server: index,
                digest: item_digest(&server.name, &exposed_definition),
                name: read.key.into(),
                exposed: exposed.into(),
                definition: read.text,
                exposed_definition,
            });
        }
        first as u32..self.snapshot.prompts.len() as u32
    }

    fn resources(&mut self, path: &str, index: ServerIndex, raw: &[Box<RawValue>]) -> Range<u32> {
        let first = self.snapshot.resources.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.resources.len(), ITEMS_MAX) {
                break;
            }
            let Some((path, read)) =
                self.definition(format!("{path}.resources[{j}]"), raw, &definition::RESOURCE)
            else {
                continue;
            };
            if self.is_foreign(&path, &read.key) {
                continue;
            }
            let at = self.snapshot.resources.len() as u32;
            let holders = self
                .snapshot
                .resources_by_uri
                .entry(read.key.as_str().into())
                .or_default();
            if holders.last().is_some_and(|last| *last as usize >= first) {
                self.warning(&path, format!("{}: not listed twice", read.key));
                continue;
            }
            holders.push(at);
            self.snapshot.resources.push(Resource {
                server: index,
                digest: item_digest("", &read.text),
                uri: read.key.into(),
                definition: read.text,
                uri_span: read.key_span,
            });
        }
        first as u32..self.snapshot.resources.len() as u32
    }

    fn templates(&mut self, path: &str, index: ServerIndex, raw: &[Box<RawValue>]) -> Range<u32> {
        let first = self.snapshot.templates.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.templates.len(), TEMPLATES_MAX) {
                break;
            }
            let path = format!("{path}.resource_templates[{j}]");
            let Some((path, read)) = self.definition(path, raw, &definition::TEMPLATE) else {
                continue;
            };
            if self.is_foreign(&path, &read.key) {
                continue;
            }
            if self.snapshot.templates[first..]
                .iter()
                .any(|t| *t.text == *read.key)
            {
                self.warning(&path, format!("{}: not listed twice", read.key));
                continue;
            }
            let template = UriTemplate::parse(&read.key);
            if template.is_none() {
                self.warning(
                    &path,
                    format!(
                        "{}: not a template we can match; reads of it may not find the server",
                        read.key
                    ),
                );
            }
            self.snapshot.templates.push(Template {
                server: index,
                digest: item_digest("", &read.text),
                template,
                text: read.key.into(),
                definition: read.text,
                uri_span: read.key_span,
            });
        }
        first as u32..self.snapshot.templates.len() as u32
    }

    /// A server may not offer URIs that we read as another server's.
    fn is_foreign(&mut self, path: &str, uri: &str) -> bool {
        let named = uri
            .strip_prefix(resolve::URI_PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .map(|(name, _)| name);
        let foreign = named.is_some_and(|name| self.known.contains(name));
        if foreign {
            self.warning(
                path,
                format!("not listed: {uri} is the gateway's name for another server's resource"),
            );
        }
        foreign
    }
}

fn item_digest(server: &str, definition: &[u8]) -> ItemDigest {
    let mut hash = Context::new(&SHA256);
    hash.update(server.as_bytes());
    hash.update(&[0]);
    hash.update(definition);
    let mut half = ItemDigest::default();
    half.copy_from_slice(&hash.finish().as_ref()[..16]);
    half
}

fn renamed(read: &definition::Definition, exposed: &str) -> Bytes {
    // An exposed name needs no escapes.
    definition::spliced(&read.text, read.key_span, format!("\"{exposed}\"").as_bytes())
}

impl Features {
    /// Reads a `capabilities` object.
    fn read(doc: &[u8]) -> Self {
        let root = json::root(doc);
        let object = |key| json::member(doc, root, key).filter(|v| json::kind(doc, *v) == Some(Kind::Object));
        let resources = object("resources");
        let subscribe = resources.and_then(|r| json::member(doc, r, "subscribe"));
        Self {
            tools: object("tools").is_some(),
            prompts: object("prompts").is_some(),
            resources: resources.is_some(),
            resources_subscribe: subscribe.is_some_and(|s| json::kind(doc, s) == Some(Kind::True)),
            completions: object("completions").is_some(),
            logging: object("logging").is_some(),
        }
    }
}
