//! Which verb does what was asked.

use crate::cli::{Cli, Verb};
use crate::config::Config;
use crate::failure::{Exit, Failure, INTERRUPTED};
use crate::kubernetes::FeedArgs;
#[cfg(feature = "kubernetes")]
use crate::kubernetes::Source;
use crate::output::{Format, Printer};
use crate::verbs::{self, ask};
use statemesh_client::Op;
use std::path::Path;

/// Does what was asked.
pub(crate) fn run(cli: Cli, format: Format) -> Result<(), Failure> {
    if format == Format::Toml && !matches!(cli.verb, Verb::Config(_)) {
        return Err(Failure::usage("--output: only config is printed as TOML").hint("json and yaml are for programs"));
    }
    let printer = Printer::new(format);
    let file = cli.config.as_deref();
    match cli.verb {
        Verb::Daemon(args) => crate::run::daemon(&Config::load(args.settings.given, file)?, args.with_parent),
        Verb::Up(args) => crate::up::up(&args, file, &printer),
        Verb::Config(args) => verbs::config(&args, file, &printer),
        Verb::Keys(args) => crate::keys::run(args, file, &printer),
        Verb::Completions { shell } => crate::shell::completions(shell),
        Verb::Context(args) => crate::context::run(args, &printer),
        Verb::Man { verb, dir } => crate::shell::manual(&verb, dir.as_deref()),
        Verb::Docs { dir } => crate::reference::write(&dir),
        Verb::Init(args) => crate::offline::init(&args),
        Verb::Check(args) => crate::offline::check(&args, &printer),
        Verb::Simulate(args) => crate::offline::simulate(&args, &printer),
        Verb::Draw(args) => crate::offline::draw(&args, &printer),
        Verb::Export(args) => crate::offline::export(&args, &printer),
        Verb::Import(args) => crate::offline::import(&args, &printer),
        Verb::Schema => crate::offline::schema(&printer),
        Verb::Bench(args) => attended(verbs::bench(&args, file, &printer)),
        Verb::Define(args) => online(|| verbs::define(&args, file, &printer)),
        Verb::Feed(args) => feed(&args, file, &printer),
        Verb::Watch(args) => interruptible(code_of(args.count.is_some()), || verbs::watch(&args, file, &printer)),
        Verb::Send(args) => online(|| ask::send(args, file, &printer)),
        Verb::Start(args) => online(|| ask::start(args, file, &printer)),
        Verb::Explain(args) => online(|| ask::explain_event(args, file, &printer)),
        Verb::Get(args) => online(|| ask::get(&args, file, &printer)),
        Verb::Stop(args) => online(|| ask::act(Op::Stop, &args, file, &printer)),
        Verb::Retry(args) => online(|| ask::act(Op::Retry, &args, file, &printer)),
        Verb::Skip(args) => online(|| ask::act(Op::Skip, &args, file, &printer)),
        Verb::Delete(args) => online(|| verbs::delete(&args, file, &printer)),
        Verb::History(args) => online(|| ask::history(args, file, &printer)),
        Verb::Where(args) => online(|| ask::whereabouts(args, file, &printer)),
        Verb::Instances(args) => online(|| verbs::instances(&args, file, &printer)),
        Verb::Machines(args) => online(|| ask::list(&args, file, &printer, Op::Machines, ask::machines)),
        Verb::Members(args) => online(|| ask::list(&args, file, &printer, Op::Members, ask::members)),
        Verb::Placement(args) => online(|| ask::placement(args, file, &printer)),
        Verb::Doctor(args) => online(|| verbs::doctor(&args, file, &printer)),
        Verb::Top(args) => interruptible(code_of(args.count.is_some()), || verbs::top(&args, file, &printer)),
        Verb::Ping(args) => online(|| ask::ping(args, file, &printer)),
    }
}

#[cfg(feature = "kubernetes")]
fn feed(args: &FeedArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let Source::Kubernetes(pods) = &args.source;
    let target = crate::connect::target(&pods.connect, file)?;
    if pods.check {
        return online(|| attended(crate::kubernetes::check(pods, target, printer)));
    }
    interruptible(code_of(false), || attended(crate::kubernetes::feed(pods, target, printer)))
}

#[cfg(not(feature = "kubernetes"))]
fn feed(_: &FeedArgs, _: Option<&Path>, _: &Printer) -> Result<(), Failure> {
    Err(crate::kubernetes::not_built_in("feed"))
}

/// What Ctrl-C makes a verb return: nothing is wrong where it would have gone on for ever; one that was cut off before its end is not to
/// be taken for an answer by a script.
fn code_of(has_end: bool) -> i32 {
    if has_end { INTERRUPTED } else { 0 }
}

/// Runs a verb that talks to the mesh and comes to an end.
fn online(verb: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    interruptible(code_of(true), verb)
}

/// Runs a verb that talks to the mesh. Ctrl-C ends it wherever it waits, with this code.
fn interruptible(code: i32, verb: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    std::thread::spawn(move || {
        let interrupted = attended(async {
            let told = tokio::signal::ctrl_c().await;
            told.map_err(|error| Failure::new(Exit::File, "signals", format!("signals: {error}")))
        });
        if interrupted.is_ok() {
            std::process::exit(code);
        }
    });
    verb()
}

/// Runs a verb that talks to the mesh and looks after signals by itself.
fn attended(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::File, "runtime", format!("no event loop: {error}")))?;
    let done = runtime.block_on(verb);
    // A thread that waits for an answer must not keep a finished command waiting.
    runtime.shutdown_background();
    done
}
