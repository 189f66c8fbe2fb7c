//! `doctor`: a verdict on a mesh. Every daemon is asked what it sees, and where they differ, or something is not as it should be, it
//! is said.

use crate::config::Target;
use crate::connect::{Connect, target};
use crate::failure::{Exit, Failure};
use crate::output::{Printer, Style, Table, count, text};
use crate::remote::{self, Remote};
use serde_json::{Value, json};
use statemesh_client::{Ask, Listing, Op, Security};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Daemons that are asked at a time: a thread each.
const AT_A_TIME: usize = 32;

/// The hint about a dead member. A daemon that is told to end says goodbye, and is not listed as dead.
const DEAD: &str = "what it held is lost (`statemesh watch --reason lost` names it as it happens): start it again, under its name; who stays \
    away is listed for an hour";

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// To be looked at, or about to pass.
    Doubtful,
    /// Wrong.
    Bad,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Doubtful => "look",
            Verdict::Bad => "bad",
        }
    }

    fn style(self) -> Style {
        match self {
            Verdict::Good => Style::Good,
            Verdict::Doubtful => Style::Doubtful,
            Verdict::Bad => Style::Bad,
        }
    }
}

/// What was found about one question.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    about: &'static str,
    verdict: Verdict,
    detail: String,
}

impl Finding {
    fn new(about: &'static str, verdict: Verdict, detail: impl Into<String>) -> Finding {
        Finding { about, verdict, detail: detail.into() }
    }

    /// Good, if nothing is named.
    fn unless(about: &'static str, named: Vec<String>, verdict: Verdict, good: &str) -> Finding {
        match named.is_empty() {
            true => Finding::new(about, Verdict::Good, good),
            false => Finding::new(about, verdict, named.join("; ")),
        }
    }
}

/// What one daemon answers.
struct Seen {
    name: String,
    answers: Result<Answers, Failure>,
}

struct Answers {
    ping: Value,
    members: Value,
    placement: Value,
    machines: Value,
    /// Machines of its files that the mesh runs another version of.
    files_differing: Value,
}

/// Asks every daemon, and prints what there is to say.
pub(crate) fn doctor(args: &Connect, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let target = target(args, file)?;
    let mut first = Remote::connect(target.clone())?;
    let members = first.ask(&remote::ask(Op::Members))?["members"].take();
    // A suspect may be there, and only hard to reach by gossip.
    let is_there = |member: &&Value| ["alive", "suspect"].iter().any(|status| member["status"] == *status);
    let there: Vec<_> = rows(&members).iter().filter(is_there).collect();
    let seen = there.chunks(AT_A_TIME).flat_map(|some| all(some, &target)).collect::<Vec<_>>();
    let mut findings = judged(&members, &seen, matches!(target.security, Security::None));
    findings.push(stuck(&counted(&mut first, target.timeout)));
    let report: Vec<_> = findings
        .iter()
        .map(|found| json!({"about": found.about, "verdict": found.verdict.word(), "detail": found.detail}))
        .collect();
    printer.answer(&Value::Array(report), || table(&findings))?;
    match findings.iter().filter(|found| found.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => {
            Err(Failure::new(Exit::Refused, "unhealthy", format!("{} not as it should be", count(bad, "thing"))).hint(
                concat!("docs/how-to/troubleshoot.md of ", env!("CARGO_PKG_REPOSITORY"), " says what each may mean"),
            ))
        }
    }
}

fn all(members: &[&Value], target: &Target) -> Vec<Seen> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = members.iter().map(|member| scope.spawn(|| one(member, target))).collect();
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

fn one(member: &Value, target: &Target) -> Seen {
    let addresses = vec![format!("tcp://{}", text(&member["clients"]))];
    let ask = || -> Result<Answers, Failure> {
        let mut remote = Remote::connect(Target { addresses, ..target.clone() })?;
        let mut ask = |op| remote.ask(&remote::ask(op));
        let (ping, mut members) = (ask(Op::Ping)?, ask(Op::Members)?);
        let (placement, mut machines) = (ask(Op::Placement)?, ask(Op::Machines)?);
        let files_differing = machines["files_differing"].take();
        let (members, machines) = (members["members"].take(), machines["machines"].take());
        Ok(Answers { ping, members, placement, machines, files_differing })
    };
    Seen { name: text(&member["name"]), answers: ask() }
}

fn judged(members: &Value, seen: &[Seen], is_open: bool) -> Vec<Finding> {
    let answered: Vec<(&str, &Answers)> =
        seen.iter().filter_map(|seen| Some((seen.name.as_str(), seen.answers.as_ref().ok()?))).collect();
    let mut findings = vec![members_of(members), silent(seen)];
    if !answered.is_empty() {
        findings.extend([
            unready(&answered),
            Finding::unless("views", views(&answered), Verdict::Bad, "all daemons see the same members"),
            partitions(&answered),
            Finding::unless("versions", versions(&answered), Verdict::Doubtful, "all daemons run the same version"),
            Finding::unless("machines", machines(&answered), Verdict::Bad, "all daemons have the same machines"),
            Finding::unless("files", files(&answered), Verdict::Doubtful, "the mesh runs what machine files say"),
        ]);
    }
    findings.push(keys(members, is_open));
    findings
}

fn members_of(members: &Value) -> Finding {
    let word = |member: &Value| match member["leaving"] == json!(true) {
        true => "leaving".to_owned(),
        false => text(&member["status"]),
    };
    let others = rows(members).iter().filter(|member| word(member) != "alive" && member["status"] != "left");
    let others: Vec<_> = others.map(|member| format!("{} is {}", text(&member["name"]), word(member))).collect();
    let alive = rows(members).iter().filter(|member| member["status"] == "alive").count();
    let is_dead = rows(members).iter().any(|member| member["status"] == "dead");
    let verdict = if is_dead { Verdict::Bad } else { Verdict::Doubtful };
    if others.is_empty() {
        return Finding::new("members", Verdict::Good, count(alive, "daemon"));
    }
    let mut told = vec![format!("{} alive", count(alive, "daemon")), others.join(", ")];
    told.extend(is_dead.then(|| DEAD.to_owned()));
    Finding::new("members", verdict, told.join("; "))
}

fn silent(seen: &[Seen]) -> Finding {
    let silent =
        seen.iter().filter_map(|seen| Some(format!("{}: {}", seen.name, seen.answers.as_ref().err()?.message)));
    Finding::unless("answers", silent.collect(), Verdict::Bad, "every daemon that is there answers at its address")
}

/// Those that are not ready, and why.
fn unready(answered: &[(&str, &Answers)]) -> Finding {
    let unready = answered.iter().filter(|(_, answers)| answers.ping["ready"] == json!(false));
    let unready = unready.map(|(name, answers)| format!("{name} is not ready: {}", text(&answers.ping["reason"])));
    Finding::unless("ready", unready.collect(), Verdict::Bad, "every daemon is ready")
}

/// What those see that do not see what most see.
fn views(answered: &[(&str, &Answers)]) -> Vec<String> {
    let of = |answers: &Answers| {
        let of_one = |member: &Value| (text(&member["name"]), text(&member["status"]));
        rows(&answers.members).iter().map(of_one).filter(|(_, status)| status != "left").collect::<BTreeSet<_>>()
    };
    let views: Vec<_> = answered.iter().map(|(name, answers)| (*name, of(answers))).collect();
    let times = |view: &BTreeSet<_>| views.iter().filter(|(_, other)| other == view).count();
    let Some((_, usual)) = views.iter().max_by_key(|(_, view)| times(view)) else { return Vec::new() };
    let differs = |(name, view): &(&str, BTreeSet<(String, String)>)| {
        let other: Vec<_> = view.difference(usual).map(|(who, status)| format!("{who} as {status}")).collect();
        let missing: Vec<_> =
            usual.iter().map(|(who, _)| who).filter(|who| !view.iter().any(|(other, _)| other == *who)).collect();
        let missing = missing.iter().map(|who| format!("no {who}"));
        let all: Vec<_> = other.into_iter().chain(missing).collect();
        (!all.is_empty()).then(|| format!("{name} sees {}", all.join(", ")))
    };
    views.iter().filter_map(differs).collect()
}

fn partitions(answered: &[(&str, &Answers)]) -> Finding {
    let views: BTreeSet<_> = answered.iter().map(|(_, answers)| answers.placement["view"].to_string()).collect();
    let moving = answered.iter().map(|(_, answers)| rows(&answers.placement["moving"]).len()).max().unwrap_or(0);
    if views.len() > 1 {
        return Finding::new(
            "partitions",
            Verdict::Doubtful,
            "daemons do not agree who serves them: ask again in a second",
        );
    }
    if moving > 0 {
        return Finding::new(
            "partitions",
            Verdict::Doubtful,
            format!("{} just now", count(moving, "partition") + " moving"),
        );
    }
    Finding::new("partitions", Verdict::Good, "each has one daemon that serves it")
}

fn versions(answered: &[(&str, &Answers)]) -> Vec<String> {
    let versions: BTreeSet<_> = answered.iter().map(|(_, answers)| text(&answers.ping["version"])).collect();
    match versions.len() {
        0 | 1 => Vec::new(),
        _ => answered.iter().map(|(name, answers)| format!("{name} {}", text(&answers.ping["version"]))).collect(),
    }
}

fn machines(answered: &[(&str, &Answers)]) -> Vec<String> {
    let mut found: BTreeMap<String, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    for (name, answers) in answered {
        for machine in rows(&answers.machines) {
            found.entry(text(&machine["id"])).or_default().entry(text(&machine["hash"])).or_default().push(name);
        }
    }
    let differs = |(id, hashes): (&String, &BTreeMap<String, Vec<&str>>)| {
        let having: usize = hashes.values().map(Vec::len).sum();
        match (hashes.len(), having == answered.len()) {
            (1, true) => None,
            (1, false) => {
                Some(format!("{id} is at {} only", hashes.values().flatten().copied().collect::<Vec<_>>().join(", ")))
            }
            _ => Some(format!("{id} has {} versions that are current", hashes.len())),
        }
    };
    found.iter().filter_map(differs).collect()
}

/// Machine files that are not what the mesh runs.
fn files(answered: &[(&str, &Answers)]) -> Vec<String> {
    let differs = |(name, answers): &(&str, &Answers)| {
        let machines: Vec<_> = rows(&answers.files_differing).iter().map(text).collect();
        (!machines.is_empty())
            .then(|| format!("the mesh runs others than the files of {name} say: {}", machines.join(", ")))
    };
    let mut named: Vec<_> = answered.iter().filter_map(differs).collect();
    if !named.is_empty() {
        named.push("a higher machines_revision, or `statemesh define`, makes files current".to_owned());
    }
    named
}

/// How many instances of each machine are stuck, as far as that was found out.
#[derive(Debug, Default)]
struct Stuck {
    by_machine: BTreeMap<String, u64>,
    /// Why not all instances were looked at.
    cut: Option<String>,
}

/// Counts them, for no longer than an answer is waited for: a mesh may have very many instances, and each is looked at.
fn counted(remote: &mut Remote, patience: Duration) -> Stuck {
    let (mut found, mut after): (Stuck, Option<String>) = (Stuck::default(), None);
    let begin = Instant::now();
    loop {
        let filter = Some(&br#"{"stuck":true}"#[..]);
        let list = Listing { limit: None, after: after.as_deref(), filter, counts: true };
        let page = match remote.ask(&Ask { list, ..remote::ask(Op::List) }) {
            Ok(page) => page,
            Err(failure) => return Stuck { cut: Some(failure.message), ..found },
        };
        found.add(&page);
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return found;
        }
        if begin.elapsed() >= patience {
            return Stuck { cut: Some(format!("it takes longer than {patience:?} (--timeout)")), ..found };
        }
    }
}

impl Stuck {
    fn add(&mut self, page: &Value) {
        for kind in rows(&page["counts"]) {
            *self.by_machine.entry(text(&kind["machine"])).or_default() += kind["count"].as_u64().unwrap_or_default();
        }
    }
}

fn stuck(found: &Stuck) -> Finding {
    let way_out = |(machine, instances): (&String, &u64)| {
        let number = usize::try_from(*instances).unwrap_or(usize::MAX);
        format!("{} of {machine}: `statemesh instances {machine} --stuck` lists them", count(number, "instance"))
    };
    let mut named: Vec<_> = found.by_machine.iter().map(way_out).collect();
    if !named.is_empty() {
        named.push("`statemesh retry MACHINE/KEY` fires the timer again that one holds, skip drops it".to_owned());
    }
    named.extend(found.cut.iter().map(|why| format!("not all instances were looked at: {why}")));
    Finding::unless("stuck", named, Verdict::Doubtful, "no instance is")
}

fn keys(members: &Value, is_open: bool) -> Finding {
    let is_far = |member: &Value| {
        !text(&member["clients"]).starts_with("127.") && !text(&member["clients"]).starts_with("[::1]")
    };
    match is_open && rows(members).iter().any(is_far) {
        true => {
            Finding::new("keys", Verdict::Doubtful, "clients show none: every process at the ports may do everything")
        }
        false if is_open => Finding::new("keys", Verdict::Good, "none, and only this machine reaches the daemons"),
        false => Finding::new("keys", Verdict::Good, "clients show keys"),
    }
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(["", "ABOUT", ""]);
    for found in findings {
        table.styled([
            (found.verdict.word().to_owned(), found.verdict.style()),
            (found.about.to_owned(), Style::Strong),
            (found.detail.clone(), Style::Plain),
        ]);
    }
    table
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(statuses: &[(&str, &str)]) -> Value {
        let one = |(name, status): &(&str, &str)| json!({"name": name, "status": status, "clients": "127.0.0.1:7400"});
        statuses.iter().map(one).collect()
    }

    fn seen(name: &str, statuses: &[(&str, &str)]) -> Seen {
        let answers = Answers {
            ping: json!({"version": "0.1.0", "ready": true}),
            members: members(statuses),
            placement: json!({"view": 7, "moving": []}),
            machines: json!([{"id": "order", "hash": "ab"}]),
            files_differing: Value::Null,
        };
        Seen { name: name.to_owned(), answers: Ok(answers) }
    }

    const WHOLE: [(&str, &str); 3] = [("a", "alive"), ("b", "alive"), ("c", "alive")];

    fn whole() -> Vec<Seen> {
        WHOLE.iter().map(|(name, _)| seen(name, &WHOLE)).collect()
    }

    fn wrong(seen: &[Seen]) -> Vec<(&'static str, Verdict, String)> {
        let findings = judged(&members(&WHOLE), seen, true);
        let wrong = findings.into_iter().filter(|found| found.verdict != Verdict::Good);
        wrong.map(|found| (found.about, found.verdict, found.detail)).collect()
    }

    fn answers(seen: &mut Seen) -> &mut Answers {
        seen.answers.as_mut().unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn a_mesh_that_is_whole_has_nothing_to_say() {
        assert_eq!(wrong(&whole()), []);
    }

    #[test]
    fn who_sees_something_else_than_most_is_named() {
        let mut seen = whole();
        answers(&mut seen[1]).members = members(&[("a", "suspect"), ("b", "alive")]);
        assert_eq!(wrong(&seen), [("views", Verdict::Bad, "b sees a as suspect, no c".to_owned())]);
    }

    #[test]
    fn what_is_silent_unready_or_different_is_named() {
        let mut seen = whole();
        seen[0].answers = Err(Failure::new(Exit::Unreachable, "unreachable", "no daemon at a"));
        answers(&mut seen[1]).ping = json!({"version": "0.2.0", "ready": false});
        answers(&mut seen[2]).machines = json!([{"id": "order", "hash": "cd"}, {"id": "door", "hash": "ef"}]);
        answers(&mut seen[2]).placement = json!({"view": 8, "moving": []});
        let about: Vec<_> = wrong(&seen).into_iter().map(|(about, verdict, _)| (about, verdict)).collect();
        let expected = [
            ("answers", Verdict::Bad),
            ("ready", Verdict::Bad),
            ("partitions", Verdict::Doubtful),
            ("versions", Verdict::Doubtful),
            ("machines", Verdict::Bad),
        ];
        assert_eq!(about, expected);
        let detail = wrong(&seen).pop().unwrap().2;
        assert_eq!(detail, "door is at c only; order has 2 versions that are current");
    }

    #[test]
    fn who_is_not_ready_says_why() {
        let mut seen = vec![seen("a", &[("a", "alive")])];
        answers(&mut seen[0]).ping =
            json!({"version": "0.1.0", "ready": false, "reason": "no seed has answered yet\nx"});
        let found = judged(&members(&[("a", "alive")]), &seen, false);
        let found = found.into_iter().find(|found| found.about == "ready").unwrap();
        let told = "a is not ready: no seed has answered yet\u{fffd}x";
        assert_eq!((found.verdict, &*found.detail), (Verdict::Bad, told));
    }

    #[test]
    fn machine_files_that_the_mesh_does_not_run_are_named() {
        let mut seen = whole();
        answers(&mut seen[1]).files_differing = json!(["order", "door"]);
        let detail = "the mesh runs others than the files of b say: order, door; \
            a higher machines_revision, or `statemesh define`, makes files current";
        assert_eq!(wrong(&seen), [("files", Verdict::Doubtful, detail.to_owned())]);
    }

    #[test]
    fn instances_that_are_stuck_are_counted_by_machine_with_the_way_out() {
        let mut found = Stuck::default();
        assert_eq!(stuck(&found), Finding::new("stuck", Verdict::Good, "no instance is"));
        let kind = |machine: &str, value: &str, count| json!({"machine": machine, "value": value, "count": count});
        // Pages count by state, and several pages the same one.
        found.add(&json!({"counts": [kind("order", "a", 2), kind("order", "b", 1), kind("door", "a", 1)]}));
        found.add(&json!({"counts": [kind("order", "a", 4)]}));
        let told = stuck(&found);
        assert_eq!(told.verdict, Verdict::Doubtful);
        let detail = "1 instance of door: `statemesh instances door --stuck` lists them; \
            7 instances of order: `statemesh instances order --stuck` lists them; \
            `statemesh retry MACHINE/KEY` fires the timer again that one holds, skip drops it";
        assert_eq!(told.detail, detail);
        let cut = stuck(&Stuck { cut: Some("no".to_owned()), ..Stuck::default() });
        assert_eq!((cut.verdict, cut.detail.as_str()), (Verdict::Doubtful, "not all instances were looked at: no"));
    }

    #[test]
    fn who_is_not_alive_and_a_door_without_a_lock_are_looked_at() {
        let mut list = members(&[("a", "alive"), ("b", "dead"), ("c", "left")]);
        list[0]["clients"] = json!("10.0.0.1:7400");
        let findings = judged(&list, &[], true);
        let found = |verdict| findings.iter().filter(move |found| found.verdict == verdict);
        let bad: Vec<_> = found(Verdict::Bad).map(|found| found.detail.as_str()).collect();
        assert!(bad.len() == 1 && bad[0].starts_with("1 daemon alive; b is dead; what it held is lost"), "{bad:?}");
        assert_eq!(found(Verdict::Doubtful).map(|found| found.about).collect::<Vec<_>>(), ["keys"]);
        assert!(judged(&list, &[], false).iter().all(|found| found.about != "keys" || found.verdict == Verdict::Good));
    }
}
