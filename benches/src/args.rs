//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::failure::{Outcome, While, failure};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Args {
    /// Scenarios by name; none: all.
    pub(crate) names: Vec<String>,
    /// Rounds of each comparison.
    pub(crate) rounds: usize,
    /// How long a contender's turn in a round is measured.
    pub(crate) measured: Duration,
    /// Whether benches/README.md is to be changed.
    pub(crate) record: bool,
    /// The daemon to measure; `None`: it is built.
    pub(crate) daemon: Option<PathBuf>,
    /// An earlier daemon to measure beside it.
    pub(crate) before: Option<PathBuf>,
    given: Vec<String>,
}

/// What `--help` says.
pub(crate) const HELP: &str = "\
cargo xtask bench [NAME...] [--rounds N] [--seconds S] [--quick] [--dry]

  --rounds N    rounds of each comparison (8)
  --seconds S   for how long each contender is measured in each round (0.5)
  --quick       3 rounds of 0.3 s, to see that it works; implies --dry
  --daemon FILE measure this binary instead of building one from the sources
  --before FILE measure this earlier binary beside it, in the same rounds (rtt, rate), and leave the page as it is
  --dry         leave benches/README.md and benches/plots as they are

Names, all of them if none is given:
";

impl Args {
    /// Reads the arguments behind the program's name. `None`: help is wanted.
    pub(crate) fn read(given: &[String]) -> Outcome<Option<Self>> {
        let measured = Duration::from_millis(500);
        let mut args = Self {
            names: Vec::new(),
            rounds: 8,
            measured,
            record: true,
            daemon: None,
            before: None,
            given: given.to_vec(),
        };
        let mut rest = given.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--rounds" => args.rounds = positive(argument, rest.next())?.clamp(1.0, 1_000.0) as usize,
                "--seconds" => {
                    args.measured = Duration::from_secs_f64(positive(argument, rest.next())?.clamp(0.05, 600.0))
                }
                "--quick" => (args.rounds, args.measured, args.record) = (3, Duration::from_millis(300), false),
                "--daemon" => args.daemon = rest.next().map(PathBuf::from),
                "--before" => (args.before, args.record) = (rest.next().map(PathBuf::from), false),
                "--dry" => args.record = false,
                "-h" | "--help" => return Ok(None),
                flag if flag.starts_with('-') => return failure(format!("{flag}: no such option; --help lists them")),
                name => args.names.push(name.to_owned()),
            }
        }
        Ok(Some(args))
    }

    /// The command that gives the same run.
    pub(crate) fn command(&self) -> String {
        [&["cargo xtask bench".to_owned()], &self.given[..]].concat().join(" ")
    }
}

fn positive(flag: &str, value: Option<&String>) -> Outcome<f64> {
    let Some(text) = value else { return failure(format!("{flag} needs a number")) };
    let number: f64 = text.parse().while_at(format!("{flag} {text}"))?;
    if number > 0.0 { Ok(number) } else { failure(format!("{flag} {text}: not above 0")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Outcome<Option<Args>> {
        Args::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn names_and_options_come_in_any_order() {
        let args = read("rtt --rounds 4 rate --seconds 0.5").unwrap().unwrap();
        assert_eq!((args.names.join(" "), args.rounds, args.record), ("rtt rate".to_owned(), 4, true));
        assert_eq!(args.measured, Duration::from_millis(500));
        assert_eq!(args.command(), "cargo xtask bench rtt --rounds 4 rate --seconds 0.5");
        assert!(!read("--quick").unwrap().unwrap().record);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--rounds", "--rounds x", "--seconds 0", "--seconds -1", "--verbose"] {
            assert!(read(line).is_err(), "{line}");
        }
        assert!(read("--help").unwrap().is_none());
    }
}
