//! A definition as members send it to each other: its text, and which versions of the machines that it names it was compiled
//! with. Whoever compiles it later, or elsewhere, must take these and not the newest.

use statemesh_engine::Machine;
use statemesh_mesh::definitions::DefinitionHash;

use crate::transfer::{Input, Malformed, put_bytes};

/// What a body says.
#[derive(Debug)]
pub(super) struct Body<'a> {
    children: Vec<(&'a str, DefinitionHash)>,
    /// The definition's JSON.
    pub(super) source: &'a [u8],
}

impl<'a> Body<'a> {
    /// The body of a compiled machine.
    pub(super) fn encode(machine: &Machine) -> Vec<u8> {
        let mut out = Vec::with_capacity(machine.source().len() + 8);
        out.extend_from_slice(&u32::try_from(machine.children().len()).unwrap_or(u32::MAX).to_le_bytes());
        for (name, child) in machine.children() {
            put_bytes(&mut out, name.as_bytes());
            out.extend_from_slice(child.hash());
        }
        put_bytes(&mut out, machine.source());
        out
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let mut children = Vec::new();
        for _ in 0..input.u32()? {
            children.push((input.text()?, *input.array()?));
        }
        let source = input.bytes()?;
        if input.is_empty() { Ok(Self { children, source }) } else { Err(input.malformed()) }
    }

    /// The version that a `src` of this name means.
    pub(super) fn child(&self, name: &str) -> Option<&DefinitionHash> {
        self.children.iter().find(|(child, _)| *child == name).map(|(_, hash)| hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_engine::Limits;

    #[test]
    fn a_body_names_the_versions_of_children_and_no_prefix_of_it_is_one() {
        let compile = |text: &str, child: Option<&std::sync::Arc<Machine>>| {
            Machine::compile(text.as_bytes(), &Limits::default(), &|_| child.cloned()).unwrap().machine
        };
        let child = compile(r#"{"id":"child","initial":"a","states":{"a":{}}}"#, None);
        let text = r#"{"id":"parent","initial":"a","states":{"a":{"invoke":{"src":"child"}}}}"#;
        let bytes = Body::encode(&compile(text, Some(&child)));
        let body = Body::decode(&bytes).unwrap();
        assert_eq!((body.child("child"), body.child("other")), (Some(child.hash()), None));
        assert_eq!(body.source, text.as_bytes());
        assert!((0..bytes.len()).all(|len| Body::decode(&bytes[..len]).is_err()));
        assert!(Body::decode(&[255; 64]).is_err());
    }
}
