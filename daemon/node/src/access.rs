//! Who may connect, with which keys, and what they may do. The tables change while connections are open; no reactor waits for
//! more than the exchange of a pointer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use statemesh_mesh::gossip::peer_secret;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request::Request;
pub use statemesh_protocol::rights::{Grant, Right};
use statemesh_transport::ConnId;
use statemesh_transport::curve::{KeyPair, ListenerAuth, OwnKeys, PublicKey, SecretKey, Security};

use crate::options::{self, Options};

/// The clients that are let in, by their public keys.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    grants: Vec<(PublicKey, Grant)>,
}

impl Clients {
    /// These clients, with their public keys. Of two with the same key the first counts.
    #[must_use]
    pub fn new(grants: Vec<(PublicKey, Grant)>) -> Self {
        Self { grants }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether there are none, so that no client can connect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }
}

/// One client and what it has used of its allowance.
#[derive(Debug)]
pub(crate) struct Client {
    key: [u8; 32],
    grant: Grant,
    meter: Meter,
}

impl Client {
    /// As its key's entry calls it.
    pub(crate) fn name(&self) -> &str {
        &self.grant.name
    }

    /// Whether it has a right.
    pub(crate) fn has(&self, right: Right) -> bool {
        self.grant.has(right)
    }
}

/// Requests in a second, as a bucket of one second that leaks (the "generic cell rate algorithm": one number says it all).
#[derive(Debug)]
struct Meter {
    cost_ns: u64,
    /// When the requests so far would have come if they had come at the full rate, in nanoseconds since the start.
    due_ns: AtomicU64,
}

/// How far requests may be ahead of their rate.
const BURST: Duration = Duration::from_secs(1);

impl Meter {
    fn new(per_second: u32) -> Self {
        Self { cost_ns: 1_000_000_000 / u64::from(per_second.max(1)), due_ns: AtomicU64::new(0) }
    }

    /// Of what may be sent within a second, the share that was sent (0 to 1).
    fn used(&self, now_ns: u64) -> f64 {
        self.due_ns.load(Relaxed).saturating_sub(now_ns) as f64 / BURST.as_nanos() as f64
    }

    fn allow(&self, now_ns: u64) -> bool {
        let latest = now_ns.saturating_add(u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX));
        let next = |due: u64| {
            let due = due.max(now_ns) + self.cost_ns;
            (due <= latest).then_some(due)
        };
        self.due_ns.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

type ByKey = HashMap<[u8; 32], Arc<Client>>;

/// The listeners for clients and for subscribers.
pub(crate) struct ClientAuth {
    own: RwLock<Arc<OwnKeys>>,
    /// Where the time of the meters begins.
    start: Instant,
    events_per_second: u32,
    by_key: RwLock<Arc<ByKey>>,
    refused: AtomicU64,
}

impl ClientAuth {
    /// The time of the meters, in nanoseconds.
    fn time_ns(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn set(&self, clients: Clients) {
        let mut by_key = ByKey::new();
        for (key, grant) in clients.grants {
            let meter = Meter::new(grant.events_per_second.unwrap_or(self.events_per_second));
            let key = *key.as_bytes();
            by_key.entry(key).or_insert_with(|| Arc::new(Client { key, grant, meter }));
        }
        *self.by_key.write() = Arc::new(by_key);
    }

    fn client(&self, key: &[u8; 32]) -> Option<Arc<Client>> {
        self.by_key.read().get(key).cloned()
    }
}

impl ListenerAuth for ClientAuth {
    fn own(&self) -> OwnKeys {
        OwnKeys::clone(&self.own.read())
    }

    fn admits(&self, key: &[u8; 32]) -> bool {
        let known = self.by_key.read().contains_key(key);
        self.refused.fetch_add(u64::from(!known), Relaxed);
        known
    }
}

/// The listener for other daemons, and what this one shows when it connects to them.
pub(crate) struct PeerAuth {
    /// Derived from the gossip keys; the first is ours.
    ring: RwLock<Arc<Vec<KeyPair>>>,
    refused: AtomicU64,
}

impl PeerAuth {
    fn ring(gossip_keys: &[[u8; 32]]) -> Arc<Vec<KeyPair>> {
        let pair = |key: &[u8; 32]| {
            let secret = SecretKey::from_bytes(peer_secret(key));
            KeyPair { public: secret.derive_public(), secret }
        };
        Arc::new(gossip_keys.iter().map(pair).collect())
    }

    fn knows(&self, key: &[u8; 32]) -> bool {
        self.ring.read().iter().any(|pair| pair.public.as_bytes() == key)
    }
}

impl ListenerAuth for PeerAuth {
    fn own(&self) -> OwnKeys {
        self.ring.read().first().cloned().unwrap_or_else(KeyPair::generate).into()
    }

    fn admits(&self, key: &[u8; 32]) -> bool {
        let known = self.knows(key);
        self.refused.fetch_add(u64::from(!known), Relaxed);
        known
    }
}

/// The keys with which a daemon connects to others; none without CURVE.
#[derive(Clone, Default)]
pub(crate) struct PeerKeys(Option<Arc<PeerAuth>>);

impl std::fmt::Debug for PeerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKeys")
    }
}

impl PeerKeys {
    /// How to connect after so many failures. While keys are changed, some members still listen with the old one and some
    /// with the new one already: so each try takes another key than the one before.
    pub(crate) fn dialling(&self, failures: u32) -> Security {
        let Some(auth) = &self.0 else { return Security::None };
        let ring = auth.ring.read();
        match ring.get(failures as usize % ring.len().max(1)) {
            Some(pair) => Security::Client { own: pair.clone(), server: pair.public },
            None => Security::None,
        }
    }

    /// Whether a link with this key may stay. Without CURVE no link has a key, and each may.
    pub(crate) fn still_know(&self, key: Option<[u8; 32]>) -> bool {
        match (&self.0, key) {
            (None, _) => true,
            (Some(auth), Some(key)) => auth.knows(&key),
            (Some(_), None) => false,
        }
    }
}

/// All auth of a daemon.
#[derive(Default)]
pub(crate) struct ListenerAuths {
    clients: Option<Arc<ClientAuth>>,
    peers: PeerKeys,
}

impl ListenerAuths {
    /// As the options say.
    pub(crate) fn new(options: &Options, now: Instant) -> Self {
        let options::Security::Curve { own, clients } = &options.security else {
            return Self::default();
        };
        let auth = ClientAuth {
            own: RwLock::new(Arc::new(own.clone())),
            start: now,
            events_per_second: options.limits.events_per_second,
            by_key: RwLock::default(),
            refused: AtomicU64::new(0),
        };
        auth.set(clients.clone());
        let ring = RwLock::new(PeerAuth::ring(&options.gossip_keys));
        let peers = PeerKeys(Some(Arc::new(PeerAuth { ring, refused: AtomicU64::new(0) })));
        Self { clients: Some(Arc::new(auth)), peers }
    }

    /// How the listeners for clients and for daemons are secured.
    pub(crate) fn listening(&self) -> (Security, Security) {
        let clients = self.clients.clone().map_or(Security::None, |auth| Security::Server(auth));
        let peers = self.peers.0.clone().map_or(Security::None, |auth| Security::Server(auth));
        (clients, peers)
    }

    /// How to connect to other daemons.
    pub(crate) fn peers(&self) -> PeerKeys {
        self.peers.clone()
    }

    /// Other clients than before.
    pub(crate) fn set_clients(&self, clients: Clients) {
        if let Some(auth) = &self.clients {
            auth.set(clients);
        }
    }

    /// Other keys of our own than before.
    pub(crate) fn set_own_keys(&self, own: OwnKeys) {
        if let Some(auth) = &self.clients {
            *auth.own.write() = Arc::new(own);
        }
    }

    /// Other gossip keys than before.
    pub(crate) fn set_gossip_keys(&self, keys: &[[u8; 32]]) {
        if let PeerKeys(Some(auth)) = &self.peers {
            *auth.ring.write() = PeerAuth::ring(keys);
        }
    }

    /// Keys of clients that are let in; `None` without CURVE.
    pub(crate) fn client_keys(&self) -> Option<usize> {
        self.clients.as_ref().map(|auth| auth.by_key.read().len())
    }

    /// Of the requests that a client may send within a second, the share that the client with the largest one has sent.
    pub(crate) fn most_used_rate(&self, now: Instant) -> f64 {
        let Some(auth) = &self.clients else { return 0.0 };
        let now_ns = auth.time_ns(now);
        auth.by_key.read().values().map(|client| client.meter.used(now_ns)).fold(0.0, f64::max)
    }

    /// Handshakes refused for their key, by who knocked.
    pub(crate) fn refused(&self) -> [(&'static str, u64); 2] {
        let clients = self.clients.as_ref().map_or(0, |auth| auth.refused.load(Relaxed));
        let peers = self.peers.0.as_ref().map_or(0, |auth| auth.refused.load(Relaxed));
        [("clients", clients), ("daemons", peers)]
    }
}

/// Who the clients of one reactor are. Without CURVE clients cannot be told apart, and all may do everything.
pub(crate) struct Admissions {
    auth: Option<Arc<ClientAuth>>,
    by_conn: BTreeMap<ConnId, Admitted>,
}

struct Admitted {
    client: Arc<Client>,
    watches: bool,
}

/// Why a request is refused: a code and a message.
pub(crate) type Refusal = (ErrorCode, String);

impl Admissions {
    /// No client yet.
    pub(crate) fn new(auth: &ListenerAuths) -> Self {
        Self { auth: auth.clients.clone(), by_conn: BTreeMap::new() }
    }

    /// A connection is open; `false` if it must be closed, since its key was taken from the list meanwhile.
    pub(crate) fn opened(&mut self, conn: ConnId, key: Option<[u8; 32]>, watches: bool) -> bool {
        let Some(auth) = &self.auth else { return true };
        let Some(client) = key.and_then(|key| auth.client(&key)) else { return false };
        self.by_conn.insert(conn, Admitted { client, watches });
        true
    }

    /// A connection is closed.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        if self.auth.is_some() {
            self.by_conn.remove(&conn);
        }
    }

    /// The client of a connection; none where clients are not told apart.
    pub(crate) fn principal(&self, conn: ConnId) -> Option<Arc<Client>> {
        // Without CURVE there is no table to look into.
        self.auth.as_ref()?;
        self.by_conn.get(&conn).map(|admitted| Arc::clone(&admitted.client))
    }

    /// Whether a client may ask for this, now.
    pub(crate) fn allow(&self, client: &Client, request: &Request<'_>, now: Instant) -> Result<(), Refusal> {
        let Some(auth) = &self.auth else { return Ok(()) };
        if let Some(message) = client.grant.refuses(request) {
            return Err((ErrorCode::Forbidden, message));
        }
        if client.meter.allow(auth.time_ns(now)) {
            return Ok(());
        }
        let per_second = 1_000_000_000 / client.meter.cost_ns.max(1);
        let message = format!(
            "client \"{}\" sends more than {per_second} requests a second (limits.events_per_second, or that of its key)",
            client.grant.name
        );
        Err((ErrorCode::LimitExceeded, message))
    }

    /// Does something with each part of a subscription that its subscriber may see. Gives how many were refused: by `each`,
    /// or all of them.
    pub(crate) fn subscriptions(&self, conn: ConnId, prefix: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> u64 {
        if self.auth.is_none() {
            return u64::from(!each(prefix));
        }
        let Some(Admitted { client, .. }) = self.by_conn.get(&conn) else { return 1 };
        match client.grant.subscriptions(prefix).as_slice() {
            [] => 1,
            parts => parts.iter().map(|part| u64::from(!each(part))).sum(),
        }
    }

    /// The list has changed: gives the connections that must end. A client that is still on it goes on with its new rights; a
    /// subscriber whose rights are others must subscribe anew.
    pub(crate) fn review(&mut self) -> Vec<ConnId> {
        let Some(auth) = &self.auth else { return Vec::new() };
        let mut ended = Vec::new();
        for (&conn, admitted) in &mut self.by_conn {
            match auth.client(&admitted.client.key) {
                Some(client) if !admitted.watches || client.grant == admitted.client.grant => admitted.client = client,
                _ => ended.push(conn),
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::reply::Encoding;

    fn grant(name: &str, events_per_second: Option<u32>) -> Grant {
        Grant { name: name.into(), machines: Vec::new(), rights: vec![Right::Read], events_per_second }
    }

    fn auth(clients: &[(KeyPair, Grant)], start: Instant) -> ListenerAuths {
        let auth = ClientAuth {
            own: RwLock::new(Arc::new(KeyPair::generate().into())),
            start,
            events_per_second: 1_000,
            by_key: RwLock::default(),
            refused: AtomicU64::new(0),
        };
        let auth = ListenerAuths { clients: Some(Arc::new(auth)), peers: PeerKeys::default() };
        auth.set_clients(list(clients));
        auth
    }

    fn list(clients: &[(KeyPair, Grant)]) -> Clients {
        Clients::new(clients.iter().map(|(pair, grant)| (pair.public, grant.clone())).collect())
    }

    #[test]
    fn a_client_has_its_rate_over_all_its_connections() {
        let pair = KeyPair::generate();
        let start = Instant::now();
        let auth = auth(&[(pair.clone(), grant("a", Some(10)))], start);
        let mut admissions = Admissions::new(&auth);
        let connections = [1, 2].map(ConnId::for_tests);
        for conn in connections {
            assert!(admissions.opened(conn, Some(*pair.public.as_bytes()), false));
        }
        let request = Request::parse(br#"{"op":"ping"}"#, Encoding::Json).unwrap();
        let allowed_at = |millis: u64| {
            let now = start + Duration::from_millis(millis);
            let ask = |n: usize| {
                let client = admissions.principal(connections[n % 2]).unwrap();
                admissions.allow(&client, &request, now).is_ok()
            };
            (0..100).map(ask).filter(|allowed| *allowed).count()
        };
        assert_eq!([allowed_at(0), allowed_at(500), allowed_at(500), allowed_at(10_000)], [10, 5, 0, 10]);
        let used_at = |millis| auth.most_used_rate(start + Duration::from_millis(millis));
        assert_eq!([used_at(10_000), used_at(10_250), used_at(12_000)], [1.0, 0.75, 0.0]);
    }

    #[test]
    fn who_is_taken_from_the_list_ends_and_who_changes_goes_on_unless_it_watches() {
        let [a, b, c] = [(); 3].map(|()| KeyPair::generate());
        let both = [(a.clone(), grant("a", None)), (b.clone(), grant("b", None)), (c.clone(), grant("c", None))];
        let auth = auth(&both, Instant::now());
        let mut admissions = Admissions::new(&auth);
        let all = [(&a, false), (&b, false), (&c, true), (&b, true)];
        for (n, (pair, watches)) in all.into_iter().enumerate() {
            assert!(admissions.opened(ConnId::for_tests(n), Some(*pair.public.as_bytes()), watches));
        }
        assert!(admissions.review().is_empty());
        auth.set_clients(list(&[(b.clone(), grant("b", Some(5))), (c.clone(), grant("c", None))]));
        assert_eq!(
            admissions.review(),
            [0, 3].map(ConnId::for_tests),
            "a is revoked; b may do other things, so it must watch anew"
        );
        assert!(!admissions.opened(ConnId::for_tests(9), Some(*a.public.as_bytes()), false));
        assert_eq!(auth.client_keys(), Some(2));
    }

    #[test]
    fn while_keys_are_changed_each_key_is_tried() {
        let auth = PeerAuth { ring: RwLock::new(PeerAuth::ring(&[[1; 32], [2; 32]])), refused: AtomicU64::new(0) };
        let keys = PeerKeys(Some(Arc::new(auth)));
        let key = |failures| match keys.dialling(failures) {
            Security::Client { server, .. } => server,
            other => panic!("{other:?}"),
        };
        assert!(key(0) != key(1) && key(0) == key(2));
        assert!(keys.still_know(Some(*key(1).as_bytes())) && !keys.still_know(Some([7; 32])) && !keys.still_know(None));
    }
}
