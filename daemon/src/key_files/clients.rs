//! The file of the clients that a daemon lets in: a table for each, by its name.

use super::{read_text, wrong};
use crate::failure::Failure;
use crate::kind::{Kind, Misfit};
use statemesh_node::access::{Clients, Grant, Right};
use statemesh_transport::curve::PublicKey;
use std::collections::HashMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads the list.
pub(crate) fn read(path: &Path) -> Result<Clients, Failure> {
    parse(&read_text(path)?).map(Clients::new).map_err(|(line, what)| wrong(path.display(), line, what))
}

/// A line, and what is wrong there.
type Fault = (usize, String);

/// The clients of a list, in the order of their names.
pub(crate) fn parse(text: &str) -> Result<Vec<(PublicKey, Grant)>, Fault> {
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text)
        .map_err(|error| (line_of(error.span().map_or(0, |span| span.start)), error.message().to_owned()))?;
    let mut clients: Vec<(PublicKey, Grant)> = Vec::new();
    let mut names: HashMap<[u8; 32], String> = HashMap::new();
    for (name, value) in table.get_ref() {
        let line = line_of(name.span().start);
        let name = name.get_ref().to_string();
        let DeValue::Table(fields) = value.get_ref() else {
            return Err((line, format!("'{name}' is no client: each is a table, such as [{name}] with key = ...")));
        };
        let (key, grant) = client(&name, fields).map_err(|what| (line, format!("[{name}]: {what}")))?;
        if let Some(other) = names.insert(*key.as_bytes(), name.clone()) {
            return Err((line, format!("[{name}]: its key is that of [{other}]; each client has its own")));
        }
        clients.push((key, grant));
    }
    Ok(clients)
}

/// What is wrong in the table of one client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ClientFault {
    #[error(transparent)]
    Name(#[from] Misfit),
    #[error("'{0}' is not 40 characters of Z85")]
    Key(String),
    #[error("'{0}' is a list of texts")]
    NoTexts(&'static str),
    #[error("ops: '{0}' is not {OPS}")]
    Op(String),
    #[error("events_per_second is a whole number from 1 to 4294967295")]
    Rate,
    #[error("'{field}' is a {is}")]
    Type { field: String, is: &'static str },
    #[error("unknown field '{0}'; there are key, ops, machines, events_per_second")]
    Unknown(String),
    #[error("it has no key")]
    NoKey,
    #[error("it has no ops: a list of {OPS}")]
    NoOps,
}

fn client(name: &str, fields: &DeTable<'_>) -> Result<(PublicKey, Grant), ClientFault> {
    Kind::Name.check(name)?;
    let (mut key, mut machines, mut rights, mut events_per_second) = (None, Vec::new(), None, None);
    for (field, value) in fields {
        match (field.get_ref().as_ref(), value.get_ref()) {
            ("key", DeValue::String(text)) => {
                key = Some(PublicKey::from_z85(text).map_err(|_| ClientFault::Key(text.to_string()))?);
            }
            ("machines", DeValue::Array(items)) => machines = texts("machines", items)?,
            ("ops", DeValue::Array(items)) => {
                let named = |text: &String| Right::named(text).ok_or_else(|| ClientFault::Op(text.clone()));
                rights = Some(texts("ops", items)?.iter().map(named).collect::<Result<Vec<_>, _>>()?);
            }
            ("events_per_second", DeValue::Integer(number)) => {
                let read = number.as_str().replace('_', "").parse().ok().filter(|rate| *rate > 0);
                events_per_second = Some(read.ok_or(ClientFault::Rate)?);
            }
            ("key" | "machines" | "ops" | "events_per_second", other) => {
                return Err(ClientFault::Type { field: field.get_ref().to_string(), is: other.type_str() });
            }
            (other, _) => return Err(ClientFault::Unknown(other.to_owned())),
        }
    }
    let key = key.ok_or(ClientFault::NoKey)?;
    let rights = rights.ok_or(ClientFault::NoOps)?;
    Ok((key, Grant { name: name.to_owned(), machines, rights, events_per_second }))
}

pub(crate) const OPS: &str = "read, send, operate, engine, define or admin";

fn texts(field: &'static str, items: &[Spanned<DeValue<'_>>]) -> Result<Vec<String>, ClientFault> {
    let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err(ClientFault::NoTexts(field)),
    };
    items.iter().map(text).collect()
}

/// The list with one client more.
pub(crate) fn with(text: &str, key: &PublicKey, grant: &Grant) -> String {
    let list = |items: Vec<&str>| items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
    let mut out = text.to_owned();
    if !out.is_empty() {
        out.push_str(if out.ends_with('\n') { "\n" } else { "\n\n" });
    }
    let ops = list(grant.rights.iter().map(|right| right.as_str()).collect());
    out.push_str(&format!("[{}]\nkey = \"{}\"\nops = [{ops}]\n", section(&grant.name), key.to_z85()));
    if !grant.machines.is_empty() {
        out.push_str(&format!("machines = [{}]\n", list(grant.machines.iter().map(String::as_str).collect())));
    }
    if let Some(rate) = grant.events_per_second {
        out.push_str(&format!("events_per_second = {rate}\n"));
    }
    out
}

/// A name with a dot needs quotes: without them it would be a table in a table.
fn section(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

/// The list without one client; all else, comments too, stays as it is. `None` if it is not there as this writes it.
pub(crate) fn without(text: &str, name: &str) -> Option<String> {
    let header = |line: &str| {
        let line = line.trim();
        line == format!("[{name}]") || line == format!("[\"{name}\"]")
    };
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut found) = (false, false);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            inside = header(line);
            found |= inside;
        }
        if !inside {
            out.push_str(line);
        }
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_transport::curve::KeyPair;

    fn key() -> PublicKey {
        KeyPair::generate().public
    }

    #[test]
    fn a_client_has_a_key_ops_and_machines() {
        let (a, b) = (key().to_z85(), key().to_z85());
        let text = format!(
            "[billing]\nkey = \"{a}\"\nops = [\"read\", \"send\"]\nmachines = [\"order/\"]\nevents_per_second = 1_000\n\
             # the people\n[\"ops.team\"]\nkey = \"{b}\"\nops = [\"admin\"]\n"
        );
        let clients = parse(&text).unwrap();
        let grant = &clients.iter().find(|(_, grant)| grant.name == "billing").unwrap().1;
        assert_eq!(
            (&grant.rights[..], &grant.machines[..]),
            (&[Right::Read, Right::Send][..], &["order/".to_owned()][..])
        );
        assert_eq!(grant.events_per_second, Some(1_000));
        assert!(clients.iter().any(|(key, grant)| key.to_z85() == b && grant.name == "ops.team"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let good = format!("key = \"{}\"\nops = [\"read\"]\n", key().to_z85());
        let cases = [
            (format!("\n[a]\n{good}[b]\n{good}"), 5, "its key is that of [a]"),
            (format!("[a]\n{good}op = []\n"), 1, "unknown field 'op'"),
            ("[a]\nops = [\"read\"]\n".to_owned(), 1, "no key"),
            (format!("[a]\nkey = \"{}\"\n", key().to_z85()), 1, "no ops"),
            (good.replace("read", "write").replacen("key", "[a]\nkey", 1), 1, "'write' is not read, send"),
            ("[a]\nkey = \"short\"\n".to_owned(), 1, "not 40 characters"),
            ("a = 5\n".to_owned(), 1, "is no client"),
            ("[a]\nkey = \n".to_owned(), 2, ""),
        ];
        for (text, line, what) in cases {
            let (at, message) = parse(&text).unwrap_err();
            assert!(at == line && message.contains(what), "{text}: {at}: {message}");
        }
    }

    #[test]
    fn a_client_comes_and_goes_and_the_rest_of_the_file_stays() {
        let before = format!("# ours\n[a]\nkey = \"{}\"\nops = [\"read\"]\n", key().to_z85());
        let grant = Grant {
            name: "b.c".into(),
            machines: vec!["order".into(), "stock/".into()],
            rights: vec![Right::Send, Right::Define],
            events_per_second: Some(50),
        };
        let new = key();
        let with = with(&before, &new, &grant);
        assert!(parse(&with).unwrap().contains(&(new, grant)));
        assert_eq!(without(&with, "b.c").unwrap().trim_end(), before.trim_end());
        assert!(!without(&with, "a").unwrap().contains("[a]"));
        assert_eq!(without(&with, "b"), None);
    }
}
