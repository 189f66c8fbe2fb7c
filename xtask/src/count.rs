//! Reading how many tests passed and failed from what the runners print.

use crate::command::Ended;

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Both added up.
    pub(crate) fn plus(self, other: Count) -> Count {
        Count { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// Where a command's counts are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counts {
    /// The command is one test: it ends well or not.
    Exit,
    /// `test result: ok. 5 passed; 0 failed; ...`, once for each test binary.
    Cargo,
    /// `# pass 5` and `# fail 0`, or the same after another sign.
    Node,
    /// The last `5 passed, 0 failed`.
    Plain,
    /// The three lines of tests/oracle/run.mjs; a random machine and a kept case count as one test each.
    Oracle,
}

/// What a command's end and output amount to. Ending badly, or without a test, is a failure even if none is printed.
pub(crate) fn count(counts: Counts, ended: &Ended) -> (Count, Option<String>) {
    let found = read(counts, ended);
    if !ended.well() && found.failed == 0 {
        return (found.plus(Count { passed: 0, failed: 1 }), Some(format!("it ended badly: {}", ended.how())));
    }
    if found == Count::default() {
        return (Count { passed: 0, failed: 1 }, Some("it ran no test".to_owned()));
    }
    (found, None)
}

fn read(counts: Counts, ended: &Ended) -> Count {
    let lines = || ended.lines.iter().map(String::as_str);
    match counts {
        Counts::Exit => Count { passed: u64::from(ended.well()), failed: u64::from(!ended.well()) },
        Counts::Cargo => lines().filter_map(cargo).fold(Count::default(), Count::plus),
        Counts::Node => lines().filter_map(node).fold(Count::default(), Count::plus),
        Counts::Plain => lines().filter_map(plain).next_back().unwrap_or_default(),
        Counts::Oracle => lines().filter_map(oracle).fold(Count::default(), Count::plus),
    }
}

/// The number before a word: 5 in `5 passed;`.
fn before(line: &str, word: &str) -> Option<u64> {
    let mut last = "";
    for next in line.split_whitespace() {
        if next.trim_end_matches([',', ';', '.']) == word {
            return last.parse().ok();
        }
        last = next;
    }
    None
}

fn cargo(line: &str) -> Option<Count> {
    let rest = line.trim_start().strip_prefix("test result:")?;
    Some(Count { passed: before(rest, "passed")?, failed: before(rest, "failed")? })
}

fn node(line: &str) -> Option<Count> {
    let mut words = line.split_whitespace().skip(1);
    let (word, number) = (words.next()?, words.next()?.parse().ok()?);
    match (word, words.next()) {
        ("pass", None) => Some(Count { passed: number, failed: 0 }),
        ("fail", None) => Some(Count { passed: 0, failed: number }),
        _ => None,
    }
}

fn plain(line: &str) -> Option<Count> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words.as_slice() {
        [passed, "passed,", failed, "failed"] => {
            Some(Count { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
        }
        _ => None,
    }
}

fn oracle(line: &str) -> Option<Count> {
    if line.contains("kept cases") || line.contains(" machines, ") {
        let failed = before(line, "differences")?;
        let tests = before(line, "machines").or_else(|| line.split_whitespace().next()?.parse().ok())?;
        return Some(Count { passed: tests.saturating_sub(failed), failed });
    }
    if line.contains("SCXML cases pass") {
        return Some(Count { passed: before(line, "SCXML")?, failed: before(line, "fail")? });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(code: i32, text: &str) -> Ended {
        Ended { status: Some(ExitStatus::from_raw(code << 8)), lines: text.lines().map(str::to_owned).collect() }
    }

    fn of(counts: Counts, code: i32, text: &str) -> (u64, u64) {
        let (count, _) = count(counts, &ended(code, text));
        (count.passed, count.failed)
    }

    #[test]
    fn each_runner_is_understood() {
        let cargo = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\nx\ntest result: FAILED. 2 passed; 3 failed; 0 ignored";
        assert_eq!(of(Counts::Cargo, 101, cargo), (7, 3));
        assert_eq!(of(Counts::Node, 0, "# tests 9\n# pass 8\n# fail 0\n"), (8, 0));
        assert_eq!(of(Counts::Node, 1, "\u{2139} pass 8\n\u{2139} fail 1\n"), (8, 1));
        assert_eq!(of(Counts::Plain, 0, "1 passed, 1 failed of a step\n4 passed, 0 failed"), (4, 0));
        assert_eq!(of(Counts::Exit, 0, ""), (1, 0));
        assert_eq!(of(Counts::Exit, 1, ""), (0, 1));
        let oracle = "3 kept cases, 1 differences\n100 SCXML cases pass, 10 exempt, 2 fail\nseed 1: 50000 steps, 700 machines, 0 differences (9.1 s)";
        assert_eq!(of(Counts::Oracle, 1, oracle), (802, 3));
    }

    #[test]
    fn nothing_run_and_a_bad_end_are_failures() {
        assert_eq!(of(Counts::Cargo, 0, "error: could not compile"), (0, 1));
        assert_eq!(of(Counts::Cargo, 101, "test result: ok. 5 passed; 0 failed"), (5, 1));
        assert_eq!(of(Counts::Plain, 0, ""), (0, 1));
        let (counted, why) =
            count(Counts::Plain, &Ended { status: None, lines: vec!["5 passed, 0 failed".to_owned()] });
        assert_eq!((counted.failed, why.unwrap()), (1, "it ended badly: its time was over".to_owned()));
    }
}
