//! Rounds, interleaved: each contender has its turn in each round, and the order rotates. The machine's mood moves a latency
//! more than most contenders differ, so what is compared is what was measured within one round.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::contender::Contender;
use crate::failure::Outcome;
use crate::proc;
use statemesh_load::Spec;

/// One turn of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// From 0.
    pub(crate) round: usize,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Good answers that were recorded.
    pub(crate) events: u64,
    /// Answers that were not good, and requests without one.
    pub(crate) errors: u64,
    /// For how long answers were recorded.
    pub(crate) elapsed: Duration,
    /// CPU time of the server's processes for each answer.
    pub(crate) server_cpu_per_event: Duration,
    /// CPU time of the client's process for each answer.
    pub(crate) client_cpu_per_event: Duration,
    /// What neither of them used of the machine: cores that were busy with something else.
    pub(crate) others: f64,
}

impl Sample {
    /// Good answers a second.
    pub(crate) fn rate(&self) -> f64 {
        ratio(self.events as f64, self.elapsed.as_secs_f64())
    }
}

/// What a contender did in all its rounds.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// What served.
    pub(crate) server: &'static str,
    /// What asked.
    pub(crate) client: &'static str,
    /// In the order of the rounds.
    pub(crate) samples: Vec<Sample>,
}

impl Measured {
    /// All rounds in one histogram, nanoseconds.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        let mut all = statemesh_load::histogram();
        for sample in &self.samples {
            // Both have the same bounds.
            let _ = all.add(&sample.latency);
        }
        all
    }

    /// The median over the rounds of what `of` says of each.
    pub(crate) fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }

    /// The median over the rounds of the quotient of ours and theirs in the same round.
    pub(crate) fn against(&self, other: &Measured, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.ratios(other, of))
    }

    /// These quotients, one for each round.
    pub(crate) fn ratios(&self, other: &Measured, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().zip(&other.samples).map(|(ours, theirs)| ratio(of(ours), of(theirs))).collect()
    }

    /// Answers that were not good, in all rounds.
    pub(crate) fn errors(&self) -> u64 {
        self.samples.iter().map(|sample| sample.errors).sum()
    }
}

/// Runs `rounds` rounds of every contender. One that fails is out of it, also with the rounds that it had: `left_out` says why.
pub(crate) fn interleave(
    contenders: &[&Contender],
    spec: &Spec,
    rounds: usize,
    left_out: &mut Vec<String>,
) -> Vec<Measured> {
    let begun = |of: &&Contender| Some(Measured { server: of.server, client: of.client, samples: Vec::new() });
    let mut all: Vec<Option<Measured>> = contenders.iter().map(begun).collect();
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let index = (turn + round) % contenders.len();
            let (Some(contender), Some(place)) = (contenders.get(index), all.get_mut(index)) else { continue };
            let Some(measured) = place else { continue };
            match sample(contender, spec, round) {
                Ok(sample) => measured.samples.push(sample),
                Err(why) => {
                    let why = format!("{}, {}: {why}", contender.server, contender.client);
                    eprintln!("left out: {why}");
                    left_out.push(why);
                    *place = None;
                }
            }
        }
    }
    all.into_iter().flatten().collect()
}

fn sample(contender: &Contender, spec: &Spec, round: usize) -> Outcome<Sample> {
    let (server, machine, begin) = (contender.server_cpu(), proc::machine_cpu(), Instant::now());
    let (result, client) = contender.run(spec)?;
    let server = contender.server_cpu().saturating_sub(server);
    let others = proc::machine_cpu().saturating_sub(machine).saturating_sub(server + client);
    let per_event = |time: Duration| Duration::from_secs_f64(ratio(time.as_secs_f64(), result.answered as f64));
    Ok(Sample {
        round,
        events: result.events,
        errors: result.errors.total(),
        elapsed: result.elapsed,
        server_cpu_per_event: per_event(server),
        client_cpu_per_event: per_event(client),
        others: others.as_secs_f64() / begin.elapsed().as_secs_f64(),
        latency: result.latency,
    })
}

/// A quotient; nothing of nothing is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (Some(value), _) => *value,
        (None, _) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn contenders_are_compared_within_a_round() {
        let sample = |round, events| Sample {
            round,
            latency: statemesh_load::histogram(),
            events,
            errors: 0,
            elapsed: Duration::from_secs(1),
            server_cpu_per_event: Duration::ZERO,
            client_cpu_per_event: Duration::ZERO,
            others: 0.0,
        };
        let measured = |events: [u64; 3]| Measured {
            server: "s",
            client: "c",
            samples: events.into_iter().enumerate().map(|(round, events)| sample(round, events)).collect(),
        };
        // The machine got ten times slower from round to round; the contender stayed twice as fast.
        let (ours, theirs) = (measured([2_000, 200, 20]), measured([1_000, 100, 10]));
        assert_eq!(ours.against(&theirs, Sample::rate), 2.0);
    }
}
