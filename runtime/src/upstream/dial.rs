//! Opening a connection: name → addresses → TCP → TLS, all within the connect deadline.
//!
//! Several addresses are tried in RFC 8305's manner: families alternate, the next one starts when the last has
//! failed or has kept us waiting, and the first to connect wins. Dropping the losers is safe: nothing was read
//! from them, and their sockets die with them. Dials of one endpoint begin at different addresses in turn, so
//! that the load of a name with many addresses spreads.

use super::{
    clock::{Clock, End},
    endpoint::{Endpoint, Host, Place},
    fault::{Fault, FaultKind},
};
use crate::{
    io,
    side::dns::{Resolved, Resolver},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use ringway_core::limits::{CONNECT_STAGGER_MS, KEEPALIVE_IDLE_MS, KEEPALIVE_INTERVAL_MS, KEEPALIVE_PROBES};
use ringway_proto::snapshot::HttpVersion;
use std::{
    cell::RefCell,
    collections::HashMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// A connected stream and what to speak on it.
pub(super) struct Dialled {
    pub stream: io::Stream,
    pub http2: bool,
}

/// The worker's own copies of resolved names, so that a dial asks the side thread once per time to live.
pub(super) struct Names {
    resolver: Resolver,
    copies: RefCell<HashMap<(Arc<str>, u16), Resolved>>,
}

/// Connects to `endpoint`; `turn` is how many dials came before.
pub(super) async fn dial(
    names: &Names,
    endpoint: &Endpoint,
    turn: u64,
    clock: &Clock,
) -> Result<Dialled, Fault> {
    let end = clock.end(clock.connect, FaultKind::ConnectTimeout);
    let connecting = async {
        let stream = match endpoint.place() {
            Place::Socket(path) => io::connect_unix(path)
                .await
                .map_err(|e| Fault::unsent(FaultKind::Connect, format!("{}: {e}", path.display())))?,
            Place::Host {
                host: Host::Address(address),
                port,
            } => connect_one(SocketAddr::new(*address, *port)).await?,
            Place::Host {
                host: Host::Name(name),
                port,
            } => {
                let addresses = names.resolve(name, *port).await?;
                connect_any(&in_turn(&addresses, turn)).await?
            }
        };
        shake_hands(stream, endpoint, &end).await
    };
    end.bound(connecting)
        .await
        .map_err(|kind| End::fault(kind, false, "connection"))?
}

async fn shake_hands(stream: io::Stream, endpoint: &Endpoint, end: &End) -> Result<Dialled, Fault> {
    let Some(tls) = endpoint.tls() else {
        return Ok(Dialled {
            stream,
            http2: endpoint.http() == HttpVersion::Http2,
        });
    };
    let shaken = io::tls::connect(stream, tls.config.clone(), tls.name.clone(), end.at).await;
    let stream = shaken.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => End::fault(end.kind, false, "TLS handshake"),
        _ => Fault::unsent(FaultKind::Tls, format!("TLS handshake: {error}")),
    })?;
    let http2 = stream.alpn() == Some(b"h2");
    if endpoint.http() == HttpVersion::Http2 && !http2 {
        return Err(Fault::unsent(
            FaultKind::Tls,
            "the server did not agree to HTTP/2",
        ));
    }
    Ok(Dialled { stream, http2 })
}

async fn connect_one(address: SocketAddr) -> Result<io::Stream, Fault> {
    let connected = io::connect_tcp(address).await;
    let stream = connected.map_err(|e| Fault::unsent(FaultKind::Connect, format!("{address}: {e}")))?;
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    // Without probes a stream over a vanished host would wait for its longest silence; a call has deadlines.
    if let Err(error) = stream.set_keepalive(
        millis(KEEPALIVE_IDLE_MS),
        millis(KEEPALIVE_INTERVAL_MS),
        KEEPALIVE_PROBES,
    ) {
        tracing::debug!(%error, "a connection has no keep-alive probes");
    }
    Ok(stream)
}

/// The first of `addresses` to connect.
async fn connect_any(addresses: &[SocketAddr]) -> Result<io::Stream, Fault> {
    let mut last = Fault::unsent(FaultKind::Resolve, "the name has no address");
    let mut rest = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        match rest.next() {
            Some(address) => attempts.push(connect_one(*address)),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let ended = if rest.len() == 0 {
            attempts.next().await
        } else {
            let stagger = Duration::from_millis(CONNECT_STAGGER_MS);
            io::timeout(stagger, attempts.next()).await.unwrap_or(None)
        };
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(fault)) => last = fault,
            None => {}
        }
    }
}

/// Families alternate, beginning with the resolver's favourite; within each, `turn` rotates.
fn in_turn(addresses: &[SocketAddr], turn: u64) -> Vec<SocketAddr> {
    let favourite_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) = addresses
        .iter()
        .copied()
        .partition(|a| a.is_ipv6() == favourite_is_v6);
    for family in [&mut one, &mut other] {
        if !family.is_empty() {
            // The remainder fits: it is smaller than a length.
            let by = turn % family.len() as u64;
            family.rotate_left(by as usize);
        }
    }
    let mut order = Vec::with_capacity(addresses.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let (a, b) = (one.next(), other.next());
        if a.is_none() && b.is_none() {
            return order;
        }
        order.extend(a.into_iter().chain(b));
    }
}

impl Names {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            copies: RefCell::default(),
        }
    }

    async fn resolve(&self, name: &Arc<str>, port: u16) -> Result<Arc<[SocketAddr]>, Fault> {
        let key = (name.clone(), port);
        let now = Instant::now();
        if let Some(copy) = self.copies.borrow().get(&key)
            && now < copy.fresh_until
        {
            return Ok(copy.addresses.clone());
        }
        let resolved = self.resolver.resolve_until(name, port).await;
        let resolved =
            resolved.map_err(|error| Fault::unsent(FaultKind::Resolve, format!("{name}: {error}")))?;
        let mut copies = self.copies.borrow_mut();
        if copies.len() >= self.resolver.names_max() {
            copies.retain(|_, copy| now < copy.fresh_until);
        }
        let addresses = resolved.addresses.clone();
        if copies.len() < self.resolver.names_max() {
            copies.insert(key, resolved);
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_dials_take_turns() {
        let v4 = |n: u8| SocketAddr::from(([192, 0, 2, n], 80));
        let v6 = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80));
        let found = [v6(1), v6(2), v4(1), v4(2), v4(3)];
        assert_eq!(in_turn(&found, 0), [v6(1), v4(1), v6(2), v4(2), v4(3)]);
        assert_eq!(in_turn(&found, 1), [v6(2), v4(2), v6(1), v4(3), v4(1)]);
        assert_eq!(in_turn(&[v4(1)], 7), [v4(1)]);
        assert!(in_turn(&[], 3).is_empty());
    }
}
