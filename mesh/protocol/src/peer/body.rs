//! A definition as members send it to each other: its text, and which versions of the machines that it names it was compiled
//! with. A daemon that compiles it later, or elsewhere, must take these and not the newest.

use super::definition::DefinitionHash;
use crate::image::{Input, Malformed, put_bytes};

/// What a body says.
#[derive(Debug, PartialEq, Eq)]
pub struct Body<'a> {
    children: Vec<(&'a str, DefinitionHash)>,
    /// The definition's JSON.
    pub source: &'a [u8],
}

impl<'a> Body<'a> {
    /// A body of this source, compiled with these versions of the machines that it names.
    #[must_use]
    pub fn new(children: Vec<(&'a str, DefinitionHash)>, source: &'a [u8]) -> Self {
        Self { children, source }
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.source.len() + 8);
        out.extend_from_slice(&u32::try_from(self.children.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (name, hash) in &self.children {
            put_bytes(&mut out, name.as_bytes());
            out.extend_from_slice(hash);
        }
        put_bytes(&mut out, self.source);
        out
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let mut children = Vec::new();
        for _ in 0..input.u32()? {
            children.push((input.text()?, *input.array()?));
        }
        let source = input.bytes()?;
        if input.is_empty() { Ok(Self { children, source }) } else { Err(input.malformed()) }
    }

    /// The machines that it names, and the version of each.
    pub fn children(&self) -> impl Iterator<Item = (&'a str, &DefinitionHash)> {
        self.children.iter().map(|(name, hash)| (*name, hash))
    }

    /// The version that a `src` of this name means.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&DefinitionHash> {
        self.children.iter().find(|(child, _)| *child == name).map(|(_, hash)| hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_the_versions_of_children_and_no_prefix_of_it_is_one() {
        let bytes = Body::new(vec![("child", [7; 32])], b"{}").encode();
        let body = Body::decode(&bytes).unwrap();
        assert_eq!((body.child("child"), body.child("other")), (Some(&[7; 32]), None));
        assert_eq!(body.source, b"{}");
        assert!((0..bytes.len()).all(|len| Body::decode(&bytes[..len]).is_err()));
        assert!(Body::decode(&[255; 64]).is_err());
    }
}
