//! The last lines: what each part came to, what was left out and why, and the sum.

use crate::count::Count;
use crate::part::{Part, Verdict};

/// Prints them; true when nothing has failed.
pub(crate) fn close(results: &[(&Part, Verdict)], ci: bool) -> bool {
    println!("\n{:10} {:>8} {:>8} {:>9}", "part", "passed", "failed", "seconds");
    for (part, verdict) in results {
        if let Verdict::Ran { count, took, .. } = verdict {
            println!("{:10} {:>8} {:>8} {:>9.1}", part.name, count.passed, count.failed, took.as_secs_f64());
        }
    }
    for (part, verdict) in results {
        match verdict {
            Verdict::LeftOut(reason) => {
                println!("left out: {}: {reason}{}", part.name, weight(part, ci))
            }
            Verdict::AtNight(why) => {
                println!(
                    "left out: {}: {why}; `cargo xtask nightly` and `cargo xtask test {}` run it",
                    part.name, part.name
                );
            }
            Verdict::Ran { notes, .. } => notes.iter().for_each(|note| println!("{}: {note}", part.name)),
        }
    }
    let total = total(results, ci);
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

fn weight(part: &Part, ci: bool) -> &'static str {
    if counts_as_failed(part, ci) { " (counted as failed)" } else { "" }
}

fn counts_as_failed(part: &Part, ci: bool) -> bool {
    ci && !part.optional
}

fn total(results: &[(&Part, Verdict)], ci: bool) -> Count {
    let of = |(part, verdict): &(&Part, Verdict)| match verdict {
        Verdict::Ran { count, .. } => *count,
        Verdict::AtNight(_) => Count::default(),
        Verdict::LeftOut(_) => Count { passed: 0, failed: u64::from(counts_as_failed(part, ci)) },
    };
    results.iter().map(of).fold(Count::default(), Count::plus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(optional: bool) -> Part {
        Part { name: "p", about: "", needs: &[], steps: &[], minutes: 1, optional, nightly: None }
    }

    #[test]
    fn in_ci_only_an_optional_part_may_be_left_out() {
        for (optional, ci, failed) in [(false, true, 1), (true, true, 0), (false, false, 0)] {
            let part = part(optional);
            let results = [(&part, Verdict::LeftOut("no".to_owned()))];
            assert_eq!(total(&results, ci).failed, failed, "optional {optional}, ci {ci}");
        }
    }
}
