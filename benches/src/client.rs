//! Clients: the direct one in this process, and those that are programs of their own under peers/. All have the same loops.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::failure::{Failure, Outcome, While, failure};
use crate::proc::{self, Process};
use crate::work::{REQUEST_BYTES, Turns, Work};
use statemesh_load::{Endpoint, Pace, Refusal, Round, Spec};
use statemesh_transport::curve::Security;

/// Patience with a session beyond the time that its round takes: a cluster that is joined, a just-in-time compiler.
const PATIENCE: Duration = Duration::from_secs(30);
/// Patience with a handshake, and with answers that are still owed when a round ends.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// A result that is larger is not read: more than an hour of answers.
const RESULT_BYTES: u64 = 8 << 30;

/// What asks.
#[derive(Debug)]
pub(crate) enum Client {
    /// The direct client, in this process.
    Direct,
    /// A program that runs one round and ends: peers/load.h says with which arguments, and what it prints.
    Program(PathBuf),
    /// A program that is too slow to start for that, and runs a round for each line that it is given. The actors' clients take
    /// requests in flight for a pace, many_client requests a second.
    Session(Session),
}

impl Client {
    /// Runs one round. Gives the client's CPU time too.
    pub(crate) fn run(&self, address: SocketAddr, work: &Work, spec: &Spec, out: &Path) -> Outcome<(Round, Duration)> {
        match self {
            Client::Direct => {
                let before = proc::cpu(std::process::id());
                let round = direct(address, work, spec)?;
                Ok((round, proc::cpu(std::process::id()).saturating_sub(before)))
            }
            Client::Program(program) => run_program(program, address, work, spec, out),
            Client::Session(session) => session.run(work, spec, out),
        }
    }
}

/// A round of the direct client. It never sleeps in an open loop: that would be late by more than what is measured.
pub(crate) fn spec(pace: Pace, warm_up: Duration, measured: Duration) -> Spec {
    Spec { pace, warm_up, measured, requests: None, patience: ANSWERED_WITHIN, polls: true }
}

/// Runs one round with the direct client. A connection that ends, ends the round: peers are not to be forgiven that.
pub(crate) fn direct(address: SocketAddr, work: &Work, spec: &Spec) -> Outcome<Round> {
    let mut endpoint = Endpoint::new(&address.to_string(), Security::None, ANSWERED_WITHIN, 0);
    let mut turns = Turns::new(work, spec.pace);
    let round = statemesh_load::run(&mut endpoint, &mut turns, spec, &AtomicBool::new(false));
    let round = round.while_at("the direct client")?;
    match &round.broken {
        None => Ok(round),
        Some(why) => failure(format!("the direct client: {why}")),
    }
}

fn run_program(
    program: &Path,
    address: SocketAddr,
    work: &Work,
    spec: &Spec,
    out: &Path,
) -> Outcome<(Round, Duration)> {
    let requests = requests(work, out)?;
    let (in_flight, per_second) = match spec.pace {
        Pace::Closed { in_flight } => (in_flight, 0),
        Pace::Open { per_second } => (0, per_second),
    };
    let mut command = Command::new(program);
    command.arg(address.port().to_string()).arg(&requests).arg(REQUEST_BYTES.to_string());
    command.args([in_flight.to_string(), per_second.to_string()]);
    command.args([spec.warm_up, spec.measured].map(|time| time.as_millis().to_string()));
    let name = program.display().to_string();
    read(&proc::output(&mut command)?, spec).map_err(|why| Failure(format!("{name}: {why}")))
}

/// The requests as a file, for a client in another language.
fn requests(work: &Work, out: &Path) -> Outcome<PathBuf> {
    let path = out.join("requests");
    let mut file = std::fs::File::create(&path).while_at(path.display())?;
    file.write_all(&work.bytes()).while_at(path.display())?;
    Ok(path)
}

/// A client that stays.
#[derive(Debug)]
pub(crate) struct Session {
    lines: std::cell::RefCell<Process>,
    results: Receiver<std::io::Result<Vec<u8>>>,
}

impl Session {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let mut process = Process::start(command.stdout(Stdio::piped()))?;
        let Some(mut stdout) = process.child().stdout.take() else { return failure("a client without stdout") };
        let (sender, results) = sync_channel(1);
        // A thread, since a pipe cannot be read with a deadline; it ends with the process.
        std::thread::spawn(move || {
            loop {
                let result = next_result(&mut stdout);
                let over = result.is_err();
                if sender.send(result).is_err() || over {
                    return;
                }
            }
        });
        Ok(Self { lines: process.into(), results })
    }

    /// Waits for a result that it gives without being asked: that it is ready.
    pub(crate) fn wait(&self) -> Outcome {
        self.results.recv_timeout(PATIENCE).while_at("the client")?.while_at("the client's result").map(drop)
    }

    fn run(&self, work: &Work, spec: &Spec, out: &Path) -> Outcome<(Round, Duration)> {
        let requests = requests(work, out)?;
        let pace = match spec.pace {
            Pace::Closed { in_flight } => in_flight.to_string(),
            Pace::Open { per_second } => per_second.to_string(),
        };
        let [warm_up, measured] = [spec.warm_up, spec.measured].map(|time| time.as_millis());
        let line = format!("{} {REQUEST_BYTES} {pace} {warm_up} {measured}\n", requests.display());
        match &mut self.lines.borrow_mut().child().stdin {
            Some(stdin) => stdin.write_all(line.as_bytes()).while_at("the client's stdin")?,
            None => return failure("a client without stdin"),
        }
        let result = self.results.recv_timeout(spec.warm_up + spec.measured + PATIENCE).while_at("the client")?;
        read(&result.while_at("the client's result")?, spec)
    }
}

/// One result as it is in the stream: four numbers, of which the last says how many latencies follow.
fn next_result(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut result = vec![0; 4 * 8];
    from.read_exact(&mut result)?;
    let count = result.last_chunk::<8>().map_or(0, |count| u64::from_ne_bytes(*count));
    let bytes = count.saturating_mul(8);
    if bytes > RESULT_BYTES || from.take(bytes).read_to_end(&mut result)? as u64 != bytes {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(result)
}

/// Reads what a client prints: errors, CPU time, answers in all, count, latencies.
fn read(bytes: &[u8], spec: &Spec) -> Outcome<(Round, Duration)> {
    let mut numbers = bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok().map(u64::from_ne_bytes));
    let [errors, cpu, answered, count] = std::array::from_fn(|_| numbers.next());
    let (Some(errors), Some(cpu), Some(answered), Some(count)) = (errors, cpu, answered, count) else {
        return failure("it ended without a result");
    };
    let mut round = Round::default();
    numbers.for_each(|nanos| round.record(nanos));
    if round.events != count {
        return failure(format!("it promised {count} latencies and gave {}", round.events));
    }
    let why = Refusal { code: "no_good_answer".to_owned(), message: "see what the client says".to_owned() };
    round.errors.add(errors, &why);
    round.answered = answered;
    round.elapsed = spec.measured;
    Ok((round, Duration::from_nanos(cpu)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo;
    use crate::work;

    fn against_an_echo(pace: Pace) -> Round {
        let (mut reactor, address) = echo::reactor(Duration::ZERO).unwrap();
        // It has no end of its own: it goes with the test's process.
        std::thread::spawn(move || reactor.run());
        let spec = spec(pace, Duration::ZERO, Duration::from_millis(100));
        direct(address, &Work::new(&work::keys(0, 10)), &spec).unwrap()
    }

    #[test]
    fn a_closed_loop_gets_an_answer_to_everything() {
        let round = against_an_echo(Pace::Closed { in_flight: 7 });
        assert_eq!(round.errors.total(), 0);
        assert!(round.events >= 7 && round.events <= round.answered, "{} of {}", round.events, round.answered);
        assert_eq!(round.events, round.latency.len());
    }

    #[test]
    fn an_open_loop_offers_what_it_was_told_however_slow_the_machine_is() {
        let round = against_an_echo(Pace::Open { per_second: 2_000 });
        assert_eq!((round.events, round.errors.total()), (200, 0));
    }

    fn bytes(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
    }

    #[test]
    fn a_result_cut_short_is_refused() {
        let spec = spec(Pace::Closed { in_flight: 1 }, Duration::ZERO, Duration::from_secs(1));
        let bytes = bytes(&[2, 7_000, 5, 2, 30_000, 40_000]);
        let (round, cpu) = read(&bytes, &spec).unwrap();
        assert_eq!((round.events, round.answered, round.errors.total(), cpu), (2, 5, 2, Duration::from_micros(7)));
        assert!(read(&bytes[..40], &spec).is_err());
        assert!(read(&[], &spec).is_err());
    }

    #[test]
    fn results_are_taken_from_a_stream_one_by_one() {
        let (first, second) = (bytes(&[0, 1, 2, 2, 30, 40]), bytes(&[0, 1, 1, 1, 50]));
        let stream = [&first[..], &second[..], &second[..20]].concat();
        let mut stream = &stream[..];
        assert_eq!(next_result(&mut stream).unwrap(), first);
        assert_eq!(next_result(&mut stream).unwrap(), second);
        assert!(next_result(&mut stream).is_err(), "half a head is no result");
        assert!(next_result(&mut &bytes(&[0, 1, 2, u64::MAX])[..]).is_err(), "a length that lies is refused");
    }
}
