//! The file of one key pair: a daemon's own, or a client's. That of a daemon may have the pair before it too, which counts
//! until all clients have the new public key.

use super::{read_text, replace, wrong};
use crate::failure::{Exit, Failure};
use statemesh_transport::curve::{KeyPair, OwnKeys, PublicKey, SecretKey};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The table of the pair before.
const FORMER: &str = "former";

/// Reads a key pair.
pub(crate) fn read(path: &Path) -> Result<KeyPair, Failure> {
    read_own(path).map(|own| own.current)
}

/// Reads a key pair, and the one before it if it is there too.
pub(crate) fn read_own(path: &Path) -> Result<OwnKeys, Failure> {
    parse(&read_text(path)?).map_err(|what| wrong(path.display(), 1, what))
}

/// What is wrong in a file of a key pair. What is said about a secret does not repeat it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairFault {
    #[error("{0}")]
    NoToml(String),
    #[error("this is a public key alone: name the file with both keys, as `statemesh keys new FILE` writes it")]
    PublicOnly,
    #[error("'{0}' is missing: `statemesh keys new` did not write this")]
    Missing(&'static str),
    #[error("'{0}' is not 40 characters of Z85")]
    NoZ85(&'static str),
    #[error("'public' does not belong to 'secret'")]
    Unrelated,
    #[error("[{FORMER}]: {0}")]
    Former(Box<PairFault>),
    #[error("'{FORMER}' is no table: `statemesh keys renew` did not write this")]
    FormerNoTable,
}

/// The keys of a text, or what is wrong with them.
pub(crate) fn parse(text: &str) -> Result<OwnKeys, PairFault> {
    let table = DeTable::parse(text).map_err(|error| match PublicKey::from_z85(text.trim()) {
        Ok(_) => PairFault::PublicOnly,
        Err(_) => PairFault::NoToml(error.message().to_owned()),
    })?;
    let former = match table.get_ref().get(FORMER).map(|value| value.get_ref()) {
        None => None,
        Some(DeValue::Table(former)) => Some(pair_of(former).map_err(|fault| PairFault::Former(Box::new(fault)))?),
        Some(_) => return Err(PairFault::FormerNoTable),
    };
    Ok(OwnKeys { current: pair_of(table.get_ref())?, former })
}

fn pair_of(table: &DeTable<'_>) -> Result<KeyPair, PairFault> {
    let field = |name: &'static str| match table.get(name).map(|value| value.get_ref()) {
        Some(DeValue::String(text)) => Ok(text.to_string()),
        _ => Err(PairFault::Missing(name)),
    };
    let secret = SecretKey::from_z85(&field("secret")?).map_err(|_| PairFault::NoZ85("secret"))?;
    let pair = KeyPair { public: secret.derive_public(), secret };
    let public = PublicKey::from_z85(&field("public")?).map_err(|_| PairFault::NoZ85("public"))?;
    if public != pair.public {
        return Err(PairFault::Unrelated);
    }
    Ok(pair)
}

/// Keys as a text.
pub(crate) fn text_of(own: &OwnKeys) -> String {
    let fields =
        |pair: &KeyPair| format!("public = \"{}\"\nsecret = \"{}\"\n", pair.public.to_z85(), pair.secret.to_z85());
    let mut text = String::from(
        "# A CURVE key pair, made by `statemesh keys`. With the secret key anyone can say that they are you.\n",
    );
    text.push_str(&fields(&own.current));
    if let Some(former) = &own.former {
        text.push_str("\n# Still accepted; `statemesh keys renew --done` takes it out.\n");
        text.push_str(&format!("[{FORMER}]\n{}", fields(former)));
    }
    text
}

/// Makes a key pair and writes it to a file that must not exist yet.
pub(crate) fn create(path: &Path) -> Result<KeyPair, Failure> {
    if path.exists() {
        let message = format!("{}: there is a file already", path.display());
        return Err(Failure::new(Exit::Refused, "exists", message).hint("name another one, or move that one away"));
    }
    let pair = KeyPair::generate();
    replace(path, &text_of(&pair.clone().into()))?;
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read_again_and_nobody_else_can_read_it() {
        let path = folder("pair").join("me.key");
        let pair = create(&path).unwrap();
        assert_eq!(read(&path).unwrap().secret, pair.secret);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = create(&path).unwrap_err();
        assert_eq!((again.exit, again.code.as_str()), (Exit::Refused, "exists"), "it must not be overwritten");
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let path = folder("halves").join("me.key");
        let (a, b) = (KeyPair::generate(), KeyPair::generate());
        std::fs::write(&path, format!("public = \"{}\"\nsecret = \"{}\"", a.public.to_z85(), b.secret.to_z85()))
            .unwrap();
        let failure = read(&path).unwrap_err();
        assert!(failure.message.contains("does not belong") && !failure.message.contains(&b.secret.to_z85()));
    }
}
