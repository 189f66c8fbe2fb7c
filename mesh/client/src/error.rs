//! Why there is no answer that can be used.

use statemesh_protocol::error::{Advice, ErrorCode};
use statemesh_protocol::reply_reader::Fields;

use crate::connection::ConnectionError;
use crate::endpoint::OpenError;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No address of the mesh takes a connection. The request was not sent.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The connection ended, or no answer came in time. Whether the request was carried out is not known.
    #[error(transparent)]
    Broken(#[from] ConnectionError),
    /// What came is no reply. Whether the request was carried out is not known.
    #[error("{name} does not answer as a daemon does: {source}")]
    Unreadable {
        /// Where it came from, `host:port`.
        name: String,
        /// What is wrong with it.
        source: statemesh_expr::DecodeError,
    },
    /// The daemon refused it.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

impl ClientError {
    /// The code of a refusal, if this version knows it.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Open(_) | Self::Broken(_) | Self::Unreadable { .. } => None,
        }
    }
}

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code, if this version knows it.
    pub code: Option<ErrorCode>,
    /// The code as it came.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// How to go on; empty if there is nothing to say.
    pub hint: String,
    /// With `moved`: the address for clients of the daemon that serves the key.
    pub address: Option<String>,
    /// The whole reply.
    pub reply: Vec<u8>,
}

impl Refusal {
    /// What a reply says of why the request was refused, still without the reply itself.
    pub(crate) fn said_in(reply: &Fields<'_>) -> Option<Self> {
        let refused = reply.refused()?;
        Some(Self {
            code: refused.code,
            name: refused.name.into_owned(),
            message: refused.message.into_owned(),
            hint: refused.hint.into_owned(),
            address: refused.address.map(|address| address.into_owned()),
            reply: Vec::new(),
        })
    }

    /// What a client can do about it; a code that this version does not know is nothing to repeat.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.code.map_or(Advice::Fix, ErrorCode::advice)
    }

    /// The reply's `error`, where some codes say more.
    #[must_use]
    pub fn error(&self) -> Fields<'_> {
        Fields::read(&self.reply).ok().and_then(|reply| reply.map("error")).unwrap_or_default()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}
