//! `ringway keys`: API keys of the store in the state directory.
//!
//! The text of a key is printed once, alone on stdout, so that `ringway keys create … > key` works; everything
//! said about it goes to stderr. A running `ringway up` notices every change by itself.

use super::{
    exit::{Exit, Stop, note, say, say_json},
    place::{StateArgs, config_if_good, open_state},
};
use crate::{
    config::{Config, Surroundings, System, duration, moment, moment_text},
    keys::{Created, NewKey, Record, Store, StoreError},
};
use clap::{Args, Subcommand, ValueEnum};
use ringway_proto::snapshot::Interface;
use std::path::PathBuf;

/// Create, list, revoke and rotate API keys
///
/// They are kept, as hashes, in the store of the state directory. A running gateway notices every change.
#[derive(Args, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: Command,
    /// Configuration that defines the roles and names the state directory [default: ringway.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: GlobalState,
}

/// [`StateArgs`], accepted behind the subcommand too.
#[derive(Args, Debug)]
struct GlobalState {
    /// Directory of the key store [default: as for `ringway up`]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a key and print it; it is never shown again
    Create {
        /// Who or what will hold it, as records will name it
        name: String,
        /// A role to grant; repeat for more
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
        /// The tenant it belongs to [default: default]
        #[arg(long)]
        tenant: Option<String>,
        /// When it ends: 90d, 12h, or 2027-01-01T00:00:00Z [default: never]
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// How tools are presented to it [default: as the gateway is configured]
        #[arg(long, value_enum)]
        interface: Option<Shown>,
        /// Print key and record as JSON
        #[arg(long)]
        json: bool,
    },
    /// List keys; their texts are not kept
    List {
        /// Revoked and ended ones too
        #[arg(long)]
        all: bool,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key now and for good
    Revoke {
        /// Its id, as `ringway keys list` shows it
        id: String,
        /// Print the record as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new key with the same rights; the old one ends after a while
    Rotate {
        /// The id of the old key
        id: String,
        /// How long the old key goes on
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        overlap: String,
        /// Print key and record as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shown {
    List,
    Search,
    Auto,
}

/// Runs the command.
pub fn run(args: KeysArgs) -> Result<Exit, Stop> {
    let config = config_if_good(args.config.as_deref());
    let state = open_state(
        &StateArgs {
            state_dir: args.state.state_dir,
        },
        config.as_ref(),
    )?;
    let store = Store::of(&state);
    let now = System.now();
    match args.command {
        Command::Create {
            name,
            roles,
            tenant,
            expires,
            interface,
            json,
        } => {
            warn_of_roles(config.as_ref(), &roles);
            let new = NewKey {
                name,
                tenant,
                roles,
                expires_at: expires.map(|text| end(&text, now)).transpose()?,
                interface: interface.map(|shown| match shown {
                    Shown::List => Interface::List,
                    Shown::Search => Interface::Search,
                    Shown::Auto => Interface::Auto,
                }),
                taken: taken(config.as_ref()),
            };
            show(&store.create(new, now).map_err(stop)?, json, "")
        }
        Command::List { all, json } => list(&store.list().map_err(stop)?, all, json, now),
        Command::Revoke { id, json } => {
            let record = store.revoke(&id, now).map_err(stop)?;
            if json {
                say_json(&record)?;
            } else {
                note(&format!("revoked {id}; a running gateway refuses it from now on"));
            }
            Ok(Exit::Ok)
        }
        Command::Rotate { id, overlap, json } => {
            let overlap =
                duration(&overlap).map_err(|e| Stop::new(Exit::Usage, "--overlap is not a duration", e))?;
            let created = store
                .rotate(&id, overlap, &taken(config.as_ref()), now)
                .map_err(stop)?;
            let until = moment_text(now.saturating_add(overlap.as_secs()));
            show(
                &created,
                json,
                &format!("; {id} goes on until {until} at the latest"),
            )
        }
    }
}

fn show(created: &Created, json: bool, more: &str) -> Result<Exit, Stop> {
    let record = &created.record;
    if json {
        say_json(&serde_json::json!({"key": created.key.expose(), "record": record}))?;
    } else {
        say(created.key.expose());
        note(&format!("this is key {}, shown only this once{more}", record.id));
    }
    Ok(Exit::Ok)
}

fn list(records: &[Record], all: bool, json: bool, now: u64) -> Result<Exit, Stop> {
    let live = |record: &&Record| {
        all || (record.revoked_at.is_none() && record.expires_at.is_none_or(|at| at > now))
    };
    let shown: Vec<&Record> = records.iter().filter(live).collect();
    if json {
        say_json(&shown)?;
        return Ok(Exit::Ok);
    }
    let width = shown.iter().map(|record| record.id.len()).max().unwrap_or(0);
    for record in &shown {
        say(&format!(
            "{:width$}  {}  {}  roles {}, tenant {}, made {}",
            record.id,
            record.standing(now),
            record.name,
            record.roles.join(" "),
            record.tenant,
            moment_text(record.created_at)
        ));
    }
    if shown.is_empty() {
        let hidden = if records.is_empty() {
            ""
        } else {
            "; --all shows those that have ended"
        };
        note(&format!("no keys{hidden}"));
    }
    Ok(Exit::Ok)
}

/// A duration from now or a moment.
fn end(text: &str, now: u64) -> Result<u64, Stop> {
    if let Ok(length) = duration(text) {
        return Ok(now.saturating_add(length.as_secs()));
    }
    moment(text).map_err(|_| {
        Stop::new(
            Exit::Usage,
            "--expires is neither a duration nor a moment",
            "write 90d or 2027-01-01T00:00:00Z",
        )
    })
}

/// Ids of the configuration's own keys, which the store must not give again.
fn taken(config: Option<&Config>) -> Vec<String> {
    config
        .map(|config| config.keys.iter().map(|key| key.id.clone()).collect())
        .unwrap_or_default()
}

fn warn_of_roles(config: Option<&Config>, roles: &[String]) {
    let Some(config) = config else {
        note("no usable configuration here, so the roles were not looked up; --config names one");
        return;
    };
    for role in roles {
        if !config.roles.iter().any(|known| known.name == *role) {
            note(&format!(
                "{} defines no role {role:?}; the key has no rights by it until it does",
                config.file
            ));
        }
    }
}

fn stop(error: StoreError) -> Stop {
    let next = match &error {
        StoreError::Unknown { .. } | StoreError::NotLive { .. } => {
            "`ringway keys list --all` shows every key"
        }
        StoreError::Io { .. } => "is it your state directory? --state-dir names another",
        StoreError::Damaged { .. } => "restore the file from a copy, or move it away to start with no keys",
        StoreError::Busy { .. } => "if no other `ringway keys` runs, try again",
        StoreError::BadName { .. } => return Stop::plain(Exit::Usage, error.to_string()),
        StoreError::ExpiresInPast => return Stop::plain(Exit::Usage, error.to_string()),
        StoreError::Full => return Stop::plain(Exit::Failure, error.to_string()),
    };
    Stop::new(Exit::Failure, error.to_string(), next)
}
