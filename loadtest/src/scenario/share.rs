//! One of several generators' part of a scenario: its share of everything that is counted.

use super::{Load, Scenario};

/// Between the seeds of two generators; their threads' seeds lie next to each other.
const SEED_STEP: u64 = 1_000_003;

impl Scenario {
    /// The part of generator `index` of `of`: rates are divided, and so are connections, callers, clients, keys and
    /// what is held open. What all of them do together is this scenario.
    pub fn share(mut self, index: usize, of: usize) -> Result<Self, String> {
        if of <= 1 {
            return Ok(self);
        }
        let part = |whole: usize| whole / of + usize::from(index < whole % of);
        // Every generator says the same, not only the one that gets nothing.
        let some = |whole: usize, what: &str| match whole < of {
            true => Err(format!("{what}: {whole} cannot be shared by {of} generators")),
            false => Ok(part(whole)),
        };
        #[expect(clippy::cast_precision_loss, reason = "generators are few")]
        let generators = of as f64;
        match &mut self.load {
            Load::Open { steps, .. } => steps.iter_mut().for_each(|step| step.rate /= generators),
            Load::Closed { concurrency, .. } => *concurrency = some(*concurrency, "load.concurrency")?,
            Load::Search { .. } => {
                return Err("a search decides from probe to probe; it runs on one generator".to_owned());
            }
        }
        self.connections.count = some(self.connections.count, "connections.count")?;
        if let Load::Closed { concurrency, .. } = self.load {
            // Callers and connections may leave different remainders.
            let streams = self.lanes() / self.connections.count;
            self.connections.count = self.connections.count.max(concurrency.div_ceil(streams));
        }
        if self.generator.threads > self.connections.count {
            return Err(format!(
                "generator.threads: {} threads share {} connections on each generator",
                self.generator.threads, self.connections.count
            ));
        }
        if let Some(count) = &mut self.clients.count {
            *count = some(*count, "clients.count")?;
        }
        if self.clients.keys.len() >= of {
            self.clients.keys = self.clients.keys.into_iter().skip(index).step_by(of).collect();
        }
        self.standing.listen = part(self.standing.listen);
        self.standing.idle = part(self.standing.idle);
        self.generator.seed = self
            .generator
            .seed
            .wrapping_add(SEED_STEP.wrapping_mul(index as u64));
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn scenario(load: &str) -> Scenario {
        let text = format!(
            "[target]\nurl = \"http://a/\"\n[clients]\nkeys = [\"a\", \"b\", \"c\"]\n[connections]\ncount = 7\n[standing]\nidle = 3\n[load]\n{load}\n[[operation]]\ncall = \"ping\"\n"
        );
        Scenario::read(&text, Path::new("")).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn shares_make_up_the_whole() {
        let whole = scenario("rate = 90");
        let shares: Vec<Scenario> = (0..3)
            .map(|index| whole.clone().share(index, 3).unwrap())
            .collect();
        let sum = |of: fn(&Scenario) -> usize| shares.iter().map(of).sum::<usize>();
        assert_eq!(sum(|s| s.connections.count), 7);
        assert_eq!(sum(|s| s.standing.idle), 3);
        let keys: Vec<&str> = shares.iter().map(|s| s.clients.keys[0].as_str()).collect();
        assert_eq!(keys, ["a", "b", "c"]);
        let Load::Open { steps, .. } = &shares[0].load else {
            panic!("open")
        };
        assert!((steps[0].rate - 30.0).abs() < 1e-9);
        assert_ne!(shares[0].generator.seed, shares[1].generator.seed);
    }

    #[test]
    fn what_cannot_be_shared_is_said() {
        assert!(
            scenario("rate = 1")
                .share(0, 8)
                .unwrap_err()
                .contains("connections")
        );
        assert!(
            scenario("concurrency = 2")
                .share(0, 3)
                .unwrap_err()
                .contains("concurrency")
        );
        assert!(
            scenario("[load.search]")
                .share(0, 2)
                .unwrap_err()
                .contains("one generator")
        );
        assert!(scenario("rate = 1").share(0, 1).is_ok());
    }

    #[test]
    fn callers_keep_their_connections() {
        for index in 0..3 {
            let share = scenario("concurrency = 7").share(index, 3).unwrap();
            let Load::Closed { concurrency, .. } = share.load else {
                panic!("closed")
            };
            assert!(share.lanes() >= concurrency);
        }
    }
}
