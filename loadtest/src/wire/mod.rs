//! One call over one connection: HTTP/1.1 or HTTP/2, in clear or under TLS.
//!
//! What the engine needs of it: open a connection, send a finished request, be told when its first byte left, when
//! the first event or body byte came and when the last one did, and get the answer's status, its headers of
//! interest and its body (all of it, or only its size). Nothing here knows MCP.
