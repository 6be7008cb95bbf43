//! What a worker counts for each endpoint.

use super::endpoint::Endpoint;
use std::{cell::Cell, rc::Rc, sync::Arc};

/// A moment's view of one endpoint's connections on one worker.
#[derive(Clone, Debug)]
pub struct EndpointStats {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// What ALPN chose, once known (`Auto` over TLS only).
    pub http2: Option<bool>,
    /// Connections open now, dials under way included.
    pub open: usize,
    /// HTTP/1.1 connections idle now.
    pub idle: usize,
    /// HTTP/2 streams open now.
    pub streams: usize,
    /// Calls waiting in line now.
    pub waiting: usize,
    /// Connections opened, ever.
    pub dialled: u64,
    /// Calls that used a connection opened before, ever.
    pub reused: u64,
    /// Calls sent a second time because the first had certainly not been processed, ever.
    pub retried: u64,
}

/// The same, alive. Outlives pools, so that what ALPN chose is remembered while no connection is open.
pub(super) struct Counters {
    pub endpoint: Arc<Endpoint>,
    pub http2: Cell<Option<bool>>,
    pub open: Cell<usize>,
    pub idle: Cell<usize>,
    pub streams: Cell<usize>,
    pub waiting: Cell<usize>,
    pub dialled: Cell<u64>,
    pub reused: Cell<u64>,
    pub retried: Cell<u64>,
}

impl Counters {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Rc<Self> {
        Rc::new(Self {
            endpoint,
            http2: Cell::default(),
            open: Cell::default(),
            idle: Cell::default(),
            streams: Cell::default(),
            waiting: Cell::default(),
            dialled: Cell::default(),
            reused: Cell::default(),
            retried: Cell::default(),
        })
    }

    pub(super) fn view(&self) -> EndpointStats {
        EndpointStats {
            endpoint: self.endpoint.clone(),
            http2: self.http2.get(),
            open: self.open.get(),
            idle: self.idle.get(),
            streams: self.streams.get(),
            waiting: self.waiting.get(),
            dialled: self.dialled.get(),
            reused: self.reused.get(),
            retried: self.retried.get(),
        }
    }
}

/// Adds one to an eternal count.
pub(super) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}
