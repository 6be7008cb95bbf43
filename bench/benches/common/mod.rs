//! Settings of all benchmarks: short, because the whole suite must run in three minutes and what differs by less
//! than a tenth on a shared machine says nothing anyway. `-- --measurement-time 5` overrides them.

use criterion::Criterion;
use std::time::Duration;

/// Criterion with short runs and no plots.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .without_plots()
        .configure_from_args()
}
