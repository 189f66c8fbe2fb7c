//! `delete`: removes an instance, or all of a machine that a filter lists.
//!
//! The second is done from here, a page of the list at a time, and one instance after the other: nothing is kept beyond a page, nothing
//! runs on where this ends, and the next call goes on with what is left. Each instance is removed only if it still is where the list
//! saw it, so that one that went on meanwhile stays.

use super::args::{DeleteArgs, Target};
use super::ask::{answer, noted, rows};
use super::instances::{PAGE, counted, summed};
use crate::connect::connect;
use crate::failure::{Exit, Failure};
use crate::output::{Printer, Style, Table, printable, say, text};
use crate::remote::{self, Remote};
use serde_json::{Value, json};
use statemesh_client::{Ask, Conditions, ErrorCode, Listing, Op, RunId};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

pub(crate) fn delete(args: &DeleteArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    match &args.target.key {
        Some(key) => delete_one(args, key, file, printer),
        None => delete_all(args, file, printer),
    }
}

/// Removes an instance; what is printed is where it stood.
fn delete_one(args: &DeleteArgs, key: &str, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    if args.all || args.dry_run || args.filter.fields().is_some() {
        let message = "what is to be removed is named by its key, or by --all, --status and the like; not by both";
        return Err(
            Failure::usage(message).hint("--dry-run counts those that options name; --if-seq is a condition for a key")
        );
    }
    let target = Target { machine: args.target.machine.clone(), key: key.to_owned() };
    let conditions = args.conditions.given();
    let ask = Ask { conditions, ..remote::about(Op::Delete, &target.machine, &target.key) };
    let reply = answer(&mut connect(&args.connect, file)?, &ask)?;
    printer.answer(&reply, || noted(&target, &reply, ("removed".to_owned(), Style::Good)))
}

/// What became of those that were listed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    deleted: u64,
    /// By why.
    skipped: BTreeMap<String, u64>,
    /// Some were refused for another reason than that they have gone on.
    is_incomplete: bool,
}

impl Sum {
    /// Takes in what became of one. Gives back what makes it useless to go on.
    fn take(&mut self, result: Result<Value, Failure>) -> Result<(), Failure> {
        let Err(failure) = result else {
            self.deleted += 1;
            return Ok(());
        };
        let why = match failure.reply {
            Some(ErrorCode::ConditionFailed) => "it went on after it was listed",
            Some(ErrorCode::UnknownInstance) => "it was gone already",
            Some(ErrorCode::Forbidden) => return Err(failure),
            _ if failure.exit != Exit::Refused => return Err(failure),
            _ => {
                self.is_incomplete = true;
                &failure.code
            }
        };
        *self.skipped.entry(why.to_owned()).or_default() += 1;
        Ok(())
    }

    fn skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    fn value(&self) -> Value {
        json!({"deleted": self.deleted, "skipped": self.skipped})
    }

    fn table(&self) -> Table {
        let mut table = Table::new(["INSTANCES", "RESULT", "WHY"]);
        table.styled([
            (self.deleted.to_string(), Style::Strong),
            ("deleted".to_owned(), Style::Good),
            (String::new(), Style::Plain),
        ]);
        for (why, count) in &self.skipped {
            table.styled([
                (count.to_string(), Style::Strong),
                ("skipped".to_owned(), Style::Doubtful),
                (why.clone(), Style::Plain),
            ]);
        }
        table
    }
}

fn delete_all(args: &DeleteArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let machine = args.target.machine.as_str();
    let filter = args.filter.fields();
    if args.conditions.given() != Conditions::default() {
        return Err(Failure::usage("--dedup, --if-run and --if-seq are for one instance: MACHINE/KEY"));
    }
    if args.all && filter.is_some() {
        return Err(Failure::usage(
            "--all means every instance, and --status, --older and the like only some: one or the other",
        ));
    }
    if !args.all && filter.is_none() {
        return Err(Failure::usage(format!("which instances of {} are to be removed?", printable(machine))).hint(
            "--status done, --older 24h and the like say which, --all means all of them, and a single one is MACHINE/KEY",
        ));
    }
    let list = Listing { filter: filter.as_deref().map(str::as_bytes), ..Listing::default() };
    let listed = Ask { machine: Some(machine), list, ..remote::ask(Op::List) };
    let mut client = connect(&args.connect, file)?;
    if args.dry_run {
        return count(&mut client, &listed, printer);
    }
    let mut sum = Sum::default();
    let done = delete_listed(&mut client, &listed, &mut sum);
    if done.is_err() && sum == Sum::default() {
        return done;
    }
    // Also where it could not go on: what was done was done.
    printer.answer(&sum.value(), || sum.table())?;
    done.map_err(|failure| Failure { message: format!("{}; not all were looked at", failure.message), ..failure })?;
    match sum.is_incomplete {
        false => Ok(()),
        true => Err(Failure::new(Exit::Refused, "incomplete", format!("{} of them were not removed", sum.skipped()))
            .hint("the same command goes on with what is left")),
    }
}

fn delete_listed(client: &mut Remote, listed: &Ask<'_>, sum: &mut Sum) -> Result<(), Failure> {
    let mut said = Instant::now();
    let mut after: Option<String> = None;
    loop {
        // A place stays one while others are removed before it.
        let list = Listing { limit: Some(PAGE), after: after.as_deref(), ..listed.list };
        let page = answer(client, &Ask { list, ..*listed })?;
        for one in rows(&page["instances"]) {
            sum.take(delete_as_listed(client, one))?;
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                say!("{} deleted, {} skipped so far", sum.deleted, sum.skipped());
            }
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Removes an instance if it still is where it was listed.
fn delete_as_listed(client: &mut Remote, one: &Value) -> Result<Value, Failure> {
    let (machine, key) = (text(&one["machine"]), text(&one["key"]));
    let (if_run, if_seq) = (one["run"].as_str().and_then(RunId::parse), one["seq"].as_u64());
    let conditions = Conditions { dedup: None, if_run, if_seq };
    client.ask(&Ask { conditions, ..remote::about(Op::Delete, &machine, &key) })
}

/// How many would be removed.
fn count(client: &mut Remote, listed: &Ask<'_>, printer: &Printer) -> Result<(), Failure> {
    let (mut found, mut after): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let list = Listing { counts: true, after: after.as_deref(), ..listed.list };
        let mut page = answer(client, &Ask { list, ..*listed })?;
        if let Value::Array(counts) = page["counts"].take() {
            found = summed(found.into_iter().chain(counts).collect());
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    let counts = Value::Array(found);
    printer.answer(&counts, || counted(&counts))?;
    say!("nothing was removed: --dry-run");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_on_is_skipped_and_what_cannot_be_done_for_any_ends_it() {
        let refused = |code: ErrorCode| {
            let mut failure = Failure::new(Exit::Refused, code.as_str(), "no");
            failure.reply = Some(code);
            Err(failure)
        };
        let mut sum = Sum::default();
        sum.take(Ok(json!({}))).unwrap();
        for code in [ErrorCode::ConditionFailed, ErrorCode::UnknownInstance, ErrorCode::ConditionFailed] {
            sum.take(refused(code)).unwrap();
        }
        assert!(!sum.is_incomplete);
        sum.take(refused(ErrorCode::Moving)).unwrap();
        assert!(sum.is_incomplete);
        assert!(sum.take(refused(ErrorCode::Forbidden)).is_err());
        assert!(sum.take(Err(Failure::new(Exit::Unreachable, "unreachable", "no"))).is_err());
        let skipped = json!({"it was gone already": 1, "it went on after it was listed": 2, "moving": 1});
        assert_eq!(sum.value(), json!({"deleted": 1, "skipped": skipped}));
    }
}
