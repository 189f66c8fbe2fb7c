//! How a connection is secured: not at all, or by CURVE (RFC 26), which encrypts it and tells each side whose key the other
//! has.

use std::sync::Arc;

pub use omq_proto::{CurveKeypair as KeyPair, CurvePublicKey as PublicKey, CurveSecretKey as SecretKey};
use omq_proto::{CurveServerOptions, MechanismSetup};

/// Our own keys, and while they are being renewed those that came before them: who expects these finds us too.
#[derive(Clone)]
pub struct OwnKeys {
    /// The pair in use.
    pub current: KeyPair,
    /// The pair before it.
    pub former: Option<KeyPair>,
}

impl OwnKeys {
    /// All that others may know us by, the current pair first.
    pub fn pairs(&self) -> impl Iterator<Item = &KeyPair> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

impl From<KeyPair> for OwnKeys {
    fn from(current: KeyPair) -> Self {
        Self { current, former: None }
    }
}

impl std::fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnKeys")
    }
}

/// Who may connect to a listener, and what it shows them. It is asked by a reactor for each connection, so it must not wait;
/// what it answers may change with time.
pub trait ListenerAuth: Send + Sync {
    /// Our own keys.
    fn own(&self) -> OwnKeys;

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
    Server(Arc<dyn ListenerAuth>),
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

    /// The handshake for our current key, and for the previous one during a rotation.
    pub(crate) fn mechanisms(&self) -> (MechanismSetup, Option<MechanismSetup>) {
        match self {
            Self::None => (MechanismSetup::Null, None),
            Self::Server(auth) => {
                let OwnKeys { current, former } = auth.own();
                (serving(auth, current), former.map(|pair| serving(auth, pair)))
            }
            Self::Client { own, server } => {
                (MechanismSetup::CurveClient { our_keypair: own.clone(), server_public: *server }, None)
            }
        }
    }
}

fn serving(auth: &Arc<dyn ListenerAuth>, our_keypair: KeyPair) -> MechanismSetup {
    let auth = Arc::clone(auth);
    let options = CurveServerOptions::new().authenticator(move |peer| auth.admits(&peer.public_key));
    MechanismSetup::CurveServer { our_keypair, options }
}
