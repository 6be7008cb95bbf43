//! Every line that a table can have, and which of them a cell has by default.

use super::{
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

/// All rows, in the order of the table.
pub fn all() -> Vec<Row> {
    let ringway = RingwayOptions::default();
    let nginx = NginxOptions::default();
    let row = |id, label, proxy, down, up, (path, tool)| Row {
        id,
        label,
        proxy,
        down,
        up,
        path,
        tool,
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

/// Rows of a cell when the command line names none.
pub fn of_cell(cell: Cell, quick: bool) -> Vec<&'static str> {
    let few = vec![FLOOR, BASE, "haproxy", "hyper", "ringway"];
    if quick {
        return few;
    }
    match cell {
        Cell::Small => all().into_iter().map(|row| row.id).collect(),
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
