//! Presents one command as Streamable HTTP on a Unix socket, for trying things by hand:
//!
//! ```sh
//! cargo run -p ringway-sandbox --example bridge -- /tmp/bridge [--per-session] uvx mcp-server-time
//! curl --unix-socket /tmp/bridge/server.sock http://localhost/mcp …
//! ```
//!
//! Prints the status each second while it changes; ends on Ctrl-C, with everything it started.

use ringway_sandbox::{Launch, Limits, LocalServer, Sandbox, Sharing, Transport};
use std::{error::Error, time::Duration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter("info")
        .with_writer(std::io::stderr)
        .init();
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let own = args
        .iter()
        .position(|arg| arg == "--per-session")
        .map(|at| args.remove(at));
    let [directory, program, rest @ ..] = &args[..] else {
        return Err("usage: bridge SOCKET_DIRECTORY [--per-session] PROGRAM [ARGUMENT]… | URL".into());
    };
    let mut server = LocalServer::stdio(Launch::command("server", program, rest));
    if program.starts_with("http") {
        server.transport = Transport::LegacySse {
            url: program.clone(),
            headers: Vec::new(),
        };
    }
    if own.is_some() {
        server.sharing = Sharing::PerSession;
    }
    let sandbox = Sandbox::new(directory.into(), Limits::default())?;
    println!("{}", sandbox.ensure(server).await?);
    let mut shown = String::new();
    loop {
        let status = format!("{:?}", sandbox.status());
        if status != shown {
            println!("{status}");
            shown = status;
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    sandbox.shutdown(Duration::from_secs(10)).await;
    Ok(())
}
