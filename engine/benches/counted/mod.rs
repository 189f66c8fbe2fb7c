//! What a benchmark that counts instructions does: it runs itself under callgrind once for each case with few rounds and once with many;
//! the difference, divided, is what one of what the case does takes. That is repeatable, so that CI can hold the code to a bound.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

/// What is measured, and how exactly it is bounded.
pub(crate) struct Counted {
    /// What one of the things is called: `step`.
    pub(crate) unit: &'static str,
    /// The file with the bounds, one for each case.
    pub(crate) bounds: &'static str,
    /// Rounds of the two runs.
    pub(crate) few: u64,
    /// See `few`.
    pub(crate) many: u64,
    /// What `--bless` leaves room for, in percent.
    pub(crate) spare: u64,
}

impl Counted {
    /// As [`Counted::main_of`], with the same rounds for each case.
    #[allow(dead_code, reason = "not every benchmark has cases of both kinds")]
    pub(crate) fn main(&self, cases: &[(&str, u64)], run: impl FnOnce(&str, u64)) -> ExitCode {
        let cases: Vec<_> = cases.iter().map(|(case, in_a_round)| (*case, *in_a_round, self.rounds())).collect();
        self.main_of(&cases, run)
    }

    /// The rounds of both runs.
    pub(crate) fn rounds(&self) -> [u64; 2] {
        [self.few, self.many]
    }

    /// Does what the command line says: `--run CASE ROUNDS` runs a case, anything else measures all cases, each given with how many
    /// things it does in a round, and the rounds of both runs. With `--bless` the bounds are written anew; else it fails if a case
    /// exceeds its bound.
    pub(crate) fn main_of(&self, cases: &[(&str, u64, [u64; 2])], run: impl FnOnce(&str, u64)) -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if let ["--run", case, rounds] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            run(case, rounds.parse().expect("a number of rounds"));
            return ExitCode::SUCCESS;
        }
        if Command::new("valgrind").arg("--version").output().is_err() {
            println!("NOT RUN: valgrind is not installed (Debian: apt install valgrind)");
            return ExitCode::FAILURE;
        }
        self.measure(cases, arguments.iter().any(|argument| argument == "--bless"))
    }

    fn measure(&self, cases: &[(&str, u64, [u64; 2])], bless: bool) -> ExitCode {
        let text = std::fs::read_to_string(self.bounds).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let bounds: BTreeMap<&str, u64> =
            lines.filter_map(|(name, bound)| Some((name, bound.trim().parse().ok()?))).collect();
        let (mut blessed, mut failed) = (String::new(), false);
        for &(case, in_a_round, rounds) in cases {
            // Valgrind has one thread.
            let [few, many] = std::thread::scope(|scope| {
                rounds.map(|rounds| scope.spawn(move || instructions(case, rounds))).map(|run| run.join())
            })
            .map(|count| count.expect("callgrind counts"));
            let each = (many - few) / ((rounds[1] - rounds[0]) * in_a_round);
            let bound = bounds.get(case).copied();
            let verdict = match bound {
                Some(bound) if each > bound => "TOO MANY",
                Some(_) => "ok",
                None => "no bound",
            };
            failed |= verdict != "ok";
            let shown = bound.map_or("?".to_owned(), |bound| bound.to_string());
            println!("{case:26} {each:6} instructions a {}, at most {shown:>6}: {verdict}", self.unit);
            blessed.push_str(&format!("{case} {}\n", each + each * self.spare / 100 + 1));
        }
        if bless {
            std::fs::write(self.bounds, blessed).expect("the bounds can be written");
        }
        if failed && !bless { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Instructions of a whole run.
fn instructions(case: &str, rounds: u64) -> u64 {
    let own = std::env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--run", case, &rounds.to_string()])
        .output()
        .expect("valgrind runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected")).expect("callgrind reports a count");
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("the count is a number")
}
