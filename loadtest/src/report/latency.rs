//! Between histograms as the engine counts them and [`Latency`] as a report keeps them.
//!
//! Histograms count nanoseconds; a report's figures are microseconds, and its `hdr` text is the whole histogram, so
//! that reports can be merged and plotted without loss.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2Serializer},
};

use super::model::Latency;

/// Nanoseconds in a microsecond.
const NS_PER_US: f64 = 1e3;

/// Longer `hdr` texts are refused: five significant digits over the whole range of `u64` take about 60 MiB in memory
/// and, run-length encoded with every bucket filled, fewer bytes than this.
const HDR_TEXT_BYTES_MAX: usize = 128 << 20;

/// Why a report's `hdr` text is not a histogram.
#[derive(Debug, thiserror::Error)]
pub enum BadHistogram {
    /// Not base64.
    #[error("`hdr` is not base64: {0}")]
    Text(#[from] base64::DecodeError),
    /// Not HdrHistogram's V2 encoding.
    #[error("`hdr` is not an HdrHistogram V2 encoding: {0}")]
    Encoding(String),
    /// Beyond [`HDR_TEXT_BYTES_MAX`].
    #[error("`hdr` has {0} bytes, more than any histogram needs")]
    TooLong(usize),
}

impl Latency {
    /// The figures of a histogram of nanoseconds, and the histogram itself as text.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: micros(histogram.min()),
            mean: histogram.mean() / NS_PER_US,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
            hdr: encode(histogram),
        }
    }

    /// The histogram of nanoseconds, or none when nothing was counted.
    ///
    /// # Errors
    /// When the text is not a histogram.
    pub fn histogram(&self) -> Result<Option<Histogram<u64>>, BadHistogram> {
        if self.hdr.is_empty() {
            return Ok(None);
        }
        if self.hdr.len() > HDR_TEXT_BYTES_MAX {
            return Err(BadHistogram::TooLong(self.hdr.len()));
        }
        let bytes = STANDARD.decode(&self.hdr)?;
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map(Some)
            .map_err(|reason| BadHistogram::Encoding(reason.to_string()))
    }

    /// Any quantile (0 to 1) in microseconds: from the histogram where there is one, else from the figure kept for it.
    /// None when nothing was counted, or when neither knows.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let kept = [
            (0.0, self.min),
            (0.5, self.p50),
            (0.9, self.p90),
            (0.99, self.p99),
            (0.999, self.p999),
            (0.9999, self.p9999),
            (1.0, self.max),
        ];
        let known = kept.iter().find(|(q, _)| (q - quantile).abs() < 1e-9);
        known.map(|(_, value)| *value).or_else(|| {
            let histogram = self.histogram().ok()??;
            Some(micros(histogram.value_at_quantile(quantile)))
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "times far below 2^53 ns, 104 days")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / NS_PER_US
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory fails only for histograms beyond the address space; the figures stand without the text.
    match V2Serializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_its_text() {
        let mut counted = Histogram::<u64>::new(3).expect("three digits");
        for nanos in 1..=10_000u64 {
            counted.record(nanos * 1_000).expect("recorded");
        }
        let latency = Latency::of(&counted);
        assert_eq!(latency.count, 10_000);
        assert!((latency.p50 - 5_000.0).abs() < 10.0, "{}", latency.p50);
        let back = latency.histogram().expect("readable").expect("not empty");
        assert_eq!(back, counted);
        let p75 = latency.at(0.75).expect("from the histogram");
        assert!((p75 - 7_500.0).abs() < 10.0, "{p75}");
    }

    #[test]
    fn nothing_counted_is_no_histogram() {
        let none = Latency::of(&Histogram::<u64>::new(3).expect("three digits"));
        assert_eq!(none.count, 0);
        assert!(none.histogram().expect("readable").is_none());
        assert!(none.at(0.5).is_none());
    }

    #[test]
    fn a_text_that_is_no_histogram_says_so() {
        let of = |hdr: &str| Latency {
            count: 1,
            hdr: hdr.into(),
            ..Latency::default()
        };
        let text = of("not base64!").histogram().expect_err("refused");
        assert!(text.to_string().contains("base64"), "{text}");
        let bytes = of("AAAA").histogram().expect_err("refused");
        assert!(bytes.to_string().contains("HdrHistogram"), "{bytes}");
    }
}
