//! `statemesh up`: a mesh on this machine. Each daemon is a process of its own; they find each other through DNS, as in a
//! cluster, from a server in this process. When this process ends, however it does, they end.

mod args;
mod children;
mod dns;
mod machines;
mod plan;
pub(crate) mod ports;

use crate::config::Target;
use crate::failure::{Exit, Failure};
use crate::output::{Format, Printer, Style, Table, count, print, say, text};
use crate::remote::{self, Remote};
pub(crate) use args::UpArgs;

use children::{Children, Told};
use dns::Dns;
use plan::Plan;
use serde_json::{Value, json};
use statemesh_client::Op;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// After this long the mesh is not ready, and something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Runs the mesh until Ctrl-C.
pub(crate) fn up(args: &UpArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Start, "runtime", format!("no event loop: {error}")))?;
    let ended = runtime.block_on(run(args, file, printer));
    runtime.shutdown_background();
    ended
}

async fn run(args: &UpArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let began = Instant::now();
    let files = machines::find(args.machines.as_deref())?;
    let told = Told::new(args.log.as_deref(), file)?;
    let plan = Plan::new(args.nodes, args.port);
    plan.check_ports()?;
    let mut dns = Dns::start().await?;
    dns.publish(&plan.hosts()).await?;
    let mut children = Children::start(&plan, dns.address(), &told)?;
    let ended = tokio::select! {
        ended = serve(&plan, &told, &mut children, &mut dns, &files, began, printer) => ended,
        () = told_to_end() => Ok(()),
    };
    say!("ending {}", count(children.running(), "daemon"));
    children.end().await;
    ended
}

/// Brings the mesh up, says so, and watches over it until the last daemon has ended.
async fn serve(
    plan: &Plan,
    told: &Told,
    children: &mut Children,
    dns: &mut Dns,
    files: &[PathBuf],
    began: Instant,
    printer: &Printer,
) -> Result<(), Failure> {
    say!("starting {}; they find each other through DNS at {}", count(plan.nodes.len(), "daemon"), dns.address());
    let members = ready(plan, told, children).await?;
    say!("ready in {} ms", began.elapsed().as_millis());
    let (target, files) = (told.target(&plan.clients_address(), ANSWER_WITHIN), files.to_vec());
    let defined = beside(move || machines::define(&mut Remote::connect(target)?, &files)).await?;
    show(plan, &members, &defined, printer)?;
    watch_over(plan, children, dns).await
}

/// Waits until each daemon has joined and sees all the others.
async fn ready(plan: &Plan, told: &Told, children: &mut Children) -> Result<Value, Failure> {
    let deadline = Instant::now() + READY_WITHIN;
    let mut seen = json!([]);
    let mut waiting: Vec<_> = plan.nodes.iter().map(plan::Node::clients).collect();
    while let Some(address) = waiting.last() {
        if let Some(name) = children.ended_early().await {
            return Err(Failure::new(Exit::Start, "daemon_ended", format!("{name} ended while the mesh came up"))
                .hint("its last lines above say why; --log info says more"));
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                Exit::Start,
                "not_ready",
                format!("the mesh is not ready after {READY_WITHIN:?}: {address} sees {}", seen_by(&seen)),
            )
            .hint("--log info shows what the daemons are doing"));
        }
        match members(told.target(address, ANSWER_WITHIN)).await {
            Some(found) if is_full(&found, plan.nodes.len()) => {
                seen = found;
                waiting.pop();
            }
            found => {
                seen = found.unwrap_or_else(|| json!([]));
                tokio::time::sleep(ASK_EVERY).await;
            }
        }
    }
    Ok(seen)
}

/// The members that a daemon sees which has joined: one may see all before that.
async fn members(of: Target) -> Option<Value> {
    let asked = beside(move || {
        let mut remote = Remote::connect(of)?;
        let is_ready = remote.ask(&remote::ask(Op::Ping))?["ready"] == true;
        Ok(is_ready.then_some(remote.ask(&remote::ask(Op::Members))?))
    });
    Some(asked.await.ok()??["members"].take())
}

/// Waits for a daemon on a thread of its own: this one answers the daemons' questions to DNS.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| Failure::new(Exit::Start, "client", error.to_string()))?
}

/// Whether all are there, and each owns a share: before that a view is not yet the mesh's.
fn is_full(members: &Value, nodes: usize) -> bool {
    let members = members.as_array().map_or(&[][..], Vec::as_slice);
    let good =
        |member: &&Value| member["status"] == "alive" && member["partitions"].as_u64().is_some_and(|owned| owned > 0);
    members.iter().filter(good).count() == nodes
}

fn seen_by(members: &Value) -> String {
    let names: Vec<_> = members.as_array().into_iter().flatten().map(|member| text(&member["name"])).collect();
    if names.is_empty() { "no daemon".to_owned() } else { names.join(", ") }
}

/// Keeps DNS to the daemons that run, and ends with an error when none is left.
async fn watch_over(plan: &Plan, children: &mut Children, dns: &mut Dns) -> Result<(), Failure> {
    while children.running() > 0 {
        let (name, how) = children.next_end().await;
        say!("{name} ended ({how}); left: {}", count(children.running(), "daemon"));
        let running = plan.hosts().into_iter().filter(|host| children.is_running(&host.name));
        dns.publish(&running.collect::<Vec<_>>()).await?;
    }
    Err(Failure::new(Exit::Start, "daemons_ended", "every daemon has ended").hint("--log info says more"))
}

async fn told_to_end() {
    let (interrupt, terminate, hangup) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (interrupt, terminate, hangup) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn show(plan: &Plan, members: &Value, defined: &[machines::Defined], printer: &Printer) -> Result<(), Failure> {
    let rows = rows(plan, members);
    printer.answer(&rows, || {
        let mut table = Table::new(["NAME", "CLIENTS", "CHANGES", "HTTP", "PARTITIONS", "HEALTH"]);
        for row in rows.as_array().into_iter().flatten() {
            let health = text(&row["health"]);
            table.styled([
                (text(&row["name"]), Style::Strong),
                (text(&row["clients"]), Style::Plain),
                (text(&row["changes"]), Style::Plain),
                (text(&row["http"]), Style::Plain),
                (text(&row["partitions"]), Style::Plain),
                (health.clone(), Style::of_status(&health)),
            ]);
        }
        table
    })?;
    match printer.format {
        Format::Table => print(&what_next(plan, defined)),
        _ => Ok(()),
    }
}

fn rows(plan: &Plan, members: &Value) -> Value {
    let row = |node: &plan::Node| {
        let seen = members.as_array().into_iter().flatten().find(|member| member["name"] == json!(node.name));
        let health = seen.map_or("unknown".to_owned(), |member| text(&member["status"]));
        json!({"name": node.name, "clients": node.address(plan::CLIENTS), "changes": node.address(plan::CHANGES),
               "http": format!("http://{}", node.address(plan::HTTP)),
               "partitions": seen.map_or(Value::Null, |member| member["partitions"].clone()), "health": health})
    };
    plan.nodes.iter().map(row).collect()
}

fn what_next(plan: &Plan, defined: &[machines::Defined]) -> String {
    let order = defined.iter().find(|one| one.machine == "order");
    let example = order.or(defined.first());
    let machine = example.map_or("MACHINE", |one| &one.machine);
    let event = match (order, example) {
        (Some(_), _) => "PAY",
        (None, one) => one.and_then(|one| one.event.as_deref()).unwrap_or("EVENT"),
    };
    let (fields, data) = match order {
        Some(_) => (", \"amount\": 3", " --data '{\"amount\":3}'"),
        None => ("", ""),
    };
    let names: Vec<_> = defined.iter().map(|one| format!("{} ({})", one.machine, one.file.display())).collect();
    let machines = if names.is_empty() { "none; statemesh define FILE".to_owned() } else { names.join("\n          ") };
    let target = shell_quoted(&format!("{machine}/42"));
    let event_word = shell_quoted(event);
    format!(
        "
machines  {machines}
HTTP      http://{http}/

Send an event from Python (pip install pyzmq), or any other ZeroMQ binding:

    import zmq
    mesh = zmq.Context().socket(zmq.DEALER)
    mesh.connect(\"{clients}\")
    mesh.send_json({{\"op\": \"send\", \"id\": 1, \"machine\": \"{machine}\", \"key\": \"42\",
                    \"event\": {{\"type\": \"{event}\"{fields}}}}})
    print(mesh.recv_json())

or from another terminal: {program} send {target} {event_word}{data}{address}

Ctrl-C ends everything.
",
        program = program(),
        http = plan.nodes.first().map(|node| node.address(plan::HTTP).to_string()).unwrap_or_default(),
        clients = plan.clients_address(),
        address = match plan.clients_address() {
            default if default == crate::config::DEFAULT_ADDRESS => String::new(),
            other => format!(" --address {other}"),
        },
    )
}

/// A word as a shell takes it for one.
fn shell_quoted(word: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | ':' | '@' | '%' | '+' | ',');
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// What to type for this program: its name where the shell finds it, its path otherwise, as after `cargo run`.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else {
        return "statemesh".to_owned();
    };
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&folders);
    if folders.any(|folder| folder.join("statemesh").canonicalize().is_ok_and(|at| at == path)) {
        return "statemesh".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let below = path.strip_prefix(&here).map(|inner| format!("./{}", inner.display()));
    below.unwrap_or_else(|_| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_full_when_all_are_alive_and_own_something() {
        let member = |status: &str, partitions: u64| json!({"name": "a", "status": status, "partitions": partitions});
        assert!(is_full(&json!([member("alive", 512), member("alive", 512)]), 2));
        assert!(!is_full(&json!([member("alive", 1024), member("alive", 0)]), 2));
        assert!(!is_full(&json!([member("alive", 512), member("suspect", 512)]), 2));
        assert!(!is_full(&json!([]), 1));
    }

    #[test]
    fn the_snippet_uses_a_machine_that_is_there() {
        let plan = Plan::new(3, 7400);
        let one = |machine: &str| machines::Defined {
            machine: machine.into(),
            file: format!("charts/{machine}.json").into(),
            event: Some("TRY".into()),
        };
        let order = what_next(&plan, &[one("breaker"), one("order")]);
        assert!(order.contains(" send order/42 PAY --data '{\"amount\":3}'"), "{order}");
        let breaker = what_next(&plan, &[one("breaker")]);
        assert!(breaker.contains("\"key\": \"42\",\n") && breaker.contains("{\"type\": \"TRY\"}})"), "{breaker}");
        assert!(breaker.contains("machines  breaker (charts/breaker.json)\n"), "{breaker}");
        assert!(what_next(&plan, &[one("a (b)")]).contains(" send 'a (b)/42' TRY"), "a shell takes it");
        assert!(what_next(&plan, &[]).contains("statemesh define FILE"));
        let elsewhere = what_next(&Plan::new(1, 17400), &[one("breaker")]);
        assert!(
            !breaker.contains("--address") && elsewhere.contains(" --address tcp://127.0.0.1:17400\n"),
            "{elsewhere}"
        );
    }
}
