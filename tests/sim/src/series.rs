//! A series of seeds: run side by side, each judged, all of them together covering what there is; and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statemesh_mesh::{definitions, key_index, membership, ownership};
use statemesh_node::parts;
use statemesh_protocol::error::ErrorCode;

use crate::book;
use crate::command::{self, Wish};
use crate::nemesis::Fault;
use crate::seed::{Outcome, Recipe};

/// A run of so many seeds must have seen everything.
const COVERING: usize = 300;
/// Failing seeds that are shown.
const SHOWN: usize = 40;

/// What a series came to so far.
#[derive(Debug, Default)]
pub struct Sum {
    /// Seeds that were run.
    pub done: BTreeSet<u64>,
    /// Requests that were sent.
    pub requests: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Those that were run twice.
    pub replayed: u64,
    /// The hashes of all that happened in each of them, combined: two builds that do the same give the same.
    pub hash: u64,
    /// What it took.
    pub took: Duration,
    /// The most memory that a daemon took, in bytes.
    pub peak: u64,
    /// What was seen of each kind.
    pub coverage: BTreeMap<String, u64>,
    /// Seeds that failed.
    pub failed: Vec<(u64, Outcome)>,
}

/// A series that runs.
struct Series<'a> {
    wish: &'a Wish,
    sum: Mutex<Sum>,
    /// What was there of it before, and since when it goes on.
    before: (usize, Duration),
    began: Instant,
}

/// Runs a series of seeds. Says whether all were well.
#[must_use]
pub fn run(wish: &Wish) -> bool {
    let first = wish.seed.unwrap_or(1);
    let count = wish.seeds.unwrap_or(if wish.seed.is_some() { 1 } else { 20 });
    let kept = wish.book.as_deref().map_or_else(|| Ok(Sum::default()), book::read);
    let sum = match kept {
        Ok(sum) => sum,
        Err(error) => {
            eprintln!("error: {error}");
            return false;
        }
    };
    let deadline = wish.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let todo: Vec<u64> = (first..first.saturating_add(count)).filter(|seed| !sum.done.contains(seed)).collect();
    let before = (sum.done.len(), sum.took);
    let series = Series { wish, sum: Mutex::new(sum), before, began: Instant::now() };
    let next = AtomicUsize::new(0);
    let late = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..wish.jobs() {
            scope.spawn(|| {
                while let Some(seed) = todo.get(next.fetch_add(1, Relaxed)) {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return late.store(true, Relaxed);
                    }
                    series.add(*seed, one(wish, *seed));
                }
            });
        }
    });
    let sum = series.sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(wish, &sum, count, late.into_inner())
}

/// Runs a seed, and again where it must be the same.
#[must_use]
pub fn one(wish: &Wish, seed: u64) -> Outcome {
    let recipe = wish.recipe(seed);
    let mut outcome = recipe.run();
    if outcome.violations.is_empty() && outcome.requests < recipe.least_requests() {
        outcome.violations.push(format!("only {} requests were sent", outcome.requests));
    }
    if wish.replays(seed) {
        let again = recipe.run();
        if again.hash != outcome.hash || again.requests != outcome.requests {
            let first = outcome.trace.iter().zip(&again.trace).find(|(a, b)| a != b);
            outcome
                .violations
                .push(format!("it does not replay: {:016x}, then {:016x}; {first:?}", outcome.hash, again.hash));
        }
    }
    outcome
}

impl Series<'_> {
    fn add(&self, seed: u64, outcome: Outcome) {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.done.insert(seed);
        sum.replayed += u64::from(self.wish.replays(seed));
        sum.requests += outcome.requests as u64;
        sum.acknowledged += outcome.acknowledged;
        sum.peak = sum.peak.max(outcome.peak);
        sum.hash ^= outcome.hash;
        sum.took = self.before.1 + self.began.elapsed();
        for (name, count) in &outcome.coverage {
            *sum.coverage.entry(name.clone()).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            println!("seed {seed}: {}", outcome.violations.first().map_or("", String::as_str));
            sum.failed.push((seed, outcome));
        }
        let done = sum.done.len();
        if done.is_multiple_of(20) {
            let rate = (done - self.before.0) as f64 / minutes(self.began.elapsed());
            println!("{done} seeds, {} failed, {rate:.0} seeds a minute", sum.failed.len());
            if let Some(Err(error)) = self.wish.book.as_deref().map(|path| book::write(path, &sum)) {
                eprintln!("error: {error}");
            }
        }
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

fn report(wish: &Wish, sum: &Sum, count: u64, late: bool) -> bool {
    let mut missing = 0;
    for (seed, outcome) in sum.failed.iter().take(SHOWN) {
        println!("\nseed {seed} failed:");
        command::print_failure(outcome, if count == 1 { 200 } else { 12 }, wish.trace);
        if count > 1 {
            shrink(wish, *seed);
        }
    }
    if wish.trace && count == 1 && sum.failed.is_empty() {
        command::print_failure(&wish.recipe(wish.seed.unwrap_or(1)).run(), 0, true);
    }
    println!("\ncoverage:");
    for name in expected() {
        let n = sum.coverage.get(&name).copied().unwrap_or(0);
        missing += u64::from(n == 0);
        let mark = if n == 0 && sum.done.len() >= COVERING { "  <- never" } else { "" };
        println!("  {n:>10}  {name}{mark}");
    }
    for (code, why) in ErrorCode::ALL.iter().filter_map(|code| Some((code, unseen(*code)?))) {
        println!("  {:>10}  code {}: {why}", "-", code.as_str());
    }
    println!("  {:>10}  the most bytes of memory that a daemon had", sum.peak);
    for (name, n) in sum.coverage.iter().filter(|(name, _)| !expected().contains(name)) {
        println!("  {n:>10}  {name}");
    }
    if let Some(page) = &wish.page
        && let Err(error) = std::fs::write(page, page_of(sum))
    {
        eprintln!("error: {}: {error}", page.display());
    }
    let (done, minutes) = (sum.done.len() as u64, minutes(sum.took));
    println!(
        "\n{} requests, {} acknowledged; {minutes:.1} minutes, {:.0} seeds a minute; hash {:016x}",
        sum.requests,
        sum.acknowledged,
        done as f64 / minutes,
        sum.hash
    );
    if sum.done.len() < COVERING {
        println!("not judged: whether all was seen; {COVERING} seeds are needed for that");
    }
    if late {
        println!("left out: {} of {count} seeds: the time was over", count.saturating_sub(done));
    }
    let uncovered = u64::from(missing > 0 && sum.done.len() >= COVERING && wish.fault.is_none());
    let failed = sum.failed.len() as u64 + uncovered;
    println!("{} passed, {failed} failed", done.saturating_sub(sum.failed.len() as u64));
    failed == 0
}

/// What the page about a night says of the seeds.
fn page_of(sum: &Sum) -> String {
    let (first, last) = (sum.done.first().unwrap_or(&0), sum.done.last().unwrap_or(&0));
    let mut page = format!(
        "{} seeds ({first} to {last}), {} of them run twice, {} failed; {} requests, {} events acknowledged; {:.0} minutes. The most memory \
         that a daemon had was {:.1} MiB.\n",
        sum.done.len(),
        sum.replayed,
        sum.failed.len(),
        sum.requests,
        sum.acknowledged,
        minutes(sum.took),
        sum.peak as f64 / f64::from(1 << 20)
    );
    let (faults, others): (Vec<_>, Vec<_>) = sum.coverage.iter().partition(|(name, _)| name.starts_with("fault "));
    for (what, rows) in [("fault", faults), ("seen", others)] {
        page.push_str(&format!("\n| {what} | times |\n|---|---|\n"));
        for (name, n) in rows {
            page.push_str(&format!("| {} | {n} |\n", name.strip_prefix("fault ").unwrap_or(name)));
        }
    }
    page.push_str("\nFound: ");
    if sum.failed.is_empty() {
        page.push_str("nothing.\n");
    }
    for (seed, outcome) in &sum.failed {
        let first = outcome.violations.first().map_or("", String::as_str);
        page.push_str(&format!("\n- seed {seed}: {first}"));
    }
    page
}

/// Why no seed can bring a code about; none of one that must have been seen. A new code is to be put on one side or the other.
fn unseen(code: ErrorCode) -> Option<&'static str> {
    use ErrorCode as C;
    match code {
        C::Forbidden => Some(
            "asks for CURVE, whose handshakes use chance of the system's, and a seed must replay to the byte; tests/mesh of \
             daemon/node and tests/hostile have it",
        ),
        C::DurabilityFixed | C::StorageDamaged | C::StorageFull | C::StorageFailed => {
            Some("asks for a volume, and a daemon of a seed has none")
        }
        C::Internal => Some("a fault of the daemon: the judge says so of each"),
        C::BadRequest
        | C::UnknownOp
        | C::MissingField
        | C::WrongType
        | C::BatchTooLarge
        | C::MessageTooLarge
        | C::KeyTooLong
        | C::InvalidDefinition
        | C::Unsupported
        | C::UnknownMachine
        | C::UnknownInstance
        | C::UnknownState
        | C::AlreadyStarted
        | C::EventFailed
        | C::ConditionFailed
        | C::DedupMismatch
        | C::DedupTooLong
        | C::OutputTooLarge
        | C::ReservedEvent
        | C::LimitExceeded
        | C::Moving
        | C::Moved
        | C::NotReady
        | C::Leaving
        | C::OwnerUnreachable
        | C::OutcomeUnknown
        | C::Timeout => None,
    }
}

/// What a run of many seeds must have seen.
fn expected() -> Vec<String> {
    let faults = Fault::ALL.iter().map(|fault| format!("fault {}", fault.name()));
    let wakes = ["datagram", "reactors", "answered", "unanswered", "done", "leave", "rotate", "tick"]
        .map(|wake| format!("wake {wake}"));
    let codes = ErrorCode::ALL.iter().filter(|code| unseen(**code).is_none()).map(|code| code.as_str());
    let codes = std::iter::once("ok").chain(codes).map(|code| format!("code {code}"));
    let decisions = [
        ("membership", membership::Output::NAMES),
        ("ownership", ownership::Output::NAMES),
        ("definitions", definitions::Output::NAMES),
        ("key-index", key_index::Output::NAMES),
    ];
    let decisions = decisions.into_iter().flat_map(|(of, names)| names.iter().map(move |name| format!("{of} {name}")));
    // All daemons have names of their own and the same limits.
    let decisions =
        decisions.filter(|name| !["membership name-taken", "definitions not-taken"].contains(&name.as_str()));
    // A seed has no HTTP, whose requests come from within the process, no CURVE, whose keys change, and daemons of one mesh that all read
    // each other's instances; scenarios and tests of daemon/node have those.
    let unseen = [
        "command call",
        "command clients-changed",
        "command peer-keys-changed",
        "message refused",
        "message unreadable",
    ];
    let commands = parts::COMMANDS.iter().map(|name| format!("command {name}"));
    let messages = parts::ToControl::NAMES.iter().map(|name| format!("message {name}"));
    let told = commands.chain(messages).filter(|name| !unseen.contains(&name.as_str()));
    let others = [
        "fault links-broken-in-hand-off",
        "fault links-broken-in-merge",
        "replies that say restarted",
        "changes seen",
        "instances counted as lost",
        "keys counted as in conflict",
        "instances that became stuck",
        "commands that found a reactor's mailbox full",
        "messages that found the control plane's mailbox full",
    ];
    let others = others.map(str::to_owned);
    faults.chain(wakes).chain(codes).chain(decisions).chain(told).chain(others).collect()
}

/// Leaves out faults and clients as long as the seed still fails, and prints what is left.
fn shrink(wish: &Wish, seed: u64) {
    let mut recipe = wish.recipe(seed);
    let fails = |recipe: &Recipe| !recipe.run().violations.is_empty();
    let mut at = 0;
    while at < recipe.faults.len() {
        let mut smaller = recipe.clone();
        smaller.faults.remove(at);
        if fails(&smaller) {
            recipe = smaller;
        } else {
            at += 1;
        }
    }
    while recipe.clients > 1 {
        let mut smaller = recipe.clone();
        smaller.clients /= 2;
        if !fails(&smaller) {
            break;
        }
        recipe = smaller;
    }
    let faults: Vec<String> =
        recipe.faults.iter().map(|(at, fault)| format!("{} at {}", fault.name(), crate::judge::time(*at))).collect();
    println!("  it also fails with {} clients and {faults:?}", recipe.clients);
}
