//! What daemons say to each other over a peer link, as bytes: one ZMTP part, its first byte the kind.
//!
//! An event for another owner travels as its client sent it: only a header of fixed size is put in front.

/// A request that a daemon passes on to the owner of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardHeader {
    /// Given back with the answer.
    pub correlation: u64,
    /// The key's partition.
    pub partition: u16,
    /// How often the request was passed on before; bounded by [`MAX_HOPS`].
    pub hops: u8,
    /// The links on which it was passed on before this one.
    pub path: Path,
    /// It was passed on before, to a member that may have applied it and was lost before it answered: a holder that has
    /// forgotten tokens of its key cannot tell whether it is new.
    pub uncertain: bool,
}

/// The bit of the byte with the hops that says that a request is uncertain.
const UNCERTAIN: u8 = 0x80;

/// The links on which a request was passed on, the first one first: of a header as many as its hops before the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    links: [LinkId; MAX_HOPS as usize],
    len: u8,
}

impl Path {
    /// The path, and one link more. One that is too long has no request: it meets [`MAX_HOPS`] daemons.
    #[must_use]
    pub fn with(mut self, link: LinkId) -> Self {
        if let Some(next) = self.links.get_mut(usize::from(self.len)) {
            *next = link;
            self.len += 1;
        }
        self
    }

    /// The links.
    #[must_use]
    pub fn links(&self) -> &[LinkId] {
        self.links.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Names a link: no other one, of any process, has the same.
pub type LinkId = u64;

/// A request that met this many daemons without finding the owner is answered with an error. Two are enough in a settled
/// mesh; a third and fourth happen when a partition moves while the request is on its way.
pub const MAX_HOPS: u8 = 4;

/// One message between daemons.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerFrame<'a> {
    /// First on every link, from the daemon that opened it: who it is. The other answers with its own.
    Hello {
        /// Which of its daemon's reactors opened the link.
        lane: u8,
        /// The link's name, which the answer gives back.
        link: LinkId,
        /// The greeting.
        greeting: &'a [u8],
    },
    /// The answer to a greeting that is not accepted: why.
    Refused(&'a [u8]),
    /// A client's request.
    Forward(ForwardHeader, &'a [u8]),
    /// The answer to a forwarded request: its correlation and the reply for the client, which is not empty.
    Reply(u64, &'a [u8]),
    /// The answer to a forwarded request has no room on the link, and is left out: its correlation. What the request asks for
    /// may have been done.
    Unsaid(u64),
    /// Messages of the control plane (ownership, definitions).
    Control(&'a [u8]),
    /// Instances of a partition that moves; the last part says that it is complete.
    HandOff {
        /// Which partition.
        partition: u16,
        /// The hand-off's number: parts of one never complete another.
        number: u64,
        /// Whether this is the last part.
        last: bool,
        /// How many versions of definitions the sender has: the receiver serves nothing before it has as many.
        definitions: u32,
        /// Encoded instances.
        instances: &'a [u8],
    },
    /// Keys that exist in partitions for which the receiver is the sender's standby, so that it can say what was lost.
    Keys(&'a [u8]),
    /// Keys that the sender was told of, for a member that is about to serve their partitions.
    RelayedKeys(&'a [u8]),
    /// From the daemon that was greeted: say this number back on this link. What the link carried before the answer may have been
    /// sent a while ago, and have been given up meanwhile; what comes behind it was not.
    Fence(u64),
    /// Links that have ended: what was passed on by them was given up, or is sent again. It comes ahead of that, and in the other
    /// direction ahead of the answer that says so.
    Ended(Vec<LinkId>),
}

const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const FORWARD: u8 = 3;
const REPLY: u8 = 4;
const CONTROL: u8 = 5;
const HAND_OFF: u8 = 6;
const KEYS: u8 = 7;
const UNSAID: u8 = 8;
const RELAYED_KEYS: u8 = 9;
const FENCE: u8 = 10;
const ENDED: u8 = 11;

impl<'a> PeerFrame<'a> {
    /// Reads one part; `None` if it is none of ours.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match *kind {
            HELLO => {
                let (lane, rest) = rest.split_first()?;
                let (link, greeting) = rest.split_first_chunk::<8>()?;
                Self::Hello { lane: *lane, link: LinkId::from_le_bytes(*link), greeting }
            }
            REFUSED => Self::Refused(rest),
            CONTROL => Self::Control(rest),
            KEYS => Self::Keys(rest),
            RELAYED_KEYS => Self::RelayedKeys(rest),
            FORWARD => {
                let (correlation, rest) = rest.split_first_chunk::<8>()?;
                let (partition, rest) = rest.split_first_chunk::<2>()?;
                let (byte, rest) = rest.split_first()?;
                let (hops, uncertain) = (byte & !UNCERTAIN, byte & UNCERTAIN != 0);
                if hops > MAX_HOPS {
                    return None;
                }
                let (links, request) = rest.split_at_checked(usize::from(hops.saturating_sub(1)) * 8)?;
                let (links, _) = links.as_chunks::<8>();
                let header = ForwardHeader {
                    correlation: u64::from_le_bytes(*correlation),
                    partition: u16::from_le_bytes(*partition),
                    hops,
                    uncertain,
                    path: links.iter().fold(Path::default(), |path, link| path.with(LinkId::from_le_bytes(*link))),
                };
                Self::Forward(header, request)
            }
            REPLY => {
                let (correlation, reply) = rest.split_first_chunk::<8>()?;
                Self::Reply(u64::from_le_bytes(*correlation), reply)
            }
            UNSAID => Self::Unsaid(u64::from_le_bytes(*rest.first_chunk()?)),
            FENCE => Self::Fence(u64::from_le_bytes(*rest.first_chunk()?)),
            ENDED => {
                let (links, []) = rest.as_chunks::<8>() else { return None };
                Self::Ended(links.iter().map(|link| LinkId::from_le_bytes(*link)).collect())
            }
            HAND_OFF => {
                let (partition, rest) = rest.split_first_chunk::<2>()?;
                let (number, rest) = rest.split_first_chunk::<8>()?;
                let (last, rest) = rest.split_first()?;
                let (definitions, instances) = rest.split_first_chunk::<4>()?;
                Self::HandOff {
                    partition: u16::from_le_bytes(*partition),
                    number: u64::from_le_bytes(*number),
                    last: *last == 1,
                    definitions: u32::from_le_bytes(*definitions),
                    instances,
                }
            }
            _ => return None,
        })
    }

    /// Appends the bytes of this frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, body) = match self {
            Self::Hello { lane, link, greeting } => {
                out.extend_from_slice(&[HELLO, *lane]);
                out.extend_from_slice(&link.to_le_bytes());
                out.extend_from_slice(greeting);
                return;
            }
            Self::Refused(body) => (REFUSED, *body),
            Self::Control(body) => (CONTROL, *body),
            Self::Keys(body) => (KEYS, *body),
            Self::RelayedKeys(body) => (RELAYED_KEYS, *body),
            Self::Forward(header, request) => {
                out.push(FORWARD);
                out.extend_from_slice(&header.correlation.to_le_bytes());
                out.extend_from_slice(&header.partition.to_le_bytes());
                out.push(header.hops | if header.uncertain { UNCERTAIN } else { 0 });
                let before = usize::from(header.hops.saturating_sub(1));
                header.path.links().iter().take(before).for_each(|link| out.extend_from_slice(&link.to_le_bytes()));
                out.extend_from_slice(request);
                return;
            }
            Self::Reply(correlation, reply) => {
                out.push(REPLY);
                out.extend_from_slice(&correlation.to_le_bytes());
                out.extend_from_slice(reply);
                return;
            }
            Self::Ended(links) => {
                out.push(ENDED);
                links.iter().for_each(|link| out.extend_from_slice(&link.to_le_bytes()));
                return;
            }
            Self::Unsaid(number) | Self::Fence(number) => {
                out.push(if matches!(self, Self::Fence(_)) { FENCE } else { UNSAID });
                out.extend_from_slice(&number.to_le_bytes());
                return;
            }
            Self::HandOff { partition, number, last, definitions, instances } => {
                out.push(HAND_OFF);
                out.extend_from_slice(&partition.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
                out.push(u8::from(*last));
                out.extend_from_slice(&definitions.to_le_bytes());
                out.extend_from_slice(instances);
                return;
            }
        };
        out.push(kind);
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_reads_back_as_written_and_no_prefix_of_it_panics() {
        let (hops, path) = (1, Path::default());
        let header = ForwardHeader { correlation: 1 << 40, partition: 1_023, hops, path, uncertain: true };
        let frames = [
            PeerFrame::Hello { lane: 0, link: 1 << 50, greeting: b"h" },
            PeerFrame::Refused(b""),
            PeerFrame::Forward(header, b"{}"),
            PeerFrame::Forward(
                ForwardHeader { hops: 3, path: path.with(1 << 63).with(9), uncertain: false, ..header },
                b"{}",
            ),
            PeerFrame::Reply(7, b"r"),
            PeerFrame::Control(b"c"),
            PeerFrame::Unsaid(9),
            PeerFrame::HandOff { partition: 3, number: 1 << 50, last: true, definitions: 9, instances: b"i" },
            PeerFrame::Keys(b"k"),
            PeerFrame::RelayedKeys(b"k"),
            PeerFrame::Fence(1 << 60),
            PeerFrame::Ended(vec![1, 1 << 60]),
        ];
        for frame in frames {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(PeerFrame::decode(&bytes), Some(frame));
            for cut in 0..bytes.len() {
                let _ = PeerFrame::decode(&bytes[..cut]);
            }
        }
        assert_eq!(PeerFrame::decode(b"\xff"), None);
    }
}
