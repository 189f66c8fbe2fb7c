//! Datagrams of our own beside foca's: finding a mesh, comparing lists, and telling namesakes apart.

use bytes::{Buf, BufMut};
use foca::Member;

use super::codec::{CodecError, get_identity, get_member, put_identity, put_member};
use super::lists::Heading;
use crate::gossip::MAX_PAYLOAD_BYTES;
use statemesh_protocol::identity::{Identity, MemberName};

/// What a datagram says. `S` is foca's part, borrowed.
#[derive(Debug, PartialEq)]
pub(super) enum Packet<'a> {
    /// foca's.
    Swim(&'a [u8]),
    /// I would join under this name. Who has it? Says nothing about the sender, so that asking changes nothing.
    Look { name: MemberName, number: u64 },
    /// The answer to the question of this number: I am here, take part or do not yet, and this is what I know of the name.
    Seen { sender: Member<Identity>, number: u64, joined: bool, namesake: Option<Member<Identity>> },
    /// Here is who I am and the digest of my list. Send me yours if it differs, or if I do not take part yet.
    Sync { sender: Member<Identity>, digest: u64, joined: bool },
    /// A part of my list. What it says of members does not depend on the others.
    Page { sender: Member<Identity>, heading: Heading, members: Vec<Member<Identity>> },
    /// I hold you, of this identity, for dead.
    Dead { identity: Identity },
}

const SWIM: u8 = 0;
const LOOK: u8 = 1;
const SEEN: u8 = 2;
const SYNC: u8 = 3;
const PAGE: u8 = 4;
const DEAD: u8 = 5;

impl<'a> Packet<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut buf = Vec::with_capacity(128);
        match self {
            Self::Swim(bytes) => {
                buf.put_u8(SWIM);
                buf.put_slice(bytes);
            }
            Self::Look { name, number } => {
                buf.put_u8(LOOK);
                buf.put_u64(*number);
                buf.put_slice(name.as_str().as_bytes());
            }
            Self::Seen { sender, number, joined, namesake } => {
                buf.put_u8(SEEN);
                put_member(&mut buf, sender);
                buf.put_u64(*number);
                buf.put_u8(u8::from(*joined));
                if let Some(member) = namesake {
                    put_member(&mut buf, member);
                }
            }
            Self::Sync { sender, digest, joined } => {
                buf.put_u8(SYNC);
                put_member(&mut buf, sender);
                buf.put_u64(*digest);
                buf.put_u8(u8::from(*joined));
            }
            Self::Page { sender, heading: Heading { digest, part, parts, joined }, members } => {
                buf.put_u8(PAGE);
                put_member(&mut buf, sender);
                buf.put_u64(*digest);
                buf.put_u16(*part);
                buf.put_u16(*parts);
                buf.put_u8(u8::from(*joined));
                for member in members {
                    put_member(&mut buf, member);
                }
            }
            Self::Dead { identity } => {
                buf.put_u8(DEAD);
                put_identity(&mut buf, identity);
            }
        }
        buf
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let (kind, mut buf) = bytes.split_first().ok_or(CodecError::Short)?;
        let number = |buf: &mut &[u8]| buf.try_get_u64().map_err(|_| CodecError::Short);
        let packet = match *kind {
            SWIM => return Ok(Self::Swim(buf)),
            LOOK => return Ok(Self::Look { number: number(&mut buf)?, name: name(buf)? }),
            SEEN => Self::Seen {
                sender: get_member(&mut buf)?,
                number: number(&mut buf)?,
                joined: flag(&mut buf)?,
                namesake: if buf.is_empty() { None } else { Some(get_member(&mut buf)?) },
            },
            SYNC => Self::Sync { sender: get_member(&mut buf)?, digest: number(&mut buf)?, joined: flag(&mut buf)? },
            PAGE => {
                let sender = get_member(&mut buf)?;
                let heading = heading(&mut buf)?;
                let mut members = Vec::new();
                while !buf.is_empty() {
                    members.push(get_member(&mut buf)?);
                }
                Self::Page { sender, heading, members }
            }
            DEAD => Self::Dead { identity: get_identity(&mut buf)? },
            _ => return Err(CodecError::Malformed),
        };
        if buf.is_empty() { Ok(packet) } else { Err(CodecError::Malformed) }
    }
}

fn name(bytes: &[u8]) -> Result<MemberName, CodecError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CodecError::Malformed)?;
    MemberName::new(text).map_err(|_| CodecError::Malformed)
}

fn flag(buf: &mut &[u8]) -> Result<bool, CodecError> {
    match buf.try_get_u8().map_err(|_| CodecError::Short)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Malformed),
    }
}

fn heading(buf: &mut &[u8]) -> Result<Heading, CodecError> {
    let digest = buf.try_get_u64().map_err(|_| CodecError::Short)?;
    let mut short = || buf.try_get_u16().map_err(|_| CodecError::Short);
    let (part, parts) = (short()?, short()?);
    if part >= parts {
        return Err(CodecError::Malformed);
    }
    Ok(Heading { digest, part, parts, joined: flag(buf)? })
}

/// A list as datagrams, as few as it fits into; one without members when there are none.
pub(super) fn pages(
    sender: &Member<Identity>,
    digest: u64,
    joined: bool,
    members: impl Iterator<Item = Member<Identity>>,
) -> Vec<Vec<u8>> {
    let heading = Heading { digest, part: 0, parts: 1, joined };
    let empty = Packet::Page { sender: sender.clone(), heading, members: Vec::new() }.encode().len();
    let (mut pages, mut bytes) = (vec![Vec::new()], empty);
    let mut one = Vec::new();
    for member in members {
        one.clear();
        put_member(&mut one, &member);
        if bytes + one.len() > MAX_PAYLOAD_BYTES {
            pages.push(Vec::new());
            bytes = empty;
        }
        bytes += one.len();
        if let Some(page) = pages.last_mut() {
            page.push(member);
        }
    }
    let parts = u16::try_from(pages.len()).unwrap_or(u16::MAX);
    let page = |(part, members)| {
        Packet::Page { sender: sender.clone(), heading: Heading { part, parts, ..heading }, members }.encode()
    };
    (0..parts).zip(pages).map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use statemesh_protocol::identity::Ports;

    fn member(n: usize) -> Member<Identity> {
        let name = MemberName::new(&format!("statemesh-{n}")).unwrap();
        let ip = std::net::Ipv4Addr::from_bits(n as u32).into();
        Member::alive(Identity::new(name, 1, ip, Ports::default()))
    }

    #[test]
    fn every_packet_arrives_as_it_was_sent_and_damaged_ones_do_not() {
        let identity = member(1).id().clone();
        let heading = Heading { digest: 7, part: 1, parts: 2, joined: true };
        let packets = [
            Packet::Swim(b"any"),
            Packet::Look { name: identity.name.clone(), number: 7 },
            Packet::Seen { sender: member(1), number: 7, joined: true, namesake: Some(member(2)) },
            Packet::Seen { sender: member(1), number: 7, joined: false, namesake: None },
            Packet::Sync { sender: member(1), digest: 7, joined: true },
            Packet::Page { sender: member(1), heading, members: (0..9).map(member).collect() },
            Packet::Dead { identity },
        ];
        for packet in packets {
            let bytes = packet.encode();
            assert_eq!(Packet::decode(&bytes).unwrap(), packet);
            let mut longer = bytes.clone();
            longer.push(b'/');
            assert!(matches!(packet, Packet::Swim(_)) || Packet::decode(&longer).is_err());
            // Whatever a prefix is, it is refused or another packet; it never panics.
            (0..bytes.len()).for_each(|len| drop(Packet::decode(&bytes[..len])));
        }
    }

    #[test]
    fn a_thousand_members_fit_into_whole_datagrams() {
        let pages = pages(&member(0), 7, true, (1..1000).map(member));
        let mut seen = 0;
        for page in &pages {
            assert!(page.len() <= MAX_PAYLOAD_BYTES);
            if let Packet::Page { members, .. } = Packet::decode(page).unwrap() {
                seen += members.len();
            }
        }
        assert_eq!(seen, 999);
        assert!(pages.len() <= 40, "{} datagrams", pages.len());
    }
}
