//! `ringway doctor`: can this machine run a gateway well, and if not, what to do?
//!
//! Each check is a function in [`machine`] that returns one [`Check`]; none changes anything. Only what would keep a gateway from starting or serving is a `fail`; what costs speed or
//! a kind of server is a `warn`.

mod machine;

use crate::{
    cli::{
        exit::{Exit, Stop, say, say_json},
        place::{StateArgs, config_if_good, state_path},
    },
    config::{Loader, Workers},
};
use clap::Args;
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf};

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not at its best.
    Warn,
    /// It will not work.
    Fail,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warn,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Fail,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }
}

/// Look at this machine and say what would keep a gateway from running well
///
/// Nothing is changed. The exit code is 1 when a check has failed; warnings do not count.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Configuration whose addresses and servers to check for
    #[arg(value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
    /// Where state is kept.
    #[command(flatten)]
    pub state: StateArgs,
}

/// What the checks are about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Addresses a gateway would listen on, with what for.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// Where a running gateway says that it is alive.
    pub admin: Option<SocketAddr>,
    /// Where it would keep its state.
    pub state_dir: PathBuf,
    /// Programs without which a configured server cannot run.
    pub needed: Vec<&'static str>,
    /// Threads of the data plane.
    pub workers: u64,
}

/// Runs the command.
pub async fn run(args: &DoctorArgs) -> Result<Exit, Stop> {
    let config = match &args.config {
        None => config_if_good(None),
        Some(file) => Some(Loader::new(file).load().config.ok_or_else(|| {
            Stop::new(
                Exit::Config,
                format!("{} has errors", file.display()),
                "`ringway check` shows them",
            )
        })?),
    };
    let settings = config
        .as_ref()
        .map(|config| config.settings.clone())
        .unwrap_or_default();
    let mut addresses: Vec<_> = settings
        .listeners
        .iter()
        .map(|listener| ("listen", listener.address))
        .collect();
    addresses.extend(settings.admin.map(|address| ("admin", address)));
    let subject = Subject {
        addresses,
        admin: settings.admin,
        state_dir: state_path(&args.state, config.as_ref())?,
        needed: config.as_ref().map(crate::up::programs).unwrap_or_default(),
        workers: match settings.workers {
            Workers::Auto => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            Workers::Count(count) => count.get() as u64,
        },
    };
    report(&checks(&subject).await, args.json)
}

/// Prints the checks. The exit code is failure if one of them failed.
pub fn report(checks: &[Check], json: bool) -> Result<Exit, Stop> {
    if json {
        say_json(&checks)?;
    } else {
        for check in checks {
            let mark = match check.state {
                State::Ok => "ok  ",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            say(&format!("{mark}  {:10}  {}", check.name, check.found));
            if let Some(advice) = &check.advice {
                say(&format!("{:18}→ {advice}", ""));
            }
        }
    }
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(if failed { Exit::Failure } else { Exit::Ok })
}

/// Every check, in the order in which they are shown.
pub async fn checks(subject: &Subject) -> Vec<Check> {
    let mut checks = vec![
        machine::kernel(),
        machine::io_uring(),
        machine::memlock(subject.workers),
        machine::nofile(),
    ];
    let running = match subject.admin {
        Some(address) => machine::gateway_runs(address).await,
        None => false,
    };
    for (what, address) in &subject.addresses {
        checks.push(machine::port(what, *address, running));
    }
    checks.push(machine::state_dir(&subject.state_dir));
    let programs: [(&'static str, &[&str], &str); 4] = [
        (
            "node",
            &["node"],
            "servers from npm need it; install Node 20 or newer",
        ),
        ("npx", &["npx"], "servers from npm need it; it comes with Node"),
        (
            "uvx",
            &["uvx"],
            "servers from PyPI need it; see docs.astral.sh/uv",
        ),
        (
            "python",
            &["python3", "python"],
            "some servers need it; uvx can bring its own",
        ),
    ];
    for (name, commands, advice) in programs {
        checks.push(machine::program(name, commands, advice, subject.needed.contains(&name)).await);
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_check_fails_the_command() {
        let ok = Check::ok("a", "fine");
        let warn = Check::warn("b", "so so", "do this");
        let fail = Check::fail("c", "bad", "do that");
        assert_eq!(report(&[ok.clone(), warn], true).unwrap(), Exit::Ok);
        assert_eq!(report(&[ok, fail], true).unwrap(), Exit::Failure);
    }
}
