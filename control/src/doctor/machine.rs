//! The checks themselves: the kernel, its limits, addresses, directories and programs.
//!
//! None takes longer than [`WITHIN`].

use super::Check;
use ringway_sandbox::http_client::{HttpClient, read_body};
use rustix::process::{Resource, getrlimit};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

/// How long a program may take to say its version; `uvx` on a cold cache takes a second.
const WITHIN: Duration = Duration::from_secs(5);
/// The answer of `/readyz` with a thousand servers.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Descriptors below which a fleet of a few thousand agents runs out.
const NOFILE_GOOD: u64 = 65_536;
/// Descriptors below which even a laptop's gateway with some local servers runs out.
const NOFILE_LEAST: u64 = 1024;
/// Locked memory a ring may need per worker before Linux 5.12, which stopped counting it.
const MEMLOCK_PER_WORKER: u64 = 256 << 10;

/// The operating system and its cores.
pub(super) fn kernel() -> Check {
    let name = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let found = format!(
        "{} {} {}, {cores} cores usable",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    );
    if name.sysname().to_bytes() == b"Linux" {
        Check::ok("kernel", found)
    } else {
        Check::fail(
            "kernel",
            found,
            "the gateway runs on Linux; use a container or a virtual machine",
        )
    }
}

/// Whether workers can use io_uring, and with which flags.
pub(super) fn io_uring() -> Check {
    let build = |configure: &dyn Fn(&mut io_uring::Builder)| {
        let mut builder = io_uring::IoUring::builder();
        configure(&mut builder);
        builder.build(8)
    };
    let advice = |error: &std::io::Error| {
        let forbidden = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
        match (error.kind(), forbidden.trim()) {
            (_, "1" | "2") => {
                "the gateway uses epoll instead; `sysctl kernel.io_uring_disabled=0` allows io_uring"
            }
            (std::io::ErrorKind::PermissionDenied, _) => {
                "the gateway uses epoll instead; the container's seccomp profile must allow io_uring_setup, \
                 io_uring_enter and io_uring_register"
            }
            _ => "the gateway uses epoll instead; Linux 6.0 or newer is best",
        }
    };
    let best = build(&|b| {
        b.setup_single_issuer().setup_coop_taskrun();
    });
    match (best, build(&|_| ())) {
        (Ok(_), _) => Check::ok("io_uring", "usable, with SINGLE_ISSUER and COOP_TASKRUN"),
        (Err(_), Ok(_)) => Check::warn(
            "io_uring",
            "usable, without SINGLE_ISSUER and COOP_TASKRUN",
            "a call costs about a third more CPU; Linux 6.0 or newer has these flags",
        ),
        (_, Err(error)) => Check::warn("io_uring", format!("not usable: {error}"), advice(&error)),
    }
}

/// Locked memory, where the kernel counts rings as such.
pub(super) fn memlock(workers: u64) -> Check {
    let limit = getrlimit(Resource::Memlock).current;
    let needed = MEMLOCK_PER_WORKER * workers;
    let found = limit.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
    let counted = kernel_version().is_none_or(|version| version < (5, 12));
    match limit {
        Some(bytes) if bytes < needed && counted => Check::warn(
            "memlock",
            found,
            format!(
                "this kernel counts rings as locked memory; raise it to {} KiB (LimitMEMLOCK=, --ulimit memlock)",
                needed >> 10
            ),
        ),
        _ => Check::ok("memlock", found),
    }
}

fn kernel_version() -> Option<(u32, u32)> {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().ok()?.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Open files.
pub(super) fn nofile() -> Check {
    let limit = getrlimit(Resource::Nofile);
    let number = |n: Option<u64>| n.map_or("unlimited".to_owned(), |n| n.to_string());
    let found = format!("{} now, up to {}", number(limit.current), number(limit.maximum));
    // `ringway up` raises the first to the second by itself, so the second is what counts.
    match limit.maximum {
        Some(most) if most < NOFILE_LEAST => Check::fail(
            "nofile",
            found,
            format!("raise the hard limit to at least {NOFILE_LEAST} (LimitNOFILE=, ulimit -Hn)"),
        ),
        Some(most) if most < NOFILE_GOOD => Check::warn(
            "nofile",
            found,
            format!(
                "a connection takes one, a streaming call two; {NOFILE_GOOD} serve a fleet (LimitNOFILE=, ulimit -Hn)"
            ),
        ),
        _ => Check::ok("nofile", found),
    }
}

/// True when a gateway answers at its admin address.
pub(super) async fn gateway_runs(admin: SocketAddr) -> bool {
    let asked = async {
        let address = format!("http://{admin}/readyz").parse().ok()?;
        let (http, no_body) = (HttpClient::new(), Default::default());
        let answer = http
            .request(&address, hyper::Method::GET, None, Vec::new(), no_body, WITHIN)
            .await;
        let body = read_body(answer.ok()?.into_body(), ANSWER_BYTES_MAX, WITHIN)
            .await
            .ok()?;
        serde_json::from_slice::<serde_json::Value>(&body)
            .ok()?
            .get("snapshot")?
            .as_u64()
    };
    asked.await.is_some()
}

/// Whether an address can be listened on.
pub(super) fn port(what: &'static str, address: SocketAddr, running: bool) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(what, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && running => {
            Check::ok(what, format!("{address} is in use, and a gateway runs"))
        }
        Err(error) => {
            let advice = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another process listens there (`ss -ltnp` tells which); stop it, or choose another address"
                }
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one"
                }
                std::io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
                _ => "choose another address",
            };
            match error.kind() {
                std::io::ErrorKind::AddrInUse => Check::warn(what, format!("{address} is in use"), advice),
                _ => Check::fail(what, format!("{address}: {error}"), advice),
            }
        }
    }
}

/// The state directory, or the place where it would be made.
pub(super) fn state_dir(path: &Path) -> Check {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = path.ancestors().skip(1).find(|ancestor| ancestor.exists());
            match parent.map(writable) {
                Some(true) => Check::ok("state dir", format!("{shown} is made at the first start")),
                _ => Check::fail(
                    "state dir",
                    format!("{shown} cannot be made"),
                    "set state_dir to a place you may write to",
                ),
            }
        }
        Err(error) => Check::fail(
            "state dir",
            format!("{shown}: {error}"),
            "set state_dir to a place you may write to",
        ),
        Ok(found) if !found.is_dir() => Check::fail(
            "state dir",
            format!("{shown} is no directory"),
            "move it away, or set state_dir",
        ),
        Ok(_) if !writable(path) => Check::fail(
            "state dir",
            format!("{shown} is not writable"),
            "change its owner, or set state_dir",
        ),
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            let mine = found.uid() == rustix::process::geteuid().as_raw();
            match (mine, mode & 0o077) {
                (true, 0) => Check::ok("state dir", format!("{shown}, mode {mode:03o}")),
                (true, _) => Check::warn(
                    "state dir",
                    format!("{shown}, mode {mode:03o}"),
                    format!("others can look into it; chmod 700 {shown}"),
                ),
                (false, _) => Check::warn(
                    "state dir",
                    format!("{shown} belongs to another user"),
                    "keys are kept in it; let it belong to the gateway's user alone",
                ),
            }
        }
    }
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// A program that servers are started with.
pub(super) async fn program(name: &'static str, commands: &[&str], advice: &str, needed: bool) -> Check {
    for command in commands {
        let asked = tokio::process::Command::new(command)
            .arg("--version")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        if let Ok(Ok(said)) = tokio::time::timeout(WITHIN, asked).await
            && said.status.success()
        {
            let text = String::from_utf8_lossy(&said.stdout);
            return Check::ok(name, text.lines().next().unwrap_or("present").trim().to_owned());
        }
    }
    if needed {
        Check::fail(name, "not found, and a configured server needs it", advice)
    } else {
        Check::warn(name, "not found", advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_port_in_use_is_told_from_a_free_one() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(port("listen", address, false).state, State::Warn);
        assert_eq!(port("listen", address, true).state, State::Ok);
        drop(held);
        assert_eq!(port("listen", address, false).state, State::Ok);
        assert_eq!(
            port("listen", "192.0.2.1:1".parse().unwrap(), false).state,
            State::Fail
        );
    }

    #[test]
    fn a_state_directory_others_can_read_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        assert_eq!(state_dir(dir.path()).state, State::Warn);
        mode(0o700);
        assert_eq!(state_dir(dir.path()).state, State::Ok);
        assert_eq!(state_dir(&dir.path().join("not/yet")).state, State::Ok);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(state_dir(&dir.path().join("file")).state, State::Fail);
    }

    #[tokio::test]
    async fn a_missing_program_fails_only_where_it_is_needed() {
        let missing = ["ringway-no-such-program"];
        assert_eq!(
            program("x", &missing, "install it", false).await.state,
            State::Warn
        );
        assert_eq!(
            program("x", &missing, "install it", true).await.state,
            State::Fail
        );
    }
}
