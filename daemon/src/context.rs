//! `context`: meshes by name, so that users need not type addresses and keys again and again.

use crate::config::{Context, Contexts};
use crate::failure::Failure;
use crate::key_files::read_pair;
use crate::kind;
use crate::output::{Printer, Style, Table, say};
use clap::{Args, Subcommand};
use serde_json::json;
use statemesh_transport::curve::PublicKey;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    verb: ContextVerb,
}

#[derive(Debug, Subcommand)]
enum ContextVerb {
    /// Name a mesh; the first one becomes the current context
    Add(AddArgs),
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// List the contexts; the current one is marked
    List,
    /// Forget a context
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Args, Debug)]
struct AddArgs {
    /// What the mesh is called from now on; a context of this name is replaced
    name: String,
    /// Its daemons; the first that answers is asked
    #[arg(long, value_name = "HOST:PORT,...")]
    address: String,
    /// For how long to wait for an answer, such as 5s
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// The file with the client's own keys
    #[arg(long, value_name = "FILE", requires = "server_key")]
    key: Option<PathBuf>,
    /// The daemons' public key
    #[arg(long, value_name = "Z85", allow_hyphen_values = true, requires = "key")]
    server_key: Option<String>,
    /// Make it the current one at once
    #[arg(long)]
    r#use: bool,
}

/// Does what was asked.
pub(crate) fn run(args: ContextArgs, printer: &Printer) -> Result<(), Failure> {
    let contexts = Contexts::load()?;
    match args.verb {
        ContextVerb::Add(args) => add(contexts, args),
        ContextVerb::Use { name } => make_current(contexts, &name),
        ContextVerb::List => list(&contexts, printer),
        ContextVerb::Remove { name } => remove(contexts, &name),
    }
}

fn add(mut contexts: Contexts, args: AddArgs) -> Result<(), Failure> {
    Contexts::check_name(&args.name)?;
    let AddArgs { name, address, timeout, key, server_key, r#use } = args;
    let context = checked(&address, timeout, key.as_deref(), server_key)?;
    let is_first = contexts.all.is_empty();
    contexts.all.insert(name.clone(), context);
    if is_first || r#use {
        contexts.current = Some(name.clone());
    }
    contexts.save()?;
    let is_current = contexts.current.as_ref() == Some(&name);
    let how = if is_current { "it is the current one" } else { "statemesh context use makes it the current one" };
    say!("context {name} is in {}; {how}", contexts.file().as_str().unwrap_or_default());
    Ok(())
}

/// The settings as they will be read; a mistake is told now, not with the next request.
fn checked(
    address: &str,
    timeout: Option<String>,
    key: Option<&Path>,
    server_key: Option<String>,
) -> Result<Context, Failure> {
    let mut context = Context::new();
    let addresses = kind::daemons(address);
    let addresses =
        addresses.ok_or_else(|| Failure::usage(format!("--address: '{address}' is no address of a daemon")))?;
    context.insert("address".to_owned(), addresses.join(","));
    if let Some(timeout) = timeout {
        if kind::span(&timeout).is_none_or(|time| time.is_zero()) {
            return Err(Failure::usage(format!("--timeout: '{timeout}' is no time such as 500ms or 5s")));
        }
        context.insert("timeout".to_owned(), timeout);
    }
    if let Some(key) = key {
        // A context may be used from any folder.
        let path = key.canonicalize().map_err(|error| Failure::file(key, &error))?;
        read_pair(&path).map_err(|failure| Failure { message: format!("--key: {}", failure.message), ..failure })?;
        context.insert("key".to_owned(), path.display().to_string());
    }
    if let Some(key) = server_key {
        PublicKey::from_z85(&key).map_err(|error| Failure::usage(format!("--server-key: {error}")))?;
        context.insert("server_key".to_owned(), key);
    }
    Ok(context)
}

fn make_current(mut contexts: Contexts, name: &str) -> Result<(), Failure> {
    contexts.of(name)?;
    contexts.current = Some(name.to_owned());
    contexts.save()
}

fn remove(mut contexts: Contexts, name: &str) -> Result<(), Failure> {
    contexts.of(name)?;
    contexts.all.remove(name);
    let was_current = contexts.current.as_deref() == Some(name);
    contexts.current = contexts.current.take().filter(|current| current != name);
    contexts.save()?;
    match contexts.all.keys().next() {
        Some(other) if was_current => {
            say!("{name} was the current context, and none is now: statemesh context use {other}")
        }
        None if was_current => say!("{name} was the current context, and there is none any more"),
        _ => {}
    }
    Ok(())
}

fn list(contexts: &Contexts, printer: &Printer) -> Result<(), Failure> {
    let is_current = |name: &str| contexts.current.as_deref() == Some(name);
    let rows = contexts.all.iter().map(|(name, context)| {
        let mut row = json!({"name": name, "current": is_current(name)});
        for (key, text) in context {
            row[key] = json!(text);
        }
        row
    });
    printer.answer(&rows.collect(), || {
        let nothing = "no context; statemesh context add NAME --address HOST:PORT makes one";
        let mut table = Table::new(["", "NAME", "ADDRESS", "KEY"]).or(nothing);
        for (name, context) in &contexts.all {
            let text = |key: &str| context.get(key).cloned().unwrap_or_default();
            let mark = if is_current(name) { "*" } else { "" };
            table.styled([
                (mark.to_owned(), Style::Good),
                (name.clone(), Style::Strong),
                (text("address"), Style::Plain),
                (text("key"), Style::Faint),
            ]);
        }
        table
    })
}
