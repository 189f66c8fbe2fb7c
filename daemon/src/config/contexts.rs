//! Contexts: meshes that a person works with, by name. They stand in a file of the user's configuration folder, and one of them is
//! current; `statemesh context` changes them.

use super::did_you_mean;
use crate::failure::Failure;
use crate::key_files;
use crate::output::toml_document;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

/// Names the context, where no flag does.
pub(crate) const CONTEXT_VARIABLE: &str = "STATEMESH_CONTEXT";
/// The key that says which context is current; no context has this name.
const CURRENT: &str = "current";
/// What a context may say: the client's settings.
const KEYS: [&str; 4] = ["address", "timeout", "key", "server_key"];

/// The client's settings of one mesh, by key.
pub(crate) type Context = BTreeMap<String, String>;

/// All contexts.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    path: PathBuf,
    /// The one that counts if none is named.
    pub(crate) current: Option<String>,
    /// By name.
    pub(crate) all: BTreeMap<String, Context>,
}

/// How a context came to be used, by which it comes before other sources or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// `--context` names it: it counts as a flag.
    Flag,
    /// A variable names it.
    Variable,
    /// It is the current one, and neither a flag nor a variable named another.
    Current,
}

/// A context that is used.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    pub(crate) how: Choice,
    pub(crate) context: Context,
}

/// The context that the flag names, or the variable, or else the current one, if there is any.
pub(super) fn chosen(flag: Option<&str>, variable: Option<&str>) -> Result<Option<Chosen>, Failure> {
    let named = flag.map(|name| (name, Choice::Flag)).or(variable.map(|name| (name, Choice::Variable)));
    let mut contexts = match (Contexts::read(), named) {
        (Ok(contexts), _) => contexts,
        // Without a folder of the user's there are no contexts, and none is missed.
        (Err(None), None) => return Ok(None),
        (Err(None), Some(_)) => return Err(no_folder()),
        (Err(Some(failure)), _) => return Err(failure),
    };
    let named = named.map(|(name, how)| (name.to_owned(), how));
    let Some((name, how)) = named.or(contexts.current.take().map(|name| (name, Choice::Current))) else {
        return Ok(None);
    };
    let context = contexts.of(&name)?.clone();
    Ok(Some(Chosen { name, how, context }))
}

fn no_folder() -> Failure {
    Failure::usage("there is no folder for contexts: neither XDG_CONFIG_HOME nor HOME is set")
}

impl Contexts {
    /// Reads them, for a verb that is about them.
    pub(crate) fn load() -> Result<Contexts, Failure> {
        Contexts::read().map_err(|failure| failure.unwrap_or_else(no_folder))
    }

    /// `None` for an error: there is no folder that they could be in.
    fn read() -> Result<Contexts, Option<Failure>> {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config"))).ok_or(None)?;
        let path = folder.join("statemesh").join("contexts.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Some(Failure::file(&path, &error))),
        };
        let wrong = |what: ContextFault| Some(Failure::usage(format!("{}: {what}", path.display())));
        let (current, all) = parse(&text).map_err(wrong)?;
        Ok(Contexts { path, current, all })
    }

    /// The one of this name.
    pub(crate) fn of(&self, name: &str) -> Result<&Context, Failure> {
        self.all.get(name).ok_or_else(|| {
            let failure = Failure::usage(format!("there is no context '{name}'"));
            match did_you_mean(name, self.all.keys().map(String::as_str)) {
                Some(near) => failure.hint(format!("did you mean '{near}'?")),
                None => failure.hint("statemesh context list shows them; statemesh context add makes one"),
            }
        })
    }

    /// Whether a context may have this name.
    pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
        crate::kind::Kind::Name.check(name).map_err(|wrong| Failure::usage(format!("NAME: {wrong}")))?;
        if name == CURRENT { Err(Failure::usage("NAME: a context cannot be called 'current'")) } else { Ok(()) }
    }

    /// Writes them back.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let mut value = json!({CURRENT: self.current});
        for (name, context) in &self.all {
            value[name] = json!(context);
        }
        if let Some(folder) = self.path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| Failure::file(folder, &error))?;
        }
        key_files::replace(&self.path, &toml_document(&value))
    }

    /// Where they stand.
    pub(crate) fn file(&self) -> Value {
        json!(self.path)
    }
}

/// What is wrong in the file of the contexts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ContextFault {
    #[error("{0}")]
    NoToml(String),
    #[error("'{0}' is no context: write [{0}]")]
    NoTable(String),
    #[error("[{name}]: '{key}' is none of {keys}, each a text", keys = KEYS.join(", "))]
    Key { name: String, key: String },
}

fn parse(text: &str) -> Result<(Option<String>, BTreeMap<String, Context>), ContextFault> {
    let table = DeTable::parse(text).map_err(|error| ContextFault::NoToml(error.message().to_owned()))?;
    let (mut current, mut all) = (None, BTreeMap::new());
    for (name, value) in table.get_ref() {
        let name = name.get_ref().to_string();
        match value.get_ref() {
            DeValue::String(text) if name == CURRENT => current = Some(text.to_string()),
            DeValue::Table(inner) => {
                all.insert(name.clone(), context(&name, inner)?);
            }
            _ => return Err(ContextFault::NoTable(name)),
        }
    }
    Ok((current, all))
}

fn context(name: &str, table: &DeTable<'_>) -> Result<Context, ContextFault> {
    let mut context = Context::new();
    for (key, value) in table {
        let key = key.get_ref().to_string();
        match value.get_ref() {
            DeValue::String(text) if KEYS.contains(&key.as_str()) => context.insert(key, text.to_string()),
            _ => return Err(ContextFault::Key { name: name.to_owned(), key }),
        };
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_the_clients_settings_and_nothing_else() {
        let (current, all) = parse("current = 'shop'\n[shop]\naddress = 'a,b'\n[lab]\ntimeout = '1s'\n").unwrap();
        assert_eq!((current.as_deref(), all["shop"]["address"].as_str(), all.len()), (Some("shop"), "a,b", 2));
        assert_eq!(parse("").unwrap(), (None, BTreeMap::new()));
        for wrong in ["shop = 1", "[shop]\nadress = 'a'", "[shop]\naddress = 1", "[shop"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
