//! Pushing to one receiver: a connection for each push (there are few, seconds apart), a bound on its time, and a
//! memory of what went wrong.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{
    PushError,
    metrics::Snapshot,
    otlp::{self, When},
    prometheus,
};
use crate::{
    report::figures,
    wire::{BodyWish, Connection, Head, HttpChoice, Method, Request, Target, TargetOptions, Want},
};

/// A push that takes longer has failed: its figures are old by then.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// More of an answer is not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// More of an answer is not told.
const ANSWER_CHARS_MAX: usize = 200;

/// One receiver.
pub struct Sender {
    form: Form,
    target: Target,
    head: Head,
    /// When counters began: at the first push.
    start_unix_nanos: Option<u128>,
    pushes: u64,
    failures: u64,
    last_failure: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Prometheus,
    Otlp,
}

impl Sender {
    /// Puts to a Pushgateway, to a group of the run's own unless the URL names one.
    pub async fn to_pushgateway(
        url: &str,
        label: &str,
        headers: &[(String, String)],
    ) -> Result<Self, PushError> {
        let target = resolve(url).await?;
        let path = target
            .path()
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let path = if path.contains("/metrics/job") {
            path.to_owned()
        } else {
            format!("{path}/metrics/job/ringway-loadtest/run{}", group_value(label))
        };
        let head = head(&target, Method::Put, &path, prometheus::CONTENT_TYPE, headers)?;
        Ok(Self::new(Form::Prometheus, target, head))
    }

    /// Posts to an OTLP/HTTP collector, to the usual path unless the URL names one.
    pub async fn to_collector(url: &str, headers: &[(String, String)]) -> Result<Self, PushError> {
        let target = resolve(url).await?;
        let path = match target.path() {
            "/" | "" => "/v1/metrics".to_owned(),
            path => path.to_owned(),
        };
        let head = head(&target, Method::Post, &path, "application/json", headers)?;
        Ok(Self::new(Form::Otlp, target, head))
    }

    fn new(form: Form, target: Target, head: Head) -> Self {
        Self {
            form,
            target,
            head,
            start_unix_nanos: None,
            pushes: 0,
            failures: 0,
            last_failure: String::new(),
        }
    }

    /// Pushes once; what goes wrong is remembered.
    pub async fn send(&mut self, snapshot: &Snapshot) {
        self.pushes += 1;
        let body = match self.form {
            Form::Prometheus => prometheus::write(snapshot),
            Form::Otlp => {
                let unix_nanos = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_nanos());
                let began = || unix_nanos.saturating_sub(over_nanos(snapshot.over_s));
                let start_unix_nanos = *self.start_unix_nanos.get_or_insert_with(began);
                otlp::write(
                    snapshot,
                    When {
                        start_unix_nanos,
                        unix_nanos,
                    },
                )
                .to_string()
            }
        };
        if let Err(reason) = self.deliver(body).await {
            self.failures += 1;
            self.last_failure = reason;
        }
    }

    /// What went wrong, for people; nothing when every push arrived.
    pub fn complaint(&self) -> Option<String> {
        (self.failures > 0).then(|| {
            format!(
                "{} of {} pushes of metrics to {} failed; the last: {}",
                self.failures, self.pushes, self.target, self.last_failure
            )
        })
    }

    async fn deliver(&self, body: String) -> Result<(), String> {
        let request = Request {
            head: &self.head,
            extra: &[],
            body: Bytes::from(body),
        };
        let want = Want {
            timeout: Some(PUSH_TIMEOUT),
            body: BodyWish::Keep {
                bytes_max: ANSWER_BYTES_MAX,
            },
            ..Want::default()
        };
        let mut connection = Connection::open(&self.target)
            .await
            .map_err(|fault| fault.text.into_owned())?;
        let answer = connection
            .exchange(&request, &want)
            .await
            .map_err(|fault| fault.text.into_owned())?;
        let said = || {
            figures::shortened(
                &figures::plain(&String::from_utf8_lossy(&answer.body)),
                ANSWER_CHARS_MAX,
            )
        };
        if !(200..300).contains(&answer.status) {
            return Err(format!("status {}: {}", answer.status, said()));
        }
        // A collector may take a part and say so with status 200.
        if self.form == Form::Otlp
            && let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&answer.body)
            && answer["partialSuccess"]
                .as_object()
                .is_some_and(|partial| !partial.is_empty())
        {
            return Err(format!("taken in part: {}", said()));
        }
        Ok(())
    }
}

async fn resolve(url: &str) -> Result<Target, PushError> {
    let options = TargetOptions {
        http: HttpChoice::Http1,
        connect_timeout: PUSH_TIMEOUT,
        ..TargetOptions::default()
    };
    Ok(Target::resolve(url, &options).await?)
}

fn head(
    target: &Target,
    method: Method,
    path: &str,
    content_type: &str,
    headers: &[(String, String)],
) -> Result<Head, PushError> {
    let agent = concat!("ringway-loadtest/", env!("CARGO_PKG_VERSION"));
    let mut fields = vec![
        ("content-type", content_type),
        ("accept", "*/*"),
        ("user-agent", agent),
    ];
    fields.extend(
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    Ok(Head::with_path(target, method, path, &fields)?)
}

/// A grouping value in a Pushgateway's path: `/nightly`, or base64 where the text would not survive a path.
fn group_value(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let mut out = String::new();
    // Writing to a `String` does not fail. An empty value is a lone `=` there.
    let _ = match (plain && text != "." && text != "..", text.is_empty()) {
        (true, _) => write!(out, "/{text}"),
        (false, true) => write!(out, "@base64/="),
        (false, false) => write!(out, "@base64/{}", URL_SAFE_NO_PAD.encode(text)),
    };
    out
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; spans are positive"
)]
fn over_nanos(seconds: f64) -> u128 {
    (seconds * 1e9) as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_survive_a_path() {
        assert_eq!(group_value("nightly-1.2_a"), "/nightly-1.2_a");
        assert_eq!(group_value("a/b c"), "@base64/YS9iIGM");
        assert_eq!(group_value(".."), "@base64/Li4");
        assert_eq!(group_value(""), "@base64/=");
    }
}
