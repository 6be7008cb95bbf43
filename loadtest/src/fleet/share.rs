//! One generator's share of a scenario.
//!
//! What is counted is dealt out: connections, callers, clients, keys, streams and idle connections that are held. The
//! rate is divided; that generators with evenly spaced calls do not all call at once is the coordinator's doing, which
//! has each begin a little after the one before.

use crate::scenario::{Load, Scenario, THREADS_MAX};

/// Cuts a scenario down to part `index` of `of`; the error is for people.
pub fn share(scenario: &mut Scenario, index: usize, of: usize) -> Result<(), String> {
    if index >= of {
        return Err(format!("part {index} of {of} is none"));
    }
    let deal = |what: &str, count: usize| match count / of + usize::from(index < count % of) {
        0 => Err(format!("{count} {what} cannot be dealt out to {of} generators: give one to each at least")),
        part => Ok(part),
    };
    match &mut scenario.load {
        Load::Open { steps, .. } => {
            for step in steps {
                #[expect(clippy::cast_precision_loss, reason = "generators are few")]
                let of = of as f64;
                step.rate /= of;
            }
        }
        Load::Closed { concurrency, .. } => *concurrency = deal("callers (`load.concurrency`)", *concurrency)?,
        Load::Search { .. } => return Err("a search is led by the coordinator and has no parts".to_owned()),
    }
    let connections = &mut scenario.connections.count;
    *connections = deal("connections (`connections.count`)", *connections)?;
    let generator = &mut scenario.generator;
    generator.threads = generator.threads.min(*connections);
    // Each thread has a seed of its own, one above the thread before.
    generator.seed = generator.seed.wrapping_add(index as u64 * THREADS_MAX);
    let clients = &mut scenario.clients;
    if let Some(count) = &mut clients.count {
        *count = deal("clients (`clients.count`)", *count)?;
    }
    // Fewer keys than generators are shared by all: then nobody can have one of their own.
    if clients.keys.len() >= of {
        clients.keys = clients.keys.iter().skip(index).step_by(of).cloned().collect();
    }
    let standing = &mut scenario.standing;
    for count in [&mut standing.listen, &mut standing.idle] {
        *count = *count / of + usize::from(index < *count % of);
    }
    scenario.calls.waiting_max = scenario.calls.waiting_max.div_ceil(of);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn scenario(load: &str) -> Scenario {
        let text = format!(
            "[target]\nurl = \"http://a/mcp\"\n[load]\n{load}\n[connections]\ncount = 65\n[clients]\ncount = 7\n\
             keys = [\"a\", \"b\", \"c\", \"d\"]\n[standing]\nlisten = 1\nidle = 11\n[[operation]]\ncall = \"ping\"\n"
        );
        Scenario::read(&text, Path::new("")).expect("reads")
    }

    fn shares(load: &str, of: usize) -> Vec<Scenario> {
        let part = |index| {
            let mut part = scenario(load);
            share(&mut part, index, of).expect("shares");
            part
        };
        (0..of).map(part).collect()
    }

    #[test]
    fn the_shares_are_the_whole() {
        let parts = shares("rate = 900\nduration = \"1s\"", 3);
        let sum = |of: fn(&Scenario) -> usize| parts.iter().map(of).sum::<usize>();
        assert_eq!(sum(|part| part.connections.count), 65);
        assert_eq!(sum(|part| part.clients.count.unwrap_or_default()), 7);
        assert_eq!((sum(|part| part.standing.listen), sum(|part| part.standing.idle)), (1, 11));
        for part in &parts {
            let Load::Open { steps, .. } = &part.load else { panic!("open") };
            assert!((steps[0].rate - 300.0).abs() < 1e-9);
        }
        let mut keys: Vec<&String> = parts.iter().flat_map(|part| &part.clients.keys).collect();
        keys.sort();
        assert_eq!(keys, ["a", "b", "c", "d"]);
        assert_ne!(parts[0].generator.seed, parts[1].generator.seed);
        let closed = shares("concurrency = 64\nduration = \"1s\"", 3);
        let callers = closed.iter().map(|part| match part.load {
            Load::Closed { concurrency, .. } => concurrency,
            _ => 0,
        });
        assert_eq!(callers.sum::<usize>(), 64);
        assert_eq!(shares("rate = 1", 5)[0].clients.keys.len(), 4, "too few to deal out");
    }

    #[test]
    fn what_cannot_be_dealt_out_is_said() {
        for (load, index, of, word) in [
            ("concurrency = 2", 2, 3, "2 callers"),
            ("rate = 5", 70, 80, "65 connections"),
            ("rate = 5", 8, 9, "7 clients"),
            ("rate = 5", 3, 3, "none"),
            ("[load.search]", 0, 2, "coordinator"),
        ] {
            let why = share(&mut scenario(load), index, of).expect_err(word);
            assert!(why.contains(word), "{why}");
        }
    }
}
