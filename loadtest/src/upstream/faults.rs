//! Misbehaviour on demand: which faults exist, rules that say when, and the set that can be swapped while serving.
//!
//! A rule is written `kind:key=value,...` on the command line (`reset:at=mid,probability=0.01,tool=echo`) and as the
//! same keys in JSON on the admin address. A rule that names neither `method` nor `tool` is about `tools/call`;
//! `method=*` is about every request. Of several rules that fit, the first whose draw hits is injected. A fault is
//! counted when it is carried out; one that cannot be (a stream reset over HTTP/1.1) is not drawn.

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Most rules at once: each is looked at for every request.
pub const RULES_MAX: usize = 64;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum FaultKind { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl FaultKind {
            /// Every kind.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in rules and in `/stats`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// The request is taken and never answered, or only after `ms`.
    Stall = "stall",
    /// Everything waited (`stall_all_ms`); counted once for each time it was ordered.
    StallAll = "stall_all",
    /// The connection is reset (RST), before the answer or amid its body.
    Reset = "reset",
    /// An HTTP error instead of an answer: `status` (503), `retry_after_s`.
    HttpError = "http_error",
    /// The session is forgotten and the request answered 404, as after a restart.
    Session404 = "session_404",
    /// Bytes that are not HTTP. HTTP/1.1 only.
    GarbageHttp = "garbage_http",
    /// A whole HTTP answer whose body is not JSON.
    GarbageJson = "garbage_json",
    /// A whole answer to a request that nobody made.
    GarbageId = "garbage_id",
    /// A whole HTTP answer whose JSON ends in the middle; its length agrees.
    GarbageTruncated = "garbage_truncated",
    /// `content-length` promises more than is sent; then the connection ends.
    GarbageLengthLong = "garbage_length_long",
    /// `content-length` promises less than is sent; the rest stands where the next answer should. HTTP/1.1 only.
    GarbageLengthShort = "garbage_length_short",
    /// The answer is right but comes `bytes` (1) at a time, `ms` (10) apart.
    Trickle = "trickle",
    /// The connection ends in order (FIN) amid the body.
    Close = "close",
    /// GOAWAY: the connection serves what it has and takes nothing new. HTTP/2 only; the call is answered.
    Goaway = "goaway",
    /// The stream is reset, before the answer or amid its body. HTTP/2 only.
    RstStream = "rst_stream",
}

/// Where in an answer the connection or stream breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before its first byte.
    #[default]
    Before,
    /// After its head and half of its body.
    Mid,
}

/// When a fault happens, as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Of how many fitting requests: 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Calls of this tool only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Requests of this method only; `*`: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// So many times, then never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// So long, then never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Of `reset` and `rst_stream`.
    #[serde(default)]
    pub at: Position,
    /// Of `stall`: how long (absent: for ever). Of `trickle`: between two pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Of `trickle`: bytes of a piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Of `http_error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of `http_error`: a `Retry-After` field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

fn always() -> f64 {
    1.0
}

impl Rule {
    /// A rule that always hits `tools/call`.
    pub fn always(kind: FaultKind) -> Self {
        Self {
            kind,
            probability: 1.0,
            tool: None,
            method: None,
            count: None,
            for_ms: None,
            at: Position::Before,
            ms: None,
            bytes: None,
            status: None,
            retry_after_s: None,
        }
    }

    /// The rule with its values checked; `Err` says which is wrong.
    pub fn checked(self) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("fault '{}': {what}", self.kind.name()));
        if !(0.0..=1.0).contains(&self.probability) {
            return wrong("probability must be between 0 and 1");
        }
        if self.status.is_some_and(|status| !(400..600).contains(&status)) {
            return wrong("status must be between 400 and 599");
        }
        if self.bytes == Some(0) {
            return wrong("bytes must be at least 1");
        }
        if self.kind == FaultKind::StallAll {
            return wrong("is ordered as stall_all_ms, not as a rule");
        }
        if self.tool.is_some() && self.method.as_deref().is_some_and(|m| m != "tools/call") {
            return wrong("tool goes with the method tools/call");
        }
        Ok(self)
    }

    fn fits(&self, request: &Victim<'_>) -> bool {
        let by_name = match (&self.tool, &self.method) {
            (Some(tool), _) => request.tool == Some(tool),
            (None, Some(method)) => method == "*" || method == request.method,
            (None, None) => request.method == "tools/call",
        };
        let possible = match self.kind {
            FaultKind::Session404 => request.has_session,
            FaultKind::Goaway | FaultKind::RstStream => request.http2,
            FaultKind::GarbageHttp | FaultKind::GarbageLengthShort => !request.http2,
            _ => true,
        };
        by_name && possible
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut object = Map::new();
        object.insert("kind".into(), kind.trim().into());
        for pair in rest.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("fault '{text}': '{pair}' is not key=value"))?;
            let value = value.trim();
            let number = serde_json::from_str::<Value>(value).ok().filter(Value::is_number);
            object.insert(key.trim().into(), number.unwrap_or_else(|| value.into()));
        }
        serde_json::from_value::<Self>(object.into())
            .map_err(|e| format!("fault '{text}': {e}"))?
            .checked()
    }
}

/// What is known of a request when a fault may be drawn for it.
#[derive(Clone, Copy, Debug)]
pub struct Victim<'a> {
    /// Its JSON-RPC method.
    pub method: &'a str,
    /// The tool it calls.
    pub tool: Option<&'a str>,
    /// Whether it belongs to a session that can be lost.
    pub has_session: bool,
    /// Whether it came over HTTP/2.
    pub http2: bool,
}

/// A fault that was drawn, with the numbers it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where.
    pub at: Position,
    /// Length of a stall or between two pieces.
    pub wait: Option<Duration>,
    /// Bytes of a piece.
    pub bytes: usize,
    /// HTTP status of an error.
    pub status: u16,
    /// Its `Retry-After`.
    pub retry_after_s: Option<u32>,
}

/// The rules in force. Checking an unarmed set costs one relaxed load.
#[derive(Debug, Default)]
pub struct Faults {
    armed: AtomicBool,
    set: Mutex<Arc<Vec<Live>>>,
}

#[derive(Debug)]
struct Live {
    rule: Rule,
    left: AtomicU64,
    until: Option<Instant>,
}

impl Faults {
    /// Replaces all rules; counts and times begin anew.
    pub fn set(&self, rules: Vec<Rule>) -> Result<(), String> {
        if rules.len() > RULES_MAX {
            return Err(format!("{} rules; at most {RULES_MAX}", rules.len()));
        }
        let now = Instant::now();
        let live: Vec<Live> = rules
            .into_iter()
            .map(|rule| {
                rule.checked().map(|rule| Live {
                    left: AtomicU64::new(rule.count.unwrap_or(u64::MAX)),
                    until: rule.for_ms.map(|ms| now + Duration::from_millis(ms)),
                    rule,
                })
            })
            .collect::<Result<_, _>>()?;
        self.armed.store(!live.is_empty(), Relaxed);
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        Ok(())
    }

    /// The rules as they were set.
    pub fn rules(&self) -> Vec<Rule> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner).clone();
        set.iter().map(|live| live.rule.clone()).collect()
    }

    /// Whether any rule is set.
    pub fn armed(&self) -> bool {
        self.armed.load(Relaxed)
    }

    /// The fault for this request, if one is due.
    pub fn draw(&self, request: &Victim<'_>, rng: &mut impl Rng) -> Option<Fault> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner).clone();
        set.iter().find_map(|live| {
            let hit = live.rule.fits(request)
                && live.until.is_none_or(|until| Instant::now() < until)
                && (live.rule.probability >= 1.0 || rng.random::<f64>() < live.rule.probability)
                && live
                    .left
                    .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                    .is_ok();
            hit.then(|| live.rule.fault())
        })
    }
}

impl Rule {
    fn fault(&self) -> Fault {
        Fault {
            kind: self.kind,
            at: self.at,
            wait: self.ms.map(Duration::from_millis),
            bytes: self.bytes.unwrap_or(1),
            status: self.status.unwrap_or(503),
            retry_after_s: self.retry_after_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    const CALL: Victim<'_> = Victim {
        method: "tools/call",
        tool: Some("echo"),
        has_session: false,
        http2: false,
    };

    #[test]
    fn a_rule_reads_the_same_from_both_forms() {
        let short: Rule = "reset:at=mid,probability=0.25,tool=echo,count=3".parse().unwrap();
        let json = r#"{"kind":"reset","at":"mid","probability":0.25,"tool":"echo","count":3}"#;
        assert_eq!(short, serde_json::from_str(json).unwrap());
        assert_eq!("stall".parse::<Rule>().unwrap(), Rule::always(FaultKind::Stall));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("explode", "explode"),
            ("reset:often", "key=value"),
            ("reset:often=1", "often"),
            ("reset:probability=2", "between 0 and 1"),
            ("http_error:status=200", "between 400"),
            ("trickle:bytes=0", "at least 1"),
            ("stall_all", "stall_all_ms"),
            ("reset:tool=echo,method=ping", "tools/call"),
        ] {
            let said = text.parse::<Rule>().unwrap_err();
            assert!(said.contains(word), "{text}: {said}");
        }
    }

    #[test]
    fn probability_count_and_fit_are_kept() {
        let mut rng = SmallRng::seed_from_u64(1);
        let faults = Faults::default();
        let mut hits = |rule: &str, victim: &Victim<'_>| {
            faults.set(vec![rule.parse().unwrap()]).unwrap();
            (0..1000)
                .filter(|_| faults.draw(victim, &mut rng).is_some())
                .count()
        };
        assert_eq!(hits("reset", &CALL), 1000);
        assert_eq!(hits("reset:count=7", &CALL), 7);
        assert!((150..250).contains(&hits("reset:probability=0.2", &CALL)));
        assert_eq!(hits("reset:tool=sized", &CALL), 0);
        assert_eq!(hits("reset:for_ms=0", &CALL), 0);
        assert_eq!(hits("rst_stream", &CALL), 0);
        assert_eq!(hits("session_404", &CALL), 0);
        let list = Victim {
            method: "tools/list",
            tool: None,
            ..CALL
        };
        assert_eq!(hits("reset", &list), 0);
        assert_eq!(hits("reset:method=*", &list), 1000);
        assert_eq!(hits("reset:method=tools/list", &list), 1000);
    }

    #[test]
    fn the_first_rule_that_hits_wins() {
        let mut rng = SmallRng::seed_from_u64(1);
        let faults = Faults::default();
        let rules = [
            "reset:tool=other",
            "http_error:status=502,retry_after_s=3",
            "stall",
        ];
        faults.set(rules.map(|r| r.parse().unwrap()).to_vec()).unwrap();
        let fault = faults.draw(&CALL, &mut rng).unwrap();
        assert_eq!(
            (fault.kind, fault.status, fault.retry_after_s),
            (FaultKind::HttpError, 502, Some(3))
        );
        assert!(
            faults
                .set(vec![Rule::always(FaultKind::Stall); RULES_MAX + 1])
                .is_err()
        );
    }
}
