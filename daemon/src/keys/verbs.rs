//! `statemesh keys`: makes keys, and says who may come in with which.

use super::gossip::{self, Step};
use super::{clients, pair, replace, text};
use crate::config::{CLIENT_LIST, Config, GOSSIP_KEYS_FILE, Kind};
use crate::failure::{Exit, Failure};
use crate::output::{Printer, Style, Table};
use clap::{Args, Subcommand};
use serde_json::json;
use statemesh_node::access::{Grant, Right};
use statemesh_transport::curve::PublicKey;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    verb: KeysVerb,
}

#[derive(Debug, Subcommand)]
enum KeysVerb {
    /// Make a key pair, write it to a file, and print its public key
    New {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// List the clients that are let in
    List {
        #[command(flatten)]
        list: ListFile,
    },
    /// Let a client in
    Allow {
        /// What it is called in messages, logs and limits
        name: String,
        /// Its public key
        #[arg(value_name = "Z85")]
        key: String,
        /// What it may do: read, send, define, admin
        #[arg(long, value_name = "WORD,WORD", value_delimiter = ',', default_value = "read,send")]
        ops: Vec<String>,
        /// The machines that it may use, by the beginnings of their names (a whole name: with a slash behind it) [default: all]
        #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
        machines: Vec<String>,
        /// How many requests it may send in a second [default: limits.events_per_second]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        events_per_second: Option<u32>,
        #[command(flatten)]
        list: ListFile,
    },
    /// Let a client in no longer, and end its connections
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        list: ListFile,
    },
    /// Change the gossip key, one step at a time: add, use, drop
    Rotate {
        /// The step
        #[arg(value_enum)]
        step: Step,
        /// The file of the gossip keys [default: gossip.keys_file of the configuration]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct ListFile {
    /// The list [default: security.keys of the configuration]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Does what was asked.
pub(crate) fn run(args: KeysArgs, config: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    match args.verb {
        KeysVerb::New { file } => new(&file, printer),
        KeysVerb::List { list } => show(&list.path(config)?, printer),
        KeysVerb::Allow { name, key, ops, machines, events_per_second, list } => {
            let grant = Grant { rights: rights(&ops)?, name, machines, events_per_second };
            allow(&list.path(config)?, &key, &grant)
        }
        KeysVerb::Revoke { name, list } => revoke(&list.path(config)?, &name),
        KeysVerb::Rotate { step, file } => {
            let path = path(file, GOSSIP_KEYS_FILE, config)?;
            let next = gossip::rotate(&path, step)?;
            eprintln!("{}: {next}", path.display());
            Ok(())
        }
    }
}

impl ListFile {
    fn path(self, config: Option<&Path>) -> Result<PathBuf, Failure> {
        path(self.file, CLIENT_LIST, config)
    }
}

fn path(given: Option<PathBuf>, setting: &str, config: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return Ok(path);
    }
    let config = Config::load(BTreeMap::new(), config)?;
    config.text(setting).map(PathBuf::from).ok_or_else(|| {
        Failure::usage(format!("which file? {setting} is not set"))
            .hint("name it with --file, or set it in statemesh.toml")
    })
}

fn rights(words: &[String]) -> Result<Vec<Right>, Failure> {
    let right = |word: &String| {
        Right::named(word).ok_or_else(|| Failure::usage(format!("--ops: '{word}' is not read, send, define or admin")))
    };
    words.iter().map(right).collect()
}

fn new(file: &Path, printer: &Printer) -> Result<(), Failure> {
    let public = pair::create(file)?.public.to_z85();
    printer.text(&json!({"public": public, "file": file}), |_| format!("{public}\n"))
}

fn listed(path: &Path) -> Result<(String, Vec<(PublicKey, Grant)>), Failure> {
    let text = if path.exists() { text(path)? } else { String::new() };
    let clients = clients::parse(&text).map_err(|(line, what)| super::wrong(path, line, what))?;
    Ok((text, clients))
}

fn show(path: &Path, printer: &Printer) -> Result<(), Failure> {
    let (_, clients) = listed(path)?;
    let ops = |grant: &Grant| grant.rights.iter().map(|right| right.as_str()).collect::<Vec<_>>();
    let entry = |(key, grant): &(PublicKey, Grant)| {
        json!({
            "name": grant.name, "key": key.to_z85(), "ops": ops(grant), "machines": grant.machines,
            "events_per_second": grant.events_per_second,
        })
    };
    let value = json!(clients.iter().map(entry).collect::<Vec<_>>());
    printer.answer(&value, || {
        let mut table = Table::new(["NAME", "KEY", "OPS", "MACHINES"]).or("nobody is let in");
        for (key, grant) in &clients {
            let machines = if grant.machines.is_empty() { "(all)".to_owned() } else { grant.machines.join(", ") };
            table.styled([
                (grant.name.clone(), Style::Strong),
                (key.to_z85(), Style::Plain),
                (ops(grant).join(", "), Style::Plain),
                (machines, Style::Plain),
            ]);
        }
        table
    })
}

fn allow(path: &Path, key: &str, grant: &Grant) -> Result<(), Failure> {
    Kind::Name.check(&grant.name).map_err(|wrong| Failure::usage(format!("NAME: {wrong}")))?;
    if let Some(machine) = grant.machines.iter().find(|name| name.is_empty() || name.contains(['"', '\\'])) {
        return Err(Failure::usage(format!("--machines: '{machine}' is no beginning of a machine's name")));
    }
    let key = PublicKey::from_z85(key).map_err(|_| {
        Failure::usage(format!("'{key}' is no public key: 40 characters of Z85")).hint("quote it for the shell: 'KEY'")
    })?;
    let (text, listed) = listed(path)?;
    if listed.iter().any(|(_, other)| other.name == grant.name) {
        let message = format!("{}: there is a client \"{}\" already", path.display(), grant.name);
        return Err(Failure::new(Exit::Refused, "exists", message).hint("revoke it first, or edit the file"));
    }
    let text = clients::with(&text, &key, grant);
    clients::parse(&text).map_err(|(line, what)| super::wrong(path, line, what))?;
    replace(path, &text)
}

fn revoke(path: &Path, name: &str) -> Result<(), Failure> {
    let (text, listed) = listed(path)?;
    if !listed.iter().any(|(_, grant)| grant.name == name) {
        let message = format!("{}: there is no client \"{name}\"", path.display());
        return Err(Failure::new(Exit::Refused, "unknown", message).hint("`statemesh keys list` shows them"));
    }
    // The file is written by people too: what is taken out must be this client, whole, and nobody else.
    let rest = clients::without(&text, name).filter(|rest| {
        clients::parse(rest).is_ok_and(|left| listed.iter().filter(|(_, grant)| grant.name != name).eq(&left))
    });
    match rest {
        Some(rest) => replace(path, &rest),
        None => {
            Err(Failure::new(Exit::File, "file", format!("{}: [{name}] is not written as expected", path.display()))
                .hint("take it out by hand"))
        }
    }
}
