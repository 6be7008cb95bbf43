//! Every decision of the gateway, as plain functions over bytes and time. No I/O, no clock, no spawning: what a
//! function needs of the outside (time, entropy, secrets) is an argument.
//!
//! Where to read first: [`pipeline`] is the life of a call as a list. The rooms it passes, in order:
//!
//! | room | question | yields |
//! |---|---|---|
//! | [`origin`] | may this page talk to us at all? | |
//! | [`authenticate`] | who is asking? | `Principal` |
//! | [`envelope`] | which era, and do headers and body agree? | `Envelope` |
//! | [`session`], over [`seal`] | which legacy session, which parked call? | `SessionToken`, `Parked` |
//! | [`resolve`] | what does this name mean? | an index |
//! | [`authorize`] | may the caller have it? | `Permit` and its siblings |
//! | [`translate`] | how does the other era say it? | bytes |
//!
//! Lists and greetings come from the [`catalogue`], with [`interface`] and [`search`] where there are too many
//! tools to list. All of them ask one [`snapshot`]. Every refusal is a row of [`rejection`], every bound a line
//! of [`limits`].

pub mod authenticate;
pub mod authorize;
mod bits;
pub mod catalogue;
pub mod envelope;
#[cfg(test)]
mod fixture;
pub mod interface;
pub mod limits;
pub mod names;
pub mod origin;
pub mod pipeline;
pub mod rejection;
pub mod resolve;
pub mod seal;
pub mod search;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod translate;
pub mod uri_template;
