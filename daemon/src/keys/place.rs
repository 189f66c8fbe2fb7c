//! Which texts of keys a verb works on: files, or entries of a Kubernetes Secret.

#[cfg(feature = "kubernetes")]
use super::secret::Secret;
use super::store::{self, Entries, Files, Store};
use crate::failure::Failure;
use crate::kubernetes::{BUILT_IN, HEADING};
use clap::Args;
use std::fmt;
use std::path::Path;

/// Names a Secret.
#[derive(Args, Debug, Default)]
pub(super) struct SecretArgs {
    /// Work on this Secret instead of a file; $KUBECONFIG, ~/.kube/config or the pod's service account says in which cluster
    #[arg(long, value_name = "NAME", help_heading = HEADING, hide = !BUILT_IN)]
    pub(super) secret: Option<String>,
    /// The Secret's namespace [default: that of the kubeconfig's context, or the pod's own]
    #[arg(long, value_name = "NAME", requires = "secret", help_heading = HEADING, hide = !BUILT_IN)]
    pub(super) namespace: Option<String>,
}

/// One of the stores.
pub(super) enum Shelf {
    Files(Files),
    #[cfg(feature = "kubernetes")]
    Secret(Box<Secret>),
}

impl Shelf {
    /// The Secret that is named, if one is, for these entries of it.
    #[cfg(feature = "kubernetes")]
    pub(super) fn secret(args: &SecretArgs, entries: &[&str], labels: &[String]) -> Result<Option<Shelf>, Failure> {
        let Some(name) = &args.secret else { return Ok(None) };
        let secret = Secret::open(name, args.namespace.as_deref(), entries, labels)?;
        Ok(Some(Shelf::Secret(Box::new(secret))))
    }

    /// There is none in this build.
    #[cfg(not(feature = "kubernetes"))]
    pub(super) fn secret(args: &SecretArgs, _entries: &[&str], _labels: &[String]) -> Result<Option<Shelf>, Failure> {
        args.secret.as_ref().map_or(Ok(None), |_| Err(crate::kubernetes::not_built_in("--secret")))
    }

    /// See [`store::change`].
    pub(super) fn change<T>(
        &self,
        decide: impl FnMut(&Entries) -> Result<(Entries, T), Failure>,
    ) -> Result<T, Failure> {
        match self {
            Shelf::Files(files) => store::change(files, decide),
            #[cfg(feature = "kubernetes")]
            Shelf::Secret(secret) => store::change(secret.as_ref(), decide),
        }
    }

    /// What a person calls an entry.
    pub(super) fn name(&self, entry: &str) -> String {
        match self {
            Shelf::Files(files) => files.name(entry),
            #[cfg(feature = "kubernetes")]
            Shelf::Secret(secret) => secret.name(entry),
        }
    }
}

/// One text.
pub(super) struct Place {
    shelf: Shelf,
    entry: String,
}

impl Place {
    /// The entry of the Secret that is named, or else the file.
    pub(super) fn of(
        args: &SecretArgs,
        entry: &str,
        file: impl FnOnce() -> Result<std::path::PathBuf, Failure>,
    ) -> Result<Place, Failure> {
        match Shelf::secret(args, &[entry], &[])? {
            Some(shelf) => Ok(Place { shelf, entry: entry.to_owned() }),
            None => Place::file(&file()?),
        }
    }

    /// A file.
    pub(super) fn file(path: &Path) -> Result<Place, Failure> {
        let (files, entry) = Files::one(path)?;
        Ok(Place { shelf: Shelf::Files(files), entry })
    }

    /// The text, if there is one.
    pub(super) fn text(&self) -> Result<Option<String>, Failure> {
        self.shelf.change(|entries| Ok((Entries::new(), entries.get(&self.entry).cloned())))
    }

    /// Writes what `decide` makes of the text; of an empty one if there is none.
    pub(super) fn change<T>(&self, mut decide: impl FnMut(&str) -> Result<(String, T), Failure>) -> Result<T, Failure> {
        self.shelf.change(|entries| {
            let (text, outcome) = decide(entries.get(&self.entry).map_or("", String::as_str))?;
            Ok((Entries::from([(self.entry.clone(), text)]), outcome))
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shelf.name(&self.entry))
    }
}
