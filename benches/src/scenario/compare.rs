//! Figures that compare two contenders, or one with several, within each round.

use crate::contender::{
    BEFORE, BEFORE_FORWARDED, DIRECT, FORWARDED, ITS_OWN, LIBZMQ, LOCAL, NATS, PEKKO, PROTO_ACTOR, RABBITMQ,
};
use crate::report::figure::{Figure, Unit};
use crate::rounds::{Measured, Sample};
use crate::scenario::table;

/// What a figure is about: a server and its client, by name.
pub(crate) type Side = (&'static str, &'static str);

/// What a direct client of a local owner must be ahead of.
const OTHERS: [&str; 4] = [NATS, RABBITMQ, PEKKO, PROTO_ACTOR];

/// What ours and theirs are compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum By {
    /// A quantile of the latency: less is better.
    Quantile(f64),
    /// Good answers a second: more is better.
    Rate,
}

impl By {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            By::Quantile(quantile) => sample.latency.value_at_quantile(quantile) as f64,
            By::Rate => sample.rate(),
        }
    }

    fn figure(self, name: &str, limit: f64, times: f64) -> Figure {
        match self {
            By::Quantile(_) => Figure::at_most(name, limit, times, Unit::Times),
            By::Rate => Figure::at_least(name, limit, times, Unit::Times),
        }
    }
}

/// How many times theirs ours is, against a limit; `None`: for comparison only.
pub(crate) fn pair(measured: &[Measured], name: &str, by: By, ours: Side, theirs: Side, limit: Option<f64>) -> Figure {
    let Some(times) = times(measured, by, ours, theirs) else {
        return Figure::not_measured(name, "a contender was left out");
    };
    match limit {
        Some(limit) => by.figure(name, limit, times),
        None => Figure::info(name, times, Unit::Times),
    }
}

/// A local owner by the direct client against whichever of the brokers and actor frameworks comes closest to it, or is ahead.
pub(crate) fn with_others(measured: &[Measured], name: &str, by: By) -> Figure {
    let all = OTHERS.iter().filter_map(|server| times(measured, by, (LOCAL, DIRECT), (server, ITS_OWN)));
    let closest = match by {
        By::Quantile(_) => all.max_by(f64::total_cmp),
        By::Rate => all.min_by(f64::total_cmp),
    };
    closest.map_or_else(|| Figure::not_measured(name, "they were left out"), |times| by.figure(name, 1.0, times))
}

/// The daemon against the earlier one that was measured beside it, if one was, with the least and the most of all rounds.
pub(crate) fn with_before(measured: &[Measured], name: &str, by: By) -> Vec<Figure> {
    let sides = [(LOCAL, BEFORE), (FORWARDED, BEFORE_FORWARDED)];
    let sides = sides.into_iter().flat_map(|(now, before)| [DIRECT, LIBZMQ].map(|client| (now, before, client)));
    let figures = sides.filter_map(|(now, before, client)| {
        let (ours, theirs) = (table::find(measured, now, client)?, table::find(measured, before, client)?);
        let rounds: Vec<f64> = ours.ratios(theirs, |sample| by.of(sample));
        let (least, most) =
            (rounds.iter().copied().fold(f64::MAX, f64::min), rounds.iter().copied().fold(0.0, f64::max));
        let name = format!("{name}, {now} : before, {client} client (rounds: {least:.2} to {most:.2})");
        Some(Figure::info(&name, ours.against(theirs, |sample| by.of(sample)), Unit::Times))
    });
    figures.collect()
}

fn times(measured: &[Measured], by: By, ours: Side, theirs: Side) -> Option<f64> {
    let (ours, theirs) = (table::find(measured, ours.0, ours.1)?, table::find(measured, theirs.0, theirs.1)?);
    Some(ours.against(theirs, |sample| by.of(sample)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Verdict;
    use std::time::Duration;

    fn one_round(server: &'static str, client: &'static str, micros: u64) -> Measured {
        let mut latency = statemesh_load::histogram();
        latency.record(micros * 1_000).unwrap();
        let sample = Sample {
            round: 0,
            latency,
            events: 1_000_000 / micros,
            errors: 0,
            elapsed: Duration::from_secs(1),
            server_cpu_per_event: Duration::ZERO,
            client_cpu_per_event: Duration::ZERO,
            others: 0.0,
        };
        Measured { server, client, samples: vec![sample] }
    }

    #[test]
    fn the_closest_of_the_others_decides() {
        let p50 = By::Quantile(0.5);
        let mut measured =
            vec![one_round(LOCAL, DIRECT, 20), one_round(NATS, ITS_OWN, 40), one_round(PEKKO, ITS_OWN, 100)];
        let figure = with_others(&measured, "f", p50);
        assert_eq!((figure.measured.as_str(), figure.verdict), ("0.50 times", Verdict::Pass));
        assert_eq!(with_others(&measured, "f", By::Rate).measured, "2.00 times");
        measured.push(one_round(RABBITMQ, ITS_OWN, 10));
        assert_eq!(with_others(&measured, "f", p50).verdict, Verdict::Miss);
        assert_eq!(with_others(&measured, "f", By::Rate).verdict, Verdict::Miss);
    }

    #[test]
    fn an_earlier_daemon_is_compared_in_each_round_where_it_was_measured() {
        let rounds = |server, micros: [u64; 3]| {
            let samples = micros.into_iter().flat_map(|micros| one_round(server, DIRECT, micros).samples);
            Measured { server, client: DIRECT, samples: samples.collect() }
        };
        let measured = [rounds(LOCAL, [20, 20, 30]), rounds(BEFORE, [20, 40, 20])];
        let figures = with_before(&measured, "rtt", By::Quantile(0.5));
        let told: Vec<_> = figures.iter().map(|figure| (figure.name.as_str(), figure.measured.as_str())).collect();
        let name = "rtt, statemesh, local owner : before, direct client (rounds: 0.50 to 1.50)";
        assert_eq!(told, [(name, "1.00 times")]);
        assert!(with_before(&measured[..1], "rtt", By::Rate).is_empty());
    }

    #[test]
    fn nothing_is_compared_with_who_was_left_out() {
        let measured = [one_round(LOCAL, DIRECT, 20)];
        assert_eq!(with_others(&measured, "f", By::Rate).verdict, Verdict::NotMeasured);
        let figure = pair(&measured, "f", By::Rate, (LOCAL, DIRECT), (NATS, ITS_OWN), Some(1.0));
        assert_eq!(figure.verdict, Verdict::NotMeasured);
    }
}
