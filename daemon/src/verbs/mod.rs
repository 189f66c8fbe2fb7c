//! The verbs, one file for each group that works alike.

mod ask;
mod bench;
mod define;
mod explain;
mod settings;
mod shell;
mod watch;

pub(crate) use bench::{CONNECTIONS, MAX_KEYS};
pub(crate) use define::read_definition;

use crate::cli::{Cli, Connect, Verb};
use crate::client::Client;
use crate::config::{CLIENT_ADDRESS, CLIENT_KEY, CLIENT_TIMEOUT, Config, SERVER_KEY, Target};
use crate::failure::{Exit, Failure};
use crate::kubernetes::FeedArgs;
#[cfg(feature = "kubernetes")]
use crate::kubernetes::Source;
use crate::output::{Printer, text};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let printer = Printer::new(cli.output);
    let file = cli.config.as_deref();
    match cli.verb {
        Verb::Daemon(args) => crate::run::daemon(&Config::load(args.settings.given, file)?, args.with_parent),
        Verb::Up(args) => crate::up::up(&args, file, &printer),
        Verb::Config(args) => settings::config(&args, file, &printer),
        Verb::Keys(args) => crate::keys::run(args, file, &printer),
        Verb::Completions { shell } => shell::completions(shell),
        Verb::Man { dir } => shell::manual(dir.as_deref()),
        Verb::Docs { dir } => crate::reference::write(&dir),
        Verb::Check(args) => crate::offline::check(&args, &printer),
        Verb::Simulate(args) => crate::offline::simulate(&args, &printer),
        Verb::Draw(args) => crate::offline::draw(&args, &printer),
        Verb::Schema => crate::offline::schema(),
        Verb::Bench(args) => attended(bench::bench(&args, file, &printer)),
        Verb::Define(args) => online(define::define(&args, file, &printer)),
        Verb::Feed(args) => feed(&args, file, &printer),
        Verb::Watch(args) => online(watch::watch(&args, file, &printer)),
        other => online(ask::ask(other, file, &printer)),
    }
}

#[cfg(feature = "kubernetes")]
fn feed(args: &FeedArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let Source::Kubernetes(pods) = &args.source;
    let target = target(&pods.connect, file)?;
    if pods.check {
        return online(crate::kubernetes::check(pods, target, printer));
    }
    online(crate::kubernetes::feed(pods, target, printer))
}

#[cfg(not(feature = "kubernetes"))]
fn feed(_: &FeedArgs, _: Option<&Path>, _: &Printer) -> Result<(), Failure> {
    Err(crate::kubernetes::not_built_in("feed"))
}

/// Runs a verb that talks to the mesh. Ctrl-C ends it.
fn online(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    attended(async {
        tokio::select! {
            done = verb => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Runs a verb that talks to the mesh and looks after signals by itself.
fn attended(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::File, "runtime", format!("no event loop: {error}")))?;
    let done = runtime.block_on(verb);
    // A task of the zeromq crate must not keep a finished command waiting.
    runtime.shutdown_background();
    done
}

/// Connects to the daemon that flags, environment or file name.
async fn connect(given: &Connect, file: Option<&Path>) -> Result<Client, Failure> {
    Client::connect(target(given, file)?).await
}

/// Whom flags, environment or file name, and the keys for it.
fn target(given: &Connect, file: Option<&Path>) -> Result<Target, Failure> {
    let flag = |key: &'static str, text: &Option<String>| text.clone().map(|text| (key, vec![text]));
    let flags = [
        flag(CLIENT_ADDRESS, &given.address),
        flag(CLIENT_TIMEOUT, &given.timeout),
        flag(CLIENT_KEY, &given.key),
        flag(SERVER_KEY, &given.server_key),
    ];
    let config = Config::load(flags.into_iter().flatten().collect::<BTreeMap<_, _>>(), file)?;
    config.client()
}

/// The largest file or stdin that a verb reads: more than a daemon accepts.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Reads a file, or stdin for `-`.
pub(crate) fn read_input(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_string(&mut text))
    };
    match read {
        Ok(length) if length as u64 == MAX_INPUT_BYTES => {
            Err(Failure::new(Exit::File, "file", format!("{}: longer than {MAX_INPUT_BYTES} bytes", path.display())))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::file(path, &error)),
    }
}
