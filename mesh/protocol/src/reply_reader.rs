//! Reading replies and changes: all fields are found, and those that the caller asks for are decoded. [`super::reply`] writes them.

use std::borrow::Cow;

use statemesh_expr::{DecodeError, json, msgpack};

use super::error::ErrorCode;
use super::reply::Encoding;
use super::scan::Scan;

/// The fields of one reply or change.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    encoding: Option<Encoding>,
    fields: Vec<Field<'a>>,
}

/// A name and a value, as it came.
type Field<'a> = (String, &'a [u8]);

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The code, if this version knows it.
    pub code: Option<ErrorCode>,
    /// The code as it came.
    pub name: Cow<'a, str>,
    /// What is wrong.
    pub message: Cow<'a, str>,
    /// How to go on; empty if there is nothing to say.
    pub hint: Cow<'a, str>,
    /// With `moved`: the name of the daemon that serves the key.
    pub owner: Option<Cow<'a, str>>,
    /// With `moved`: its address for clients.
    pub address: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    /// Finds the fields of a map.
    ///
    /// # Errors
    /// It is no map, or malformed.
    pub fn read(map: &'a [u8]) -> Result<Self, DecodeError> {
        let encoding = Encoding::of(map);
        let fields = match encoding {
            Encoding::MsgPack => fields(msgpack::Reader::new(map)),
            Encoding::Json => fields(json::Reader::new(map)),
        }?;
        Ok(Self { encoding: Some(encoding), fields })
    }

    /// Each field's name and value, as it came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a [u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// What was asked for: each field but `ok` and `id`, which only the protocol needs.
    pub fn content(&self) -> impl Iterator<Item = (&str, &'a [u8])> {
        self.iter().filter(|(name, _)| !matches!(*name, "ok" | "id"))
    }

    /// The value of a field, as it came.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.one(name, |scan| scan.text(), |scan| scan.text())
    }

    /// A field that is a whole number and not below zero.
    #[must_use]
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.one(name, |scan| scan.uint(), |scan| scan.uint())
    }

    /// A field that is true or false.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.one(name, |scan| scan.bool(), |scan| scan.bool())
    }

    /// A field that is a map.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<Fields<'a>> {
        Fields::read(self.raw(name)?).ok()
    }

    /// A field that is a list of maps; those of its items that are none are left out.
    #[must_use]
    pub fn maps(&self, name: &str) -> Vec<Fields<'a>> {
        self.items(name).into_iter().filter_map(|item| Fields::read(item).ok()).collect()
    }

    /// The items of a field that is a list, as they came.
    #[must_use]
    pub fn items(&self, name: &str) -> Vec<&'a [u8]> {
        let list = self.raw(name).unwrap_or_default();
        let items = match self.encoding {
            Some(Encoding::Json) => json::Reader::new(list).array(usize::MAX),
            _ => msgpack::Reader::new(list).array(usize::MAX),
        };
        items.ok().flatten().unwrap_or_default()
    }

    /// The items of a field that is a list of whole numbers; `None` for one that is something else, such as null.
    #[must_use]
    pub fn uints(&self, name: &str) -> Vec<Option<u64>> {
        let items = self.items(name).into_iter();
        items.map(|item| self.read_as(item, |scan| scan.uint(), |scan| scan.uint())).collect()
    }

    /// The texts of a field that is a list of such.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<Cow<'a, str>> {
        let items = self.items(name).into_iter();
        items.filter_map(|item| self.read_as(item, |scan| scan.text(), |scan| scan.text())).collect()
    }

    /// Whether what was asked for was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.bool("ok") == Some(true)
    }

    /// The error of a reply that is not ok.
    #[must_use]
    pub fn refused(&self) -> Option<Refused<'a>> {
        if self.is_ok() {
            return None;
        }
        let error = self.map("error").unwrap_or_default();
        let name = error.text("code").unwrap_or_default();
        Some(Refused {
            code: ErrorCode::named(&name),
            message: error.text("message").unwrap_or_default(),
            hint: error.text("hint").unwrap_or_default(),
            owner: error.text("owner"),
            address: error.text("address"),
            name,
        })
    }

    fn one<T>(
        &self,
        name: &str,
        packed: impl FnOnce(&mut msgpack::Reader<'a>) -> Result<Option<T>, DecodeError>,
        text: impl FnOnce(&mut json::Reader<'a>) -> Result<Option<T>, DecodeError>,
    ) -> Option<T> {
        self.read_as(self.raw(name)?, packed, text)
    }

    fn read_as<T>(
        &self,
        value: &'a [u8],
        packed: impl FnOnce(&mut msgpack::Reader<'a>) -> Result<Option<T>, DecodeError>,
        text: impl FnOnce(&mut json::Reader<'a>) -> Result<Option<T>, DecodeError>,
    ) -> Option<T> {
        let read = match self.encoding? {
            Encoding::MsgPack => packed(&mut msgpack::Reader::new(value)),
            Encoding::Json => text(&mut json::Reader::new(value)),
        };
        read.ok().flatten()
    }
}

fn fields<'a>(mut scan: impl Scan<'a>) -> Result<Vec<Field<'a>>, DecodeError> {
    let mut fields = Vec::new();
    scan.map(|name, scan| {
        fields.push((String::from_utf8_lossy(name).into_owned(), scan.value()?));
        Ok(())
    })?;
    scan.finish()?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn both(value: &serde_json::Value, check: impl Fn(&Fields<'_>)) {
        check(&Fields::read(&serde_json::to_vec(value).unwrap()).unwrap());
        check(&Fields::read(&rmp_serde::to_vec(value).unwrap()).unwrap());
    }

    #[test]
    fn a_reply_is_read_in_both_encodings() {
        both(
            &json!({"id": 7, "ok": true, "value": {"a": "b"}, "seq": 1, "list": [{"n": 1}, 2, {"n": 3}], "texts": ["a", "b"]}),
            |reply| {
                assert_eq!((reply.uint("id"), reply.is_ok(), reply.uint("seq")), (Some(7), true, Some(1)));
                assert_eq!(reply.map("value").unwrap().text("a").as_deref(), Some("b"));
                let numbers: Vec<_> = reply.maps("list").iter().map(|item| item.uint("n")).collect();
                assert_eq!((numbers, reply.items("list").len()), (vec![Some(1), Some(3)], 3));
                assert_eq!(
                    (reply.uints("list"), reply.texts("texts").join("")),
                    (vec![None, Some(2), None], "ab".to_owned())
                );
                assert_eq!((reply.refused(), reply.text("seq"), reply.uint("nothing")), (None, None, None));
            },
        );
    }

    #[test]
    fn an_error_is_read_with_its_code_and_where_to_go() {
        let error = json!({"code": "moved", "message": "b has it", "owner": "b", "address": "tcp://b:7400"});
        both(&json!({"id": 7, "ok": false, "error": error}), |reply| {
            let refused = reply.refused().unwrap();
            assert_eq!((refused.code, &*refused.message), (Some(ErrorCode::Moved), "b has it"));
            assert_eq!((refused.owner.as_deref(), refused.address.as_deref()), (Some("b"), Some("tcp://b:7400")));
        });
        both(&json!({"ok": false, "error": {"code": "of_tomorrow"}}), |reply| {
            let refused = reply.refused().unwrap();
            assert_eq!((refused.code, &*refused.name), (None, "of_tomorrow"));
        });
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for bytes in [&b"[1]"[..], b"\x93", b"", b"{\"a\":1} x", b"{\"a\"", b"\x81\xa1a"] {
            assert!(Fields::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
