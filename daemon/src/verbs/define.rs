//! `define`: sends definitions to the mesh, and shows what is wrong in one at its place in the file.

use super::args::DefineArgs;
use crate::connect::connect;
use crate::diagnostic;
use crate::failure::{Exit, Failure};
use crate::input::read_definition;
use crate::output::{Format, Printer, Style, Table, count, say, text};
use crate::remote::{self, Remote};
use serde_json::{Value, json};
use statemesh_client::{Ask, Op};
use statemesh_engine::UNNAMED;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Defines the machine of each file, those first that others invoke, and goes on after one that is refused. Nothing is sent if a file is
/// no JSON at all, or some invoke each other.
pub(crate) fn define(args: &DefineArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let read = |path: &PathBuf| Ok((path.clone(), named_definition(path, printer.format)?));
    let texts = args.files.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    refuse_namesakes(&texts)?;
    let texts = in_order(texts)?;
    let mut client = connect(&args.connect, file)?;
    let before = versions(&mut client);
    let (mut defined, mut refusals) = (Vec::new(), Vec::new());
    for (path, definition) in &texts {
        let ask = Ask { definition: Some(definition.as_bytes()), ..remote::ask(Op::Define) };
        match client.ask(&ask) {
            Ok(reply) => {
                diagnostic::print_reply(path, definition, reply["warnings"].as_array().map_or(&[], Vec::as_slice));
                defined.push(summary(&reply, before.as_ref()));
            }
            Err(failure) if failure.exit == Exit::Refused => {
                refusals.push(refused(path, definition, failure, printer.format));
            }
            Err(failure) => return Err(failure),
        }
    }
    let (good, answer) = (defined.len(), Value::Array(defined));
    if good > 0 {
        printer.answer(&answer, || table(&answer))?;
    }
    let bad = refusals.len();
    let Some(mut last) = refusals.pop() else { return Ok(()) };
    if texts.len() > 1 {
        refusals.iter().for_each(|failure| say!("{}", failure.message));
        last.message = format!("{}; of {} {bad} refused, {good} defined", last.message, count(texts.len(), "file"));
    }
    Err(last)
}

/// Two files of one id: the second would be the newer version of the first, in the same breath. `up` refuses them too.
pub(crate) fn refuse_namesakes(texts: &[(PathBuf, String)]) -> Result<(), Failure> {
    let Some((id, places)) =
        statemesh_engine::namesakes(texts.iter().map(|(_, text)| text.as_bytes())).into_iter().next()
    else {
        return Ok(());
    };
    let files: Vec<_> = places.iter().filter_map(|place| Some(texts.get(*place)?.0.display().to_string())).collect();
    let files = files.join(", ");
    let message = match id.as_str() {
        UNNAMED => format!("{files} have no id: nothing was defined"),
        id => format!("{files} have one id, {id:?}: nothing was defined"),
    };
    let versions = if id == UNNAMED { "" } else { "; versions of one are defined one after the other" };
    let hint = format!("{}{versions}", diagnostic::out_of_namesakes(&id));
    Err(Failure::new(Exit::Refused, "id_in_use", message).hint(hint))
}

/// A machine is compiled with those that it invokes, so these have to be there before.
fn in_order(texts: Vec<(PathBuf, String)>) -> Result<Vec<(PathBuf, String)>, Failure> {
    let order = statemesh_engine::order(texts.iter().map(|(_, text)| text.as_bytes())).map_err(|circle| {
        Failure::new(Exit::Refused, "circle", format!("{circle}: nothing was defined")).hint(diagnostic::OUT_OF_CIRCLE)
    })?;
    let mut texts: Vec<_> = texts.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|place| texts.get_mut(place)?.take()).collect())
}

/// What a whole mesh will know a machine by must be there. Offline a machine may do without.
#[derive(serde::Deserialize)]
struct Name {
    id: Option<Value>,
}

/// The text of a file that is JSON, of a machine that has a name.
fn named_definition(path: &Path, format: Format) -> Result<String, Failure> {
    let text = read_definition(path, format)
        .map_err(|failure| Failure { message: format!("{}; nothing was defined", failure.message), ..failure })?;
    let wrong = match serde_json::from_str::<Name>(&text) {
        Ok(Name { id: None }) => "the machine has no id",
        Ok(Name { id: Some(Value::String(id)) }) if id.is_empty() => "the machine's id is empty",
        // What else is wrong with it the daemon says, at its place.
        _ => return Ok(text),
    };
    let message = format!("{}: {wrong}; nothing was defined", path.display());
    Err(Failure::new(Exit::Refused, "no_id", message)
        .hint("write \"id\": \"NAME\": its instances are addressed as NAME/KEY"))
}

/// The machines that there are, with their versions; `None`: the client may not see them.
fn versions(client: &mut Remote) -> Option<BTreeMap<String, u64>> {
    let reply = client.ask(&remote::ask(Op::Machines)).ok()?;
    let machines = reply["machines"].as_array()?.iter();
    Some(machines.filter_map(|one| Some((text(&one["id"]), one["version"].as_u64()?))).collect())
}

/// For a person the findings are shown at their places; a program gets them with the error.
fn refused(path: &Path, definition: &str, failure: Failure, format: Format) -> Failure {
    let errors = failure.diagnostics.len();
    if errors == 0 || format == Format::Json {
        let message = format!("{}: {}", path.display(), failure.message);
        return Failure { message, ..failure };
    }
    diagnostic::print_reply(path, definition, &failure.diagnostics);
    let message = format!("{} is refused: {}", path.display(), count(errors, "finding"));
    Failure { message, hint: None, ..failure }
}

fn summary(reply: &Value, before: Option<&BTreeMap<String, u64>>) -> Value {
    let mut kept = json!({});
    for name in ["machine", "version", "members", "hash"] {
        kept[name] = reply[name].clone();
    }
    for name in ["missing", "refused"] {
        if let Some(members) = reply[name].as_array() {
            kept[name] = json!(members);
        }
    }
    if let Some(before) = before {
        kept["was"] = json!(before.get(&text(&reply["machine"])));
    }
    kept
}

fn table(defined: &Value) -> Table {
    let mut table = Table::new(["MACHINE", "VERSION", "DAEMONS", ""]);
    for machine in defined.as_array().into_iter().flatten() {
        table.styled([
            (text(&machine["machine"]), Style::Strong),
            (text(&machine["version"]), Style::Plain),
            (text(&machine["members"]), Style::Plain),
            note(machine),
        ]);
    }
    table
}

/// Whether the machine is a new one, which daemons do not run it, and which do not have it yet.
fn note(defined: &Value) -> (String, Style) {
    let refused = defined["refused"].as_array().into_iter().flatten();
    let refused: Vec<_> = refused.map(|by| format!("{} ({})", text(&by["member"]), text(&by["reason"]))).collect();
    if !refused.is_empty() {
        return (format!("does not run at {}", refused.join(", ")), Style::Bad);
    }
    let missing: Vec<_> = defined["missing"].as_array().into_iter().flatten().map(text).collect();
    if !missing.is_empty() {
        return (format!("not yet at {}", missing.join(", ")), Style::Doubtful);
    }
    match defined.get("was") {
        None => (String::new(), Style::Plain),
        Some(Value::Null) => ("new".to_owned(), Style::Good),
        Some(was) if *was == defined["version"] => ("unchanged".to_owned(), Style::Faint),
        Some(was) => (format!("was {was}; instances that there are stay with theirs"), Style::Good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_new_unchanged_or_newer() {
        let reply = json!({"machine": "door", "version": 7, "members": 3, "hash": "ab"});
        let told = |before: &[(&str, u64)]| {
            let before = before.iter().map(|(name, version)| ((*name).to_owned(), *version));
            note(&summary(&reply, Some(&before.collect()))).0
        };
        assert_eq!(told(&[("order", 3)]), "new");
        assert_eq!(told(&[("door", 7)]), "unchanged");
        assert!(told(&[("door", 5)]).starts_with("was 5; "));
        assert_eq!(note(&summary(&reply, None)).0, "", "who may not read does not know");
        let late = json!({"machine": "door", "version": 7, "members": 2, "hash": "ab", "missing": ["c"]});
        assert_eq!(note(&summary(&late, None)).0, "not yet at c");
    }
}
