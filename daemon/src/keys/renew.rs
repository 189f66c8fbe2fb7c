//! The daemons' own key pair is renewed in two steps, between which both pairs count: clients know its public half, and cannot
//! all change in the moment in which the daemons do.

use super::init::DAEMON_PUB;
use super::store::Entries;
use crate::failure::{Exit, Failure};
use crate::key_files::{pair, wrong};
use statemesh_transport::curve::{KeyPair, OwnKeys};

/// A new pair takes the place of the one that is there, which counts on. Gives what is to be written, and the new public key.
pub(super) fn begun(there: &Entries, entry: &str, name: impl Fn(&str) -> String) -> Result<(Entries, String), Failure> {
    let own = own_of(there, entry, &name)?;
    if own.former.is_some() {
        let message = format!("{}: the renewal before this one is not done", name(entry));
        let hint = "once all clients have the public key in use: statemesh keys renew --done";
        return Err(Failure::new(Exit::Refused, "wrong_step", message).hint(hint));
    }
    Ok(written(there, entry, &OwnKeys { current: KeyPair::generate(), former: Some(own.current) }))
}

/// The former pair counts no more.
pub(super) fn done(there: &Entries, entry: &str, name: impl Fn(&str) -> String) -> Result<(Entries, String), Failure> {
    let own = own_of(there, entry, &name)?;
    if own.former.is_none() {
        let message = format!("{}: there is one pair only", name(entry));
        return Err(Failure::new(Exit::Refused, "wrong_step", message).hint("first: statemesh keys renew"));
    }
    let (mut made, public) = written(there, entry, &own);
    made.insert(entry.to_owned(), pair::text_of(&own.current.into()));
    Ok((made, public))
}

fn own_of(there: &Entries, entry: &str, name: impl Fn(&str) -> String) -> Result<OwnKeys, Failure> {
    let text = there.get(entry).ok_or_else(|| {
        Failure::new(Exit::File, "file", format!("{}: there is none", name(entry)))
            .hint("`statemesh keys init` makes all keys that a mesh needs")
    })?;
    pair::parse(text).map_err(|what| wrong(name(entry), 1, what))
}

/// The keys, and the file of the public key where it is beside them; one of other keys is none of our business.
fn written(there: &Entries, entry: &str, own: &OwnKeys) -> (Entries, String) {
    let public = own.current.public.to_z85();
    let former = own.former.as_ref().map(|pair| pair.public.to_z85());
    let mut made = Entries::from([(entry.to_owned(), pair::text_of(own))]);
    if there.get(DAEMON_PUB).is_some_and(|text| Some(text.trim()) == former.as_deref()) {
        made.insert(DAEMON_PUB.to_owned(), public.clone());
    }
    (made, public)
}

#[cfg(test)]
mod tests {
    use super::super::init::{DAEMON_KEY, missing};
    use super::super::store::{change, tests::Contended};
    use super::*;

    type Deed = fn(&Entries, &str, fn(&str) -> String) -> Result<(Entries, String), Failure>;

    /// A store with all keys of a mesh.
    fn store() -> Contended {
        let store = Contended::default();
        let made = missing(&Entries::new(), str::to_owned).unwrap();
        store.entries.borrow_mut().extend(made);
        store
    }

    fn take(store: &Contended, deed: Deed) -> Result<String, Failure> {
        change(store, |there| deed(there, DAEMON_KEY, str::to_owned))
    }

    fn own(store: &Contended) -> OwnKeys {
        pair::parse(&store.entries.borrow()[DAEMON_KEY]).unwrap()
    }

    fn published(store: &Contended) -> String {
        store.entries.borrow()[DAEMON_PUB].clone()
    }

    #[test]
    fn both_pairs_count_until_it_is_done() {
        let store = store();
        let old = own(&store).current;
        let public = take(&store, begun).unwrap();
        let between = own(&store);
        assert_eq!((between.current.public.to_z85(), published(&store)), (public.clone(), public.clone()));
        assert_eq!(between.former.unwrap().secret, old.secret);
        assert_eq!(missing(&store.entries.borrow(), str::to_owned).unwrap(), Entries::new(), "`init` is content");
        assert_eq!(take(&store, begun).unwrap_err().code, "wrong_step");
        assert_eq!(take(&store, done).unwrap(), public);
        let after = own(&store);
        assert!(after.former.is_none() && after.current.secret == between.current.secret);
        assert_eq!(take(&store, done).unwrap_err().code, "wrong_step");
        assert_ne!(take(&store, begun).unwrap(), public, "and again");
    }

    #[test]
    fn one_that_was_interrupted_before_the_public_key_was_written_ends_well() {
        let store = store();
        let old = published(&store);
        let public = take(&store, begun).unwrap();
        store.entries.borrow_mut().insert(DAEMON_PUB.to_owned(), old);
        assert_eq!(missing(&store.entries.borrow(), str::to_owned).unwrap(), Entries::new());
        take(&store, done).unwrap();
        assert_eq!(published(&store), public);
    }

    #[test]
    fn a_public_key_that_is_not_its_own_stays_and_a_secret_is_not_repeated() {
        let store = store();
        store.entries.borrow_mut().insert(DAEMON_PUB.to_owned(), "another's".to_owned());
        take(&store, begun).unwrap();
        assert_eq!(published(&store), "another's");
        let text = store.entries.borrow()[DAEMON_KEY].replace("[former]\npublic", "[former]\nsecret");
        store.entries.borrow_mut().insert(DAEMON_KEY.to_owned(), text.clone());
        let failure = take(&store, done).unwrap_err();
        let secrets = text.split('"').filter(|word| word.len() == 40);
        assert!(
            failure.code == "bad_keys" && secrets.into_iter().all(|key| !failure.message.contains(key)),
            "{failure}"
        );
        assert_eq!(take(&Contended::default(), begun).unwrap_err().code, "file");
    }
}
