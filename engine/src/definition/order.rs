//! The order in which definitions compile that invoke each other's machines: those that are invoked come first.

use crate::definition::json_pos::Document;
use crate::limits::Limits;
use crate::machine::{Machine, UNNAMED};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Definitions that wait for each other: none of them can be the first one. Each invokes the next one, and the last one the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle(pub Vec<String>);

impl std::fmt::Display for Circle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|id| write!(f, "{id} invokes "))?;
        f.write_str(self.0.first().map_or("itself", String::as_str))
    }
}

/// What the order depends on.
struct Named {
    id: Option<String>,
    /// The machines that it names, which the compiler asks for: so there is one place that knows where they can stand.
    invokes: BTreeSet<String>,
}

impl Named {
    fn of(source: &[u8]) -> Self {
        let limits = Limits::default();
        let id = name_of(source);
        let invokes = RefCell::default();
        // What is wrong with it is said when it is compiled in the end.
        let _ = Machine::compile(source, &limits, &|name| {
            BTreeSet::insert(&mut invokes.borrow_mut(), name.to_owned());
            None
        });
        Self { id, invokes: invokes.into_inner() }
    }

    /// Whether the other one has to be there before. An earlier version of the machine itself is no matter of order.
    fn waits_for(&self, other: &Self) -> bool {
        self.id != other.id && other.id.as_ref().is_some_and(|id| self.invokes.contains(id))
    }
}

/// Gives the places of definitions in an order in which each comes after those whose machines it invokes, and else as they are given.
///
/// # Errors
/// Some invoke each other.
pub fn order<'s>(sources: impl IntoIterator<Item = &'s [u8]>) -> Result<Vec<usize>, Circle> {
    let named: Vec<Named> = sources.into_iter().map(Named::of).collect();
    let mut left: Vec<usize> = (0..named.len()).collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = left.iter().position(|one| first_waited_for(&named, &left, *one).is_none());
        match free {
            Some(free) => ordered.push(left.remove(free)),
            None => return Err(circle(&named, &left)),
        }
    }
    Ok(ordered)
}

/// The name by which a mesh knows the machine of a definition: its id, or [`UNNAMED`]. `None`: it is refused when it is compiled.
pub fn name_of(source: &[u8]) -> Option<String> {
    let document = Document::parse(source, Limits::default().definition_depth_max).ok()?;
    document.root.members()?;
    let id = document.root.get("id").map_or(Some(UNNAMED), |id| id.as_str().filter(|id| !id.trim().is_empty()));
    id.map(str::to_owned)
}

/// The names that several definitions have, each with the places of those; all without an id have [`UNNAMED`]. A mesh knows a machine by
/// its name: the last of them would be its newest version, which is not meant where they are given together; but where one of them invokes
/// its own earlier version, that has to be given too.
pub fn namesakes<'s>(sources: impl IntoIterator<Item = &'s [u8]>) -> Vec<(String, Vec<usize>)> {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let sources: Vec<&[u8]> = sources.into_iter().collect();
    for (place, source) in sources.iter().enumerate() {
        if let Some(name) = name_of(source) {
            places.entry(name).or_default().push(place);
        }
    }
    let invokes_itself =
        |id: &String, place: &usize| sources.get(*place).is_some_and(|source| Named::of(source).invokes.contains(id));
    let are_mistaken =
        |(id, places): &(String, Vec<usize>)| places.len() > 1 && !places.iter().any(|place| invokes_itself(id, place));
    places.into_iter().filter(are_mistaken).collect()
}

/// The first of those that are left that this one waits for.
fn first_waited_for(named: &[Named], left: &[usize], one: usize) -> Option<usize> {
    let waits =
        |other: &&usize| named.get(one).zip(named.get(**other)).is_some_and(|(one, other)| one.waits_for(other));
    left.iter().find(waits).copied()
}

/// Each of those that are left waits for another one, so the way from one to the next comes back somewhere.
fn circle(named: &[Named], left: &[usize]) -> Circle {
    let (mut way, mut at) = (Vec::new(), left.first().copied());
    while let Some(one) = at.filter(|one| !way.contains(one)) {
        way.push(one);
        at = first_waited_for(named, left, one);
    }
    let ids = way.into_iter().skip_while(|one| Some(*one) != at);
    Circle(ids.filter_map(|one| named.get(one)?.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, invokes: &[&str]) -> String {
        let invokes: Vec<_> = invokes.iter().map(|src| format!(r#"{{"src":"{src}"}}"#)).collect();
        format!(r#"{{"id":"{id}","initial":"a","states":{{"a":{{"invoke":[{}]}}}}}}"#, invokes.join(","))
    }

    fn ordered(machines: &[(&str, &[&str])]) -> Result<Vec<usize>, String> {
        let sources: Vec<_> = machines.iter().map(|(id, invokes)| machine(id, invokes)).collect();
        order(sources.iter().map(String::as_bytes)).map_err(|circle| circle.to_string())
    }

    #[test]
    fn what_is_invoked_comes_first_and_the_rest_stays_as_it_is() {
        assert_eq!(ordered(&[("a", &[]), ("b", &[]), ("c", &["elsewhere"])]), Ok(vec![0, 1, 2]));
        assert_eq!(ordered(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[]), ("d", &[])]), Ok(vec![2, 1, 0, 3]));
        assert_eq!(ordered(&[("a", &["b"]), ("b", &[]), ("b", &[])]), Ok(vec![1, 2, 0]), "two versions of one");
        assert_eq!(ordered(&[("a", &["a"])]), Ok(vec![0]), "its own earlier version");
        let broken = [b"{".as_slice(), br#"{"id":5}"#];
        assert_eq!(order(broken), Ok(vec![0, 1]), "others say what is wrong");
    }

    #[test]
    fn those_of_one_id_are_named_and_those_without_have_one_name_too() {
        let (a, b) = (machine("a", &[]), machine("b", &["a"]));
        let broken = [br#"{"id":5}"#.as_slice(), br#"{"id":6}"#, br#"{"id":""}"#, br#"{"id":""}"#, b"{", b"[]", b"[]"];
        assert_eq!(namesakes(broken), [], "others say what is wrong with them");
        let sources = [a.as_bytes(), b"{}", b.as_bytes(), b"{}", a.as_bytes(), br#"{"id":5}"#, b"{"];
        assert_eq!(namesakes(sources), [(UNNAMED.to_owned(), vec![1, 3]), ("a".to_owned(), vec![0, 4])]);
        assert_eq!(namesakes([a.as_bytes(), b.as_bytes()]), []);
        let tree = machine("a", &["a"]);
        assert_eq!(namesakes([a.as_bytes(), tree.as_bytes()]), [], "it invokes its earlier version");
    }

    #[test]
    fn a_circle_is_named_without_those_that_lead_to_it() {
        assert_eq!(ordered(&[("a", &["b"]), ("b", &["a"])]).unwrap_err(), "a invokes b invokes a");
        let longer = ordered(&[("x", &["b"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])]);
        assert_eq!(longer.unwrap_err(), "b invokes c invokes a invokes b");
    }
}
