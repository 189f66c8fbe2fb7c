//! `statemesh keys`: makes keys, and says who may come in with which.

use super::init::{self, CLIENTS, DAEMON_PUB, GOSSIP_KEYS};
use super::place::{Place, SecretArgs, Shelf};
use super::renew;
use super::store::{Entries, Files};
use crate::config::{CLIENT_LIST, Config, GOSSIP_KEYS_FILE, OWN_KEY_FILE};
use crate::failure::{Exit, Failure};
use crate::key_files::clients::OPS;
use crate::key_files::gossip::{self, Step};
use crate::key_files::{clients, pair, wrong};
use crate::kind::Kind;
use crate::kubernetes::{BUILT_IN, HEADING};
use crate::output::{Printer, Style, Table, say};
use clap::{Args, Subcommand};
use serde_json::json;
use statemesh_node::access::{Grant, Right};
use statemesh_transport::curve::PublicKey;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    verb: KeysVerb,
}

#[derive(Debug, Subcommand)]
enum KeysVerb {
    /// Make all keys that a mesh needs and that are missing; what is there stays as it is
    Init(InitArgs),
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
        #[arg(value_name = "Z85", allow_hyphen_values = true)]
        key: String,
        /// What it may do: read, send, operate, engine, define, admin
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
        #[arg(long, value_name = "FILE", conflicts_with = "secret")]
        file: Option<PathBuf>,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Make a new key pair for the daemons, which still accept the one before it, and print its public key
    Renew {
        /// Accept the former pair no longer: once all clients have the new public key
        #[arg(long)]
        done: bool,
        /// The file of the pair; daemon.pub beside it is changed with it [default: security.key of the configuration]
        #[arg(long, value_name = "FILE", conflicts_with = "secret")]
        file: Option<PathBuf>,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// Delete a Secret that `init` made; there may be none
    #[command(hide = !BUILT_IN)]
    Delete(SecretArgs),
}

#[derive(Args, Debug)]
struct InitArgs {
    /// The folder for the files: daemon.key, daemon.pub, clients.toml, admin.key, gossip.keys, http.token
    #[arg(long, value_name = "DIR", required_unless_present = "secret", conflicts_with = "secret")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    secret: SecretArgs,
    /// A label for the Secret, if it is made; may be given again
    #[arg(long, value_name = "NAME=VALUE", requires = "secret", help_heading = HEADING, hide = !BUILT_IN)]
    label: Vec<String>,
}

#[derive(Args, Debug)]
struct ListFile {
    /// The list [default: security.keys of the configuration]
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    file: Option<PathBuf>,
    #[command(flatten)]
    secret: SecretArgs,
}

/// Does what was asked.
pub(crate) fn run(args: KeysArgs, config: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    match args.verb {
        KeysVerb::Init(args) => make(&args, printer),
        KeysVerb::New { file } => new(&file, printer),
        KeysVerb::List { list } => show(&list.place(config)?, printer),
        KeysVerb::Allow { name, key, ops, machines, events_per_second, list } => {
            let grant = Grant { rights: rights(&ops)?, name, machines, events_per_second };
            allow(&list.place(config)?, &key, &grant)
        }
        KeysVerb::Revoke { name, list } => revoke(&list.place(config)?, &name),
        KeysVerb::Rotate { step, file, secret } => {
            rotate(&Place::of(&secret, GOSSIP_KEYS, || path(file, GOSSIP_KEYS_FILE, config))?, step)
        }
        KeysVerb::Renew { done, file, secret } => {
            let beside = [init::DAEMON_KEY, DAEMON_PUB];
            let (shelf, entry) = match Shelf::secret(&secret, &beside, &[])? {
                Some(shelf) => (shelf, init::DAEMON_KEY.to_owned()),
                None => {
                    let (files, entry) = Files::one(&path(file, OWN_KEY_FILE, config)?)?;
                    (Shelf::Files(files.and(DAEMON_PUB)), entry)
                }
            };
            renew(&shelf, &entry, done, printer)
        }
        KeysVerb::Delete(secret) => delete(&secret),
    }
}

impl ListFile {
    fn place(self, config: Option<&Path>) -> Result<Place, Failure> {
        Place::of(&self.secret, CLIENTS, || path(self.file, CLIENT_LIST, config))
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
    let right =
        |word: &String| Right::named(word).ok_or_else(|| Failure::usage(format!("--ops: '{word}' is not {OPS}")));
    words.iter().map(right).collect()
}

fn new(file: &Path, printer: &Printer) -> Result<(), Failure> {
    let public = pair::create(file)?.public.to_z85();
    printer.text(&json!({"public": public, "file": file}), |_| format!("{public}\n"))
}

fn make(args: &InitArgs, printer: &Printer) -> Result<(), Failure> {
    let shelf = match (Shelf::secret(&args.secret, &init::ALL, &args.label)?, &args.folder) {
        (Some(shelf), _) => shelf,
        (None, Some(folder)) => {
            // No other user shall look into a folder of secrets.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| Failure::file(folder, &error))?;
            Shelf::Files(Files::new(folder, &init::ALL))
        }
        (None, None) => return Err(Failure::usage("--folder says where")),
    };
    let made = shelf.change(|there| {
        let made = init::missing(there, |entry| shelf.name(entry))?;
        let names: Vec<String> = made.keys().cloned().collect();
        Ok((made, names))
    })?;
    printer.text(&json!({"made": made}), |_| match made.len() {
        0 => "nothing is missing\n".to_owned(),
        _ => made.iter().map(|entry| format!("made {}\n", shelf.name(entry))).collect(),
    })
}

#[cfg(feature = "kubernetes")]
fn delete(args: &SecretArgs) -> Result<(), Failure> {
    let name = args.secret.as_deref().ok_or_else(|| Failure::usage("--secret says which"))?;
    let found = super::secret::Secret::open(name, args.namespace.as_deref(), &[], &[])?.delete()?;
    say!("{}", if found { "deleted" } else { "there is none" });
    Ok(())
}

#[cfg(not(feature = "kubernetes"))]
fn delete(_: &SecretArgs) -> Result<(), Failure> {
    Err(crate::kubernetes::not_built_in("keys delete"))
}

fn rotate(place: &Place, step: Step) -> Result<(), Failure> {
    let next = place.change(|text| {
        let keys = if text.is_empty() { Ok(Vec::new()) } else { gossip::parse(text) };
        gossip::rotated(text, keys.map_err(|(line, what)| wrong(place, line, what))?, step)
    })?;
    say!("{place}: {next}");
    Ok(())
}

fn renew(shelf: &Shelf, entry: &str, done: bool, printer: &Printer) -> Result<(), Failure> {
    let name = |entry: &str| shelf.name(entry);
    let decide =
        |there: &Entries| if done { renew::done(there, entry, name) } else { renew::begun(there, entry, name) };
    let public = shelf.change(decide)?;
    let next = if done {
        "done, once every daemon has this"
    } else {
        "once every daemon has this, give the clients the new public key; once all have it: statemesh keys renew --done"
    };
    say!("{}: {next}", shelf.name(entry));
    printer.text(&json!({"public": public}), |_| format!("{public}\n"))
}

/// The clients of a list.
fn listed(place: &Place, text: &str) -> Result<Vec<(PublicKey, Grant)>, Failure> {
    clients::parse(text).map_err(|(line, what)| wrong(place, line, what))
}

fn show(place: &Place, printer: &Printer) -> Result<(), Failure> {
    let text = place.text()?.ok_or_else(|| {
        Failure::new(Exit::File, "file", format!("{place}: there is no such list"))
            .hint("statemesh keys allow begins one; --file names another")
    })?;
    let clients = listed(place, &text)?;
    let ops = |grant: &Grant| grant.rights.iter().map(|right| right.as_str()).collect::<Vec<_>>();
    let entry = |(key, grant): &(PublicKey, Grant)| {
        json!({
            "name": grant.name, "key": key.to_z85(), "ops": ops(grant), "machines": grant.machines,
            "events_per_second": grant.events_per_second,
        })
    };
    let value = json!(clients.iter().map(entry).collect::<Vec<_>>());
    printer.answer(&value, || {
        let mut table = Table::new(["NAME", "KEY", "OPS", "MACHINES"]).or("no client is let in");
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

fn allow(place: &Place, key: &str, grant: &Grant) -> Result<(), Failure> {
    Kind::Name.check(&grant.name).map_err(|wrong| Failure::usage(format!("NAME: {wrong}")))?;
    if let Some(machine) = grant.machines.iter().find(|name| name.is_empty() || name.contains(['"', '\\'])) {
        return Err(Failure::usage(format!("--machines: '{machine}' is no beginning of a machine's name")));
    }
    let key = PublicKey::from_z85(key).map_err(|_| {
        Failure::usage(format!("'{key}' is no public key: 40 characters of Z85")).hint("quote it for the shell: 'KEY'")
    })?;
    place.change(|text| {
        let exists = |message: String, hint: &str| Err(Failure::new(Exit::Refused, "exists", message).hint(hint));
        let listed_before = listed(place, text)?;
        if listed_before.iter().any(|(_, other)| other.name == grant.name) {
            let message = format!("{place}: there is a client \"{}\" already", grant.name);
            return exists(message, "revoke it first, or edit the list");
        }
        if let Some((_, other)) = listed_before.iter().find(|(other, _)| *other == key) {
            let message = format!("{place}: this key is that of the client \"{}\"", other.name);
            return exists(message, "make one for each client: statemesh keys new FILE");
        }
        let text = clients::with(text, &key, grant);
        listed(place, &text)?;
        Ok((text, ()))
    })
}

fn revoke(place: &Place, name: &str) -> Result<(), Failure> {
    place.change(|text| {
        let listed = listed(place, text)?;
        if !listed.iter().any(|(_, grant)| grant.name == name) {
            let message = format!("{place}: there is no client \"{name}\"");
            return Err(Failure::new(Exit::Refused, "unknown", message).hint("`statemesh keys list` shows them"));
        }
        // The list is written by people too: what is taken out must be this client, whole, and no other.
        let rest = clients::without(text, name).filter(|rest| {
            clients::parse(rest).is_ok_and(|left| listed.iter().filter(|(_, grant)| grant.name != name).eq(&left))
        });
        let rest = rest.ok_or_else(|| {
            Failure::new(Exit::File, "file", format!("{place}: [{name}] is not written as expected"))
                .hint("take it out by hand")
        })?;
        Ok((rest, ()))
    })
}
