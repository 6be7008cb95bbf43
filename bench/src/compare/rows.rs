//! Every line that a table can have, and which of them a cell has by default.

use super::{
    failure::{Failure, Result},
    proxies::{Leg, NginxOptions, Proxy, RingwayOptions, Row},
    work::{Cell, Era, Http},
};

const CLEAR: Leg = Leg {
    http: Http::One,
    tls: false,
    era: Era::Modern,
};
const HTTP2: Leg = Leg {
    http: Http::Two,
    ..CLEAR
};
const TLS: Leg = Leg { tls: true, ..CLEAR };
const LEGACY: Leg = Leg {
    era: Era::Legacy,
    ..CLEAR
};

/// The endpoint of all servers together, and a tool's name there.
const MERGED: (&str, &str) = ("/mcp", "up__sized");
/// The endpoint of one server.
const TRANSPARENT: (&str, &str) = ("/servers/up/mcp", "sized");
/// What plain proxies pass on.
const PLAIN: (&str, &str) = ("/mcp", "sized");

/// The row whose figure others are divided by.
pub const BASE: &str = "nginx";
/// The row that shows the machine's state.
pub const FLOOR: &str = "floor";

/// Rows of the table of small calls: every one there is.
const SMALL: [&str; 28] = [
    "direct",
    FLOOR,
    "floor-uring",
    BASE,
    "nginx-unbuffered",
    "nginx-log",
    "nginx-tls",
    "nginx-tls-up",
    "nginx-h2",
    "haproxy",
    "haproxy-h2-up",
    "haproxy-h2",
    "haproxy-tls",
    "hyper",
    "hyper-h2-up",
    "ringway",
    "ringway-nolog",
    "ringway-anonymous",
    "ringway-epoll",
    "ringway-transparent",
    "ringway-old",
    "ringway-new-old",
    "ringway-old-new",
    "ringway-h2-up",
    "ringway-h2",
    "ringway-h2-both",
    "ringway-tls",
    "ringway-tls-up",
];

/// All rows, in the order of the table.
pub fn all() -> Vec<Row> {
    let ringway = RingwayOptions::default();
    let nginx = NginxOptions::default();
    let row = |id: &str, label: &str, proxy, down, up, (path, tool): (&str, &str)| Row {
        id: id.to_owned(),
        label: label.to_owned(),
        proxy,
        down,
        up,
        path: path.to_owned(),
        tool: tool.to_owned(),
    };
    let plain = |id, label, proxy, down, up| row(id, label, proxy, down, up, PLAIN);
    let own = |id, label, options, down, up| row(id, label, Proxy::Ringway(options), down, up, MERGED);
    vec![
        plain(
            "direct",
            "direct: the upstream itself on the proxy's processor",
            Proxy::Direct,
            CLEAR,
            CLEAR,
        ),
        plain(
            FLOOR,
            "floor: bare layer-4 relay, epoll",
            Proxy::Relay,
            CLEAR,
            CLEAR,
        ),
        plain(
            "floor-uring",
            "floor: relay over Ringway's I/O, io_uring",
            Proxy::PingPong,
            CLEAR,
            CLEAR,
        ),
        plain(BASE, "nginx", Proxy::Nginx(nginx), CLEAR, CLEAR),
        plain(
            "nginx-unbuffered",
            "nginx, unbuffered",
            Proxy::Nginx(NginxOptions {
                unbuffered: true,
                ..nginx
            }),
            CLEAR,
            CLEAR,
        ),
        plain(
            "nginx-log",
            "nginx, access log",
            Proxy::Nginx(NginxOptions {
                access_log: true,
                ..nginx
            }),
            CLEAR,
            CLEAR,
        ),
        plain(
            "nginx-tls",
            "nginx, TLS from clients",
            Proxy::Nginx(nginx),
            TLS,
            CLEAR,
        ),
        plain(
            "nginx-tls-up",
            "nginx, TLS to the upstream",
            Proxy::Nginx(nginx),
            CLEAR,
            TLS,
        ),
        plain(
            "nginx-h2",
            "nginx, HTTP/2 from clients",
            Proxy::Nginx(nginx),
            HTTP2,
            CLEAR,
        ),
        plain("haproxy", "HAProxy", Proxy::Haproxy, CLEAR, CLEAR),
        plain(
            "haproxy-h2-up",
            "HAProxy, HTTP/2 to the upstream",
            Proxy::Haproxy,
            CLEAR,
            HTTP2,
        ),
        plain(
            "haproxy-h2",
            "HAProxy, HTTP/2 from clients",
            Proxy::Haproxy,
            HTTP2,
            CLEAR,
        ),
        plain(
            "haproxy-tls",
            "HAProxy, TLS from clients",
            Proxy::Haproxy,
            TLS,
            CLEAR,
        ),
        plain("hyper", "hyper, minimal", Proxy::Hyper, CLEAR, CLEAR),
        plain(
            "hyper-h2-up",
            "hyper, minimal, HTTP/2 to the upstream",
            Proxy::Hyper,
            CLEAR,
            HTTP2,
        ),
        own("ringway", "Ringway /mcp, everything on", ringway, CLEAR, CLEAR),
        own(
            "ringway-nolog",
            "Ringway /mcp, access log off",
            RingwayOptions {
                access_log: false,
                ..ringway
            },
            CLEAR,
            CLEAR,
        ),
        own(
            "ringway-anonymous",
            "Ringway /mcp, callers without keys",
            RingwayOptions {
                keys: false,
                ..ringway
            },
            CLEAR,
            CLEAR,
        ),
        own(
            "ringway-epoll",
            "Ringway /mcp, epoll driver",
            RingwayOptions {
                epoll: true,
                ..ringway
            },
            CLEAR,
            CLEAR,
        ),
        row(
            "ringway-transparent",
            "Ringway /servers/up/mcp, everything on",
            Proxy::Ringway(ringway),
            CLEAR,
            CLEAR,
            TRANSPARENT,
        ),
        own(
            "ringway-old",
            "Ringway /mcp, older era both sides",
            ringway,
            LEGACY,
            LEGACY,
        ),
        own(
            "ringway-new-old",
            "Ringway /mcp, new client, older server",
            ringway,
            CLEAR,
            LEGACY,
        ),
        own(
            "ringway-old-new",
            "Ringway /mcp, older client, new server",
            ringway,
            LEGACY,
            CLEAR,
        ),
        own(
            "ringway-h2-up",
            "Ringway /mcp, HTTP/2 to the upstream",
            ringway,
            CLEAR,
            HTTP2,
        ),
        own(
            "ringway-h2",
            "Ringway /mcp, HTTP/2 from clients",
            ringway,
            HTTP2,
            CLEAR,
        ),
        own(
            "ringway-h2-both",
            "Ringway /mcp, HTTP/2 both sides",
            ringway,
            HTTP2,
            HTTP2,
        ),
        own(
            "ringway-tls",
            "Ringway /mcp, TLS from clients",
            ringway,
            TLS,
            CLEAR,
        ),
        own(
            "ringway-tls-up",
            "Ringway /mcp, TLS to the upstream",
            ringway,
            CLEAR,
            TLS,
        ),
    ]
}

/// The rows of a cell: those that the command line names, or the usual ones; always with what others are divided by.
pub fn select(cell: Cell, quick: bool, named: &[String], others: &[(Row, Vec<Cell>)]) -> Result<Vec<Row>> {
    let known = all().into_iter().chain(others.iter().map(|(row, _)| row.clone()));
    let known: Vec<Row> = known.collect();
    if let Some(unknown) = named.iter().find(|id| !known.iter().any(|row| row.id == **id)) {
        return Err(Failure::new(format!(
            "--proxies: there is no row `{unknown}`; `--proxies list` prints them"
        )));
    }
    let usual = of_cell(cell, quick);
    let joins = |id: &str| {
        !quick
            && others
                .iter()
                .any(|(row, cells)| row.id == id && cells.contains(&cell))
    };
    let wanted = |row: &Row| match named {
        [] => usual.contains(&&*row.id) || joins(&row.id),
        named => named.contains(&row.id) || row.id == FLOOR || row.id == BASE,
    };
    Ok(known.into_iter().filter(wanted).collect())
}

/// Rows of a cell when the command line names none.
fn of_cell(cell: Cell, quick: bool) -> Vec<&'static str> {
    let few = vec![FLOOR, "floor-uring", BASE, "haproxy", "hyper", "ringway"];
    if quick {
        return few;
    }
    match cell {
        Cell::Small => SMALL.to_vec(),
        Cell::K64 | Cell::M1 => vec![
            "direct",
            FLOOR,
            BASE,
            "nginx-unbuffered",
            "haproxy",
            "haproxy-h2-up",
            "hyper",
            "hyper-h2-up",
            "ringway",
            "ringway-transparent",
            "ringway-new-old",
            "ringway-h2-up",
            "ringway-h2",
            "ringway-tls",
        ],
        Cell::Sse => vec![
            "direct",
            FLOOR,
            BASE,
            "nginx-unbuffered",
            "haproxy",
            "hyper",
            "ringway",
            "ringway-transparent",
        ],
        Cell::Rate | Cell::Poisson => vec![
            "direct",
            FLOOR,
            BASE,
            "haproxy",
            "hyper",
            "ringway",
            "ringway-nolog",
            "ringway-h2-up",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_table_and_every_table_its_rows() {
        let known: Vec<String> = all().into_iter().map(|row| row.id).collect();
        assert_eq!(known, SMALL);
        for cell in [
            Cell::Small,
            Cell::K64,
            Cell::M1,
            Cell::Sse,
            Cell::Rate,
            Cell::Poisson,
        ] {
            for id in of_cell(cell, false) {
                assert!(known.iter().any(|k| k == id), "{id}");
            }
        }
    }
}
