//! The C programs under peers/: libzmq as a server and as a client, without a binding's cost in between.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Outcome, While, failure};
use crate::load::{Pace, Round, Spec};
use crate::proc;
use crate::work::{REQUEST_BYTES, Work};

/// The programs, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// A ROUTER echo.
    pub(crate) echo: PathBuf,
    client: PathBuf,
    scratch: PathBuf,
}

impl Programs {
    /// Compiles them with the machine's C compiler and libzmq.
    pub(crate) fn build(sources: &Path, scratch: &Path) -> Outcome<Self> {
        let build = |name: &str| {
            let (source, binary) = (sources.join(name).with_extension("c"), scratch.join(name));
            let mut compiler = Command::new("cc");
            compiler.args(["-O2", "-pthread", "-o"]).arg(&binary).arg(source).arg("-lzmq");
            proc::output(&mut compiler).while_at("libzmq's headers and a C compiler (apt install gcc libzmq3-dev)")?;
            Ok(binary)
        };
        Ok(Self { echo: build("libzmq_echo")?, client: build("libzmq_client")?, scratch: scratch.to_owned() })
    }

    /// One round by a DEALER socket of libzmq. Gives the client's CPU time too, which dies with its process.
    pub(crate) fn run(&self, address: SocketAddr, work: &Work, spec: &Spec) -> Outcome<(Round, Duration)> {
        let requests = self.scratch.join("requests");
        let mut file = std::fs::File::create(&requests).while_at(requests.display())?;
        file.write_all(&work.bytes()).while_at(requests.display())?;
        let (in_flight, per_second) = match spec.pace {
            Pace::Closed { in_flight } => (in_flight, 0),
            Pace::Open { per_second } => (0, per_second),
        };
        let mut command = Command::new(&self.client);
        command.arg(address.port().to_string()).arg(&requests).arg(REQUEST_BYTES.to_string());
        command.args([in_flight.to_string(), per_second.to_string()]);
        command.args([spec.warm_up, spec.measured].map(|time| time.as_millis().to_string()));
        read(&proc::output(&mut command)?, spec)
    }
}

/// Reads what the client prints: errors, CPU time, answers in all, count, latencies.
fn read(bytes: &[u8], spec: &Spec) -> Outcome<(Round, Duration)> {
    let mut numbers = bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok().map(u64::from_ne_bytes));
    let [errors, cpu, answered, count] = std::array::from_fn(|_| numbers.next());
    let (Some(errors), Some(cpu), Some(answered), Some(count)) = (errors, cpu, answered, count) else {
        return failure("libzmq_client ended without a result");
    };
    let mut round = Round::new();
    numbers.for_each(|nanos| round.record(nanos));
    if round.events != count {
        return failure(format!("libzmq_client promised {count} latencies and gave {}", round.events));
    }
    (round.errors, round.answered) = (errors, answered);
    round.elapsed = spec.measured;
    Ok((round, Duration::from_nanos(cpu)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_cut_short_is_refused() {
        let spec =
            Spec { pace: Pace::Closed { in_flight: 1 }, warm_up: Duration::ZERO, measured: Duration::from_secs(1) };
        let bytes: Vec<u8> = [2u64, 7_000, 5, 2, 30_000, 40_000].iter().flat_map(|n| n.to_ne_bytes()).collect();
        let (round, cpu) = read(&bytes, &spec).unwrap();
        assert_eq!((round.events, round.answered, round.errors, cpu), (2, 5, 2, Duration::from_micros(7)));
        assert!(read(&bytes[..40], &spec).is_err());
        assert!(read(&[], &spec).is_err());
    }
}
