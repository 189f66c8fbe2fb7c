//! A request and its reply as a caller in the daemon's own process gives and gets them: whole, with the bytes that would cross a
//! wire. What is large in a reply is passed on without being decoded.

use statemesh_expr::DecodeError;

use super::reply::Encoding;
use super::reply_reader::Fields;
use super::request::{self, Refusal};
use super::request_writer::Ask;

/// A whole request. A call has one reply, so its number tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(Vec<u8>);

impl Request {
    /// Its bytes, as a client would send them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it asks for.
    ///
    /// # Errors
    /// It lacks what its op needs.
    pub fn read(&self) -> Result<request::Request<'_>, Refusal<'_>> {
        request::Request::parse(&self.0, Encoding::of(&self.0))
    }
}

impl From<&Ask<'_>> for Request {
    fn from(ask: &Ask<'_>) -> Self {
        let mut bytes = Vec::new();
        ask.write(0, &mut bytes);
        Self(bytes)
    }
}

/// A whole reply, in the encoding of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// A reply of these bytes, as a client would get them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its fields: whether the request was refused and why, and what it asked for.
    ///
    /// # Errors
    /// It is no map, or malformed, which is a fault of the daemon.
    pub fn fields(&self) -> Result<Fields<'_>, DecodeError> {
        Fields::read(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::reply::write_error;
    use crate::request::Op;

    #[test]
    fn a_request_is_read_as_it_was_meant() {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let request = Request::from(&Ask::about(Op::Get, encoding, "order", "a/1"));
            let read = request.read().unwrap();
            assert_eq!((read.op, &*read.machine, &*read.key, read.encoding), (Op::Get, "order", "a/1", encoding));
        }
        assert!(Request::from(&Ask::new(Op::Get, Encoding::Json)).read().is_err(), "it names no instance");
    }

    #[test]
    fn a_reply_says_why_its_request_was_refused() {
        let mut bytes = Vec::new();
        write_error(&mut bytes, Encoding::Json, Some(b"0"), ErrorCode::Moving, "wait", "");
        let reply = Reply::new(bytes);
        let fields = reply.fields().unwrap();
        assert_eq!(fields.refused().unwrap().code, Some(ErrorCode::Moving));
        let content: Vec<&str> = fields.content().map(|(name, _)| name).collect();
        assert_eq!(content, ["error"]);
        assert!(Reply::new(b"ok".to_vec()).fields().is_err());
    }
}
