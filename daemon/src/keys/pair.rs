//! The file of one key pair: a daemon's own, or a client's.

use super::{read_text, replace, wrong};
use crate::failure::{Exit, Failure};
use statemesh_transport::curve::{KeyPair, PublicKey, SecretKey};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Reads a key pair.
pub(crate) fn read(path: &Path) -> Result<KeyPair, Failure> {
    parse(&read_text(path)?).map_err(|what| wrong(path.display(), 1, what))
}

/// The key pair of a text, or what is wrong with it. What is said about a secret does not repeat it.
pub(super) fn parse(text: &str) -> Result<KeyPair, String> {
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let field = |name: &str| match table.get_ref().get(name).map(|value| value.get_ref()) {
        Some(DeValue::String(text)) => Ok(text.to_string()),
        _ => Err(format!("'{name}' is missing: `statemesh keys new` did not write this")),
    };
    let secret = SecretKey::from_z85(&field("secret")?).map_err(|_| "'secret' is not 40 characters of Z85")?;
    let pair = KeyPair { public: secret.derive_public(), secret };
    let public = PublicKey::from_z85(&field("public")?).map_err(|_| "'public' is not 40 characters of Z85")?;
    if public != pair.public {
        return Err("'public' does not belong to 'secret'".to_owned());
    }
    Ok(pair)
}

/// A key pair as a text.
pub(super) fn text_of(pair: &KeyPair) -> String {
    let (public, secret) = (pair.public.to_z85(), pair.secret.to_z85());
    format!(
        "# A CURVE key pair, made by `statemesh keys`. Whoever has the secret key can say that he is you.\n\
         public = \"{public}\"\nsecret = \"{secret}\"\n"
    )
}

/// Makes a key pair and writes it to a file that must not exist yet.
pub(super) fn create(path: &Path) -> Result<KeyPair, Failure> {
    if path.exists() {
        let message = format!("{}: there is a file already", path.display());
        return Err(Failure::new(Exit::File, "file", message).hint("name another one, or move that one away"));
    }
    let pair = KeyPair::generate();
    replace(path, &text_of(&pair))?;
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
        assert!(create(&path).is_err(), "it must not be overwritten");
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
