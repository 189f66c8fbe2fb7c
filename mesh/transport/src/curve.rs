//! How a connection is secured: not at all, or by CURVE (RFC 26), which encrypts it and tells each side whose key the other
//! has.

use std::sync::Arc;

pub use omq_proto::{CurveKeypair as KeyPair, CurvePublicKey as PublicKey, CurveSecretKey as SecretKey};
use omq_proto::{CurveServerOptions, MechanismSetup};

/// Who may connect to a listener, and what it shows them. It is asked by a reactor for each connection, so it must not wait;
/// what it answers may change with time.
pub trait Door: Send + Sync {
    /// Our own keys.
    fn own(&self) -> KeyPair;

    /// Whether the holder of a public key may connect.
    fn admits(&self, key: &[u8; 32]) -> bool;
}

/// How a connection is secured.
#[derive(Clone, Default)]
pub enum Security {
    /// Neither encrypted nor authenticated (ZMTP's NULL).
    #[default]
    None,
    /// CURVE, as the side that others authenticate to.
    Server(Arc<dyn Door>),
    /// CURVE, as the side that authenticates itself.
    Client {
        /// Our own keys.
        own: KeyPair,
        /// The key of whom we expect at the other end.
        server: PublicKey,
    },
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Server(_) => "Server",
            Self::Client { .. } => "Client",
        })
    }
}

impl Security {
    /// Commands that the other side sends before messages may follow: READY, or its half of CURVE's exchange.
    pub(crate) fn handshake_frames(&self) -> u8 {
        if matches!(self, Self::None) { 1 } else { 2 }
    }

    /// Bytes that each frame has more than what it carries (RFC 26: name, nonce, authenticator, flags).
    pub(crate) fn overhead(&self) -> usize {
        if matches!(self, Self::None) { 0 } else { 8 + 8 + 16 + 1 }
    }

    pub(crate) fn mechanism(&self) -> MechanismSetup {
        match self {
            Self::None => MechanismSetup::Null,
            Self::Server(door) => {
                let our_keypair = door.own();
                let door = Arc::clone(door);
                let options = CurveServerOptions::new().authenticator(move |peer| door.admits(&peer.public_key));
                MechanismSetup::CurveServer { our_keypair, options }
            }
            Self::Client { own, server } => {
                MechanismSetup::CurveClient { our_keypair: own.clone(), server_public: *server }
            }
        }
    }
}
