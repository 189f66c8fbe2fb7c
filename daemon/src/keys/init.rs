//! What a mesh needs of keys, and what of it is missing.

use super::store::Entries;
use crate::failure::Failure;
use crate::key_files::{clients, gossip, pair, wrong};
use crate::kind::{Kind, Misfit};
use statemesh_node::access::{Grant, Right};
use statemesh_transport::curve::{KeyPair, OwnKeys};

/// The daemons' key pair.
pub(super) const DAEMON_KEY: &str = "daemon.key";
/// Its public key in Z85 and nothing else, for a script that fills a variable with it.
pub(super) const DAEMON_PUB: &str = "daemon.pub";
/// The key pair of the client `admin`.
pub(super) const ADMIN_KEY: &str = "admin.key";
/// The clients that are let in.
pub(super) const CLIENTS: &str = "clients.toml";
/// The gossip keys.
pub(super) const GOSSIP_KEYS: &str = "gossip.keys";
/// A token for HTTP, without a line's end: it is given on as a variable.
pub(super) const HTTP_TOKEN: &str = "http.token";

/// All of it.
pub(super) const ALL: [&str; 6] = [DAEMON_KEY, DAEMON_PUB, ADMIN_KEY, CLIENTS, GOSSIP_KEYS, HTTP_TOKEN];

/// The client that is let in from the start.
const ADMIN: &str = "admin";

/// What is missing among `there`. What is there is checked and never changed; `name` says what a person calls an entry.
pub(super) fn missing(there: &Entries, name: impl Fn(&str) -> String) -> Result<Entries, Failure> {
    let mut made = Entries::new();
    let daemon = pair_of(DAEMON_KEY, there, &mut made, &name)?;
    match there.get(DAEMON_PUB) {
        None => drop(made.insert(DAEMON_PUB.to_owned(), daemon.current.public.to_z85())),
        Some(given) if daemon.pairs().any(|pair| given.trim() == pair.public.to_z85()) => {}
        Some(_) => return Err(wrong(name(DAEMON_PUB), 1, format!("is not the public key of {}", name(DAEMON_KEY)))),
    }
    match there.get(CLIENTS) {
        // The operator wrote this list, or took admin's key away where all can read it; a new key would not be let in.
        Some(text) => drop(clients::parse(text).map_err(|(line, what)| wrong(name(CLIENTS), line, what))?),
        None => {
            let admin = pair_of(ADMIN_KEY, there, &mut made, &name)?;
            let grant =
                Grant { name: ADMIN.into(), machines: vec![], rights: vec![Right::Admin], events_per_second: None };
            made.insert(CLIENTS.to_owned(), clients::with(CLIENTS_HEAD, &admin.current.public, &grant));
        }
    }
    match there.get(GOSSIP_KEYS) {
        Some(text) => drop(gossip::parse(text).map_err(|(line, what)| wrong(name(GOSSIP_KEYS), line, what))?),
        None => drop(made.insert(GOSSIP_KEYS.to_owned(), gossip::first())),
    }
    match there.get(HTTP_TOKEN) {
        Some(tokens) => check_tokens(tokens).map_err(|what| wrong(name(HTTP_TOKEN), 1, what))?,
        None => drop(made.insert(HTTP_TOKEN.to_owned(), token())),
    }
    Ok(made)
}

const CLIENTS_HEAD: &str = "# The clients that are let in; `statemesh keys allow` and `revoke` change them.\n";

/// The key pair of an entry, made if there is none.
fn pair_of(
    entry: &str,
    there: &Entries,
    made: &mut Entries,
    name: impl Fn(&str) -> String,
) -> Result<OwnKeys, Failure> {
    if let Some(text) = there.get(entry) {
        return pair::parse(text).map_err(|what| wrong(name(entry), 1, what));
    }
    let pair = OwnKeys::from(KeyPair::generate());
    made.insert(entry.to_owned(), pair::text_of(&pair));
    Ok(pair)
}

/// There may be several, with commas, while one takes the place of another.
fn check_tokens(text: &str) -> Result<(), Misfit> {
    text.trim().split(',').try_for_each(|token| Kind::Token.check(token))
}

/// 256 random bits in hexadecimal.
fn token() -> String {
    gossip::hexadecimal(&rand::random())
}

#[cfg(test)]
mod tests {
    use super::super::store::{change, tests::Contended};
    use super::*;
    use std::cell::Cell;

    fn made_of(there: &Entries) -> Result<Entries, Failure> {
        missing(there, str::to_owned)
    }

    fn without(entries: &Entries, left_out: &[&str]) -> Entries {
        entries.clone().into_iter().filter(|(name, _)| !left_out.contains(&name.as_str())).collect()
    }

    #[test]
    fn of_nothing_it_makes_all_and_then_nothing_more() {
        let made = made_of(&Entries::new()).unwrap();
        assert_eq!(made.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), ALL.into());
        assert_eq!(pair::parse(&made[DAEMON_KEY]).unwrap().current.public.to_z85(), made[DAEMON_PUB]);
        let (key, admin) = &clients::parse(&made[CLIENTS]).unwrap()[0];
        assert_eq!((admin.name.as_str(), &admin.rights[..]), ("admin", &[Right::Admin][..]));
        assert_eq!(*key, pair::parse(&made[ADMIN_KEY]).unwrap().current.public);
        assert_eq!(gossip::parse(&made[GOSSIP_KEYS]).unwrap().len(), 1);
        assert!(made[HTTP_TOKEN].len() >= 32 && !made[HTTP_TOKEN].contains('\n'));
        assert_eq!(made_of(&made).unwrap(), Entries::new());
    }

    #[test]
    fn what_is_missing_is_made_to_fit_what_is_there() {
        let whole = made_of(&Entries::new()).unwrap();
        let again = |left_out: &[&str]| made_of(&without(&whole, left_out)).unwrap();
        assert_eq!(again(&[DAEMON_PUB])[DAEMON_PUB], whole[DAEMON_PUB]);
        // As after a run that was interrupted between the two.
        assert_eq!(again(&[CLIENTS])[CLIENTS], whole[CLIENTS]);
        assert_eq!(again(&[ADMIN_KEY]), Entries::new(), "a key that was taken away does not come back");
        assert_ne!(again(&[GOSSIP_KEYS])[GOSSIP_KEYS], whole[GOSSIP_KEYS]);
        assert_eq!(again(&[HTTP_TOKEN]).len(), 1);
        let mut two_tokens = whole.clone();
        two_tokens.insert(HTTP_TOKEN.to_owned(), "0123456789abcdef,fedcba9876543210\n".to_owned());
        assert_eq!(made_of(&two_tokens).unwrap(), Entries::new());
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_made() {
        let whole = made_of(&Entries::new()).unwrap();
        let other = made_of(&Entries::new()).unwrap();
        for (entry, text) in [
            (DAEMON_PUB, other[DAEMON_PUB].as_str()),
            (DAEMON_KEY, "public = 1"),
            (CLIENTS, "[a]\n"),
            (GOSSIP_KEYS, "0123\n"),
            (HTTP_TOKEN, "short"),
        ] {
            let mut there = whole.clone();
            there.insert(entry.to_owned(), text.to_owned());
            let failure = made_of(&there).unwrap_err();
            assert!(failure.code == "bad_keys" && failure.message.starts_with(entry), "{failure}");
        }
    }

    #[test]
    fn two_that_begin_at_once_end_with_one_set() {
        let store = Contended { rivals: Cell::new(1), ..Contended::default() };
        let init = |entries: &Entries| made_of(entries).map(|made| (made.clone(), made));
        let first = change(&store, init).unwrap();
        assert_eq!(change(&store, init).unwrap(), Entries::new());
        assert!(first.iter().all(|(name, text)| store.entries.borrow()[name] == *text));
    }
}
