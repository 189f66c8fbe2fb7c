//! How foca's datagrams are written: fields in a fixed order, numbers big-endian, names with a length byte.
//!
//! Written out, because self-describing formats cost a third of a datagram that holds two dozen members.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};

use statemesh_protocol::identity::{Identity, MAX_NAME_BYTES, MemberName, Ports};

/// A datagram that is not one of ours, or has no room for what shall go into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// The datagram has no room left.
    #[error("no room left in the datagram")]
    Full,
    /// The bytes end too early.
    #[error("the datagram ends too early")]
    Short,
    /// A value that the format does not have.
    #[error("not a membership datagram")]
    Malformed,
    /// It speaks of a newer process of this member's name.
    #[error("a newer process has this member's name")]
    Namesake,
}

/// foca's codec for [`Identity`].
///
/// It also stops a daemon whose name a newer process has taken: foca would take news of that process for stale and tell
/// everyone that it is dead, and the two would kill each other for ever. So such a datagram is refused, and the newer
/// process noted; one that is dead is succeeded.
#[derive(Debug, Clone)]
pub(super) struct WireCodec {
    namesake: Arc<NamesakeWatch>,
}

/// What the codec and its user share: who this member is, and who else says so.
#[derive(Debug)]
pub(super) struct NamesakeWatch {
    name_hash: u64,
    incarnation: AtomicU64,
    met: Mutex<Option<Namesake>>,
}

/// A newer process of this member's name, as others know it.
#[derive(Debug, Clone)]
pub(super) enum Namesake {
    /// It was declared dead: an earlier one, from before the clock went back.
    Dead(Identity),
    /// It lives.
    Live(Identity),
}

impl NamesakeWatch {
    pub(super) fn new(me: &Identity) -> Self {
        Self { name_hash: me.name.hash64(), incarnation: AtomicU64::new(me.incarnation), met: Mutex::new(None) }
    }

    /// This member is known under a newer incarnation from now on.
    pub(super) fn set_incarnation(&self, incarnation: u64) {
        self.incarnation.store(incarnation, Ordering::Relaxed);
    }

    /// Notes a newer process of this member's name. True when it is one.
    pub(super) fn meet(&self, id: &Identity, state: State) -> bool {
        let newer = id.name.hash64() == self.name_hash && id.incarnation > self.incarnation.load(Ordering::Relaxed);
        if newer && let Ok(mut met) = self.met.lock() {
            match (state, &*met) {
                (State::Down, Some(Namesake::Live(_))) => {}
                (State::Down, _) => *met = Some(Namesake::Dead(id.clone())),
                (State::Alive | State::Suspect, _) => *met = Some(Namesake::Live(id.clone())),
            }
        }
        newer
    }

    /// The newer process that was met since the last call.
    pub(super) fn take(&self) -> Option<Namesake> {
        self.met.lock().ok()?.take()
    }
}

impl WireCodec {
    pub(super) fn new(namesake: Arc<NamesakeWatch>) -> Self {
        Self { namesake }
    }

    fn check(&self, id: &Identity, state: State) -> Result<(), CodecError> {
        if self.namesake.meet(id, state) { Err(CodecError::Namesake) } else { Ok(()) }
    }
}

impl foca::Codec<Identity> for WireCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(160);
        put_identity(&mut bytes, &header.src);
        bytes.put_u16(header.src_incarnation);
        put_identity(&mut bytes, &header.dst);
        put_message(&mut bytes, &header.message);
        copy(&bytes, &mut buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        let src = get_identity(&mut buf)?;
        self.check(&src, State::Alive)?;
        Ok(Header {
            src,
            src_incarnation: buf.try_get_u16().map_err(short)?,
            dst: get_identity(&mut buf)?,
            message: get_message(&mut buf)?,
        })
    }

    fn encode_member(&mut self, member: &Member<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(64);
        put_member(&mut bytes, member);
        copy(&bytes, &mut buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        let member = get_member(&mut buf)?;
        self.check(member.id(), member.state())?;
        Ok(member)
    }
}

/// Who sent a datagram of foca's.
pub(super) fn sender(mut datagram: &[u8]) -> Option<Identity> {
    get_identity(&mut datagram).ok()
}

/// A datagram of foca's that has to do with a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probing {
    /// It asks, under this number.
    Ping(u8),
    /// It answers what was asked under this number.
    Ack(u8),
    /// So does this, by way of another member.
    ForwardedAck(u8),
}

/// What a datagram of foca's has to do with a probe.
pub(super) fn probing(mut datagram: &[u8]) -> Option<Probing> {
    let buf = &mut datagram;
    let mut message = || -> Result<Message<Identity>, CodecError> {
        get_identity(buf)?;
        buf.try_get_u16().map_err(short)?;
        get_identity(buf)?;
        get_message(buf)
    };
    match message().ok()? {
        Message::Ping(number) => Some(Probing::Ping(number)),
        Message::Ack(number) => Some(Probing::Ack(number)),
        Message::ForwardedAck { probe_number, .. } => Some(Probing::ForwardedAck(probe_number)),
        _ => None,
    }
}

fn copy(bytes: &[u8], buf: &mut impl BufMut) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(bytes);
    Ok(())
}

fn short<E>(_: E) -> CodecError {
    CodecError::Short
}

pub(super) fn put_member(buf: &mut Vec<u8>, member: &Member<Identity>) {
    put_identity(buf, member.id());
    buf.put_u16(member.incarnation());
    buf.put_u8(match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

pub(super) fn get_member(buf: &mut impl Buf) -> Result<Member<Identity>, CodecError> {
    let identity = get_identity(buf)?;
    let incarnation = buf.try_get_u16().map_err(short)?;
    let state = match buf.try_get_u8().map_err(short)? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(CodecError::Malformed),
    };
    Ok(Member::new(identity, incarnation, state))
}

const IPV6: u8 = 1;
const LEAVING: u8 = 2;

pub(super) fn put_identity(buf: &mut Vec<u8>, identity: &Identity) {
    let name = identity.name.as_str().as_bytes();
    let v6 = if identity.ip.is_ipv6() { IPV6 } else { 0 };
    buf.put_u8(v6 | if identity.leaving { LEAVING } else { 0 });
    // A length byte: MemberName allows 253 bytes.
    buf.put_u8(name.len() as u8);
    buf.put_slice(name);
    buf.put_u64(identity.incarnation);
    buf.put_u32(identity.revision);
    match identity.ip {
        IpAddr::V4(ip) => buf.put_slice(&ip.octets()),
        IpAddr::V6(ip) => buf.put_slice(&ip.octets()),
    }
    let Ports { client, changes, peer, gossip, http } = identity.ports;
    for port in [client, changes, peer, gossip, http] {
        buf.put_u16(port);
    }
}

pub(super) fn get_identity(buf: &mut impl Buf) -> Result<Identity, CodecError> {
    let flags = buf.try_get_u8().map_err(short)?;
    if flags & !(IPV6 | LEAVING) != 0 {
        return Err(CodecError::Malformed);
    }
    let len = usize::from(buf.try_get_u8().map_err(short)?);
    let mut name = [0; MAX_NAME_BYTES];
    let name = name.get_mut(..len).ok_or(CodecError::Malformed)?;
    buf.try_copy_to_slice(name).map_err(short)?;
    let text = std::str::from_utf8(name).map_err(|_| CodecError::Malformed)?;
    let name = MemberName::new(text).map_err(|_| CodecError::Malformed)?;
    let incarnation = buf.try_get_u64().map_err(short)?;
    let revision = buf.try_get_u32().map_err(short)?;
    let ip = if flags & IPV6 == 0 {
        IpAddr::V4(Ipv4Addr::from_bits(buf.try_get_u32().map_err(short)?))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(buf.try_get_u128().map_err(short)?))
    };
    let mut port = || buf.try_get_u16().map_err(short);
    let ports = Ports { client: port()?, changes: port()?, peer: port()?, gossip: port()?, http: port()? };
    Ok(Identity { name, incarnation, revision, ip, ports, leaving: flags & LEAVING != 0 })
}

fn put_message(buf: &mut Vec<u8>, message: &Message<Identity>) {
    let mut indirect = |tag: u8, identity: &Identity, number: u8| {
        buf.put_u8(tag);
        buf.put_u8(number);
        put_identity(buf, identity);
    };
    match message {
        Message::PingReq { target, probe_number } => indirect(2, target, *probe_number),
        Message::IndirectPing { origin, probe_number } => indirect(3, origin, *probe_number),
        Message::IndirectAck { target, probe_number } => indirect(4, target, *probe_number),
        Message::ForwardedAck { origin, probe_number } => indirect(5, origin, *probe_number),
        Message::Ping(number) => buf.put_slice(&[0, *number]),
        Message::Ack(number) => buf.put_slice(&[1, *number]),
        Message::Announce => buf.put_u8(6),
        Message::Feed => buf.put_u8(7),
        Message::Gossip => buf.put_u8(8),
        Message::Broadcast => buf.put_u8(9),
        Message::TurnUndead => buf.put_u8(10),
    }
}

fn get_message(buf: &mut impl Buf) -> Result<Message<Identity>, CodecError> {
    let tag = buf.try_get_u8().map_err(short)?;
    let probe_number = if tag <= 5 { buf.try_get_u8().map_err(short)? } else { 0 };
    Ok(match tag {
        0 => Message::Ping(probe_number),
        1 => Message::Ack(probe_number),
        2 => Message::PingReq { target: get_identity(buf)?, probe_number },
        3 => Message::IndirectPing { origin: get_identity(buf)?, probe_number },
        4 => Message::IndirectAck { target: get_identity(buf)?, probe_number },
        5 => Message::ForwardedAck { origin: get_identity(buf)?, probe_number },
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        _ => return Err(CodecError::Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;

    fn identity(name: &str, ip: &str, leaving: bool) -> Identity {
        let name = MemberName::new(name).unwrap();
        Identity { leaving, revision: 9, ..Identity::new(name, u64::MAX, ip.parse().unwrap(), Ports::default()) }
    }

    fn codec() -> WireCodec {
        let me = identity("me", "10.0.0.9", false);
        WireCodec::new(Arc::new(NamesakeWatch::new(&me)))
    }

    fn messages() -> Vec<Message<Identity>> {
        let (target, probe_number) = (identity("t", "fd00::1", false), 200);
        let origin = target.clone();
        vec![
            Message::Ping(1),
            Message::Ack(255),
            Message::PingReq { target: target.clone(), probe_number },
            Message::IndirectPing { origin: origin.clone(), probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ]
    }

    #[test]
    fn every_message_arrives_as_it_was_sent_and_no_prefix_of_it_does() {
        for message in messages() {
            let header = Header {
                src: identity("a", "10.0.0.1", true),
                src_incarnation: 7,
                dst: identity(&"b".repeat(MAX_NAME_BYTES), "fd00::2", false),
                message,
            };
            let mut bytes = Vec::new();
            codec().encode_header(&header, &mut bytes).unwrap();
            assert_eq!(codec().decode_header(&bytes[..]).unwrap(), header);
            for len in 0..bytes.len() {
                assert!(codec().decode_header(&bytes[..len]).is_err());
            }
        }
    }

    #[test]
    fn a_datagram_has_room_for_the_longest_names_and_a_piece_of_news() {
        let longest = |byte: &str| identity(&byte.repeat(MAX_NAME_BYTES), "fd00::1", false);
        let message = Message::PingReq { target: longest("c"), probe_number: 1 };
        let header = Header { src: longest("a"), src_incarnation: 1, dst: longest("b"), message };
        let mut bytes = Vec::new();
        codec().encode_header(&header, &mut bytes).unwrap();
        codec().encode_member(&Member::alive(longest("d")), &mut bytes).unwrap();
        assert!(bytes.len() < crate::gossip::MAX_PAYLOAD_BYTES, "{}", bytes.len());
    }

    #[test]
    fn every_state_arrives_as_it_was_sent() {
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(identity("a", "10.0.0.1", false), 3, state);
            let mut bytes = Vec::new();
            codec().encode_member(&member, &mut bytes).unwrap();
            assert_eq!(codec().decode_member(&bytes[..]).unwrap(), member);
        }
    }

    #[test]
    fn a_full_datagram_is_left_as_it_was() {
        let mut bytes = [0_u8; 10];
        let mut room = &mut bytes[..];
        let member = Member::alive(identity("a", "10.0.0.1", false));
        assert_eq!(codec().encode_member(&member, &mut room), Err(CodecError::Full));
        assert_eq!(room.len(), 10);
    }
}
