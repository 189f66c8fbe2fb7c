//! What daemons say to each other over a peer link, as bytes: one ZMTP part, its first byte the kind.
//!
//! An event for another owner travels as its client sent it: only a header of fixed size is put in front.

/// A request that a daemon passes on to the owner of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForwardHeader {
    /// Given back with the answer.
    pub correlation: u64,
    /// The key's partition.
    pub partition: u16,
    /// How often the request was passed on before; bounded by [`MAX_HOPS`].
    pub hops: u8,
}

/// A request that met this many daemons without finding the owner is answered with an error. Two are enough in a settled
/// mesh; a third and fourth happen when a partition moves while the request is on its way.
pub(crate) const MAX_HOPS: u8 = 4;

/// One message between daemons.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerFrame<'a> {
    /// First on every link, from the daemon that opened it: who it is. The other answers with its own.
    Hello {
        /// Which of its daemon's reactors opened the link.
        lane: u8,
        /// The greeting.
        greeting: &'a [u8],
    },
    /// The answer to a greeting that is not accepted: why.
    Refused(&'a [u8]),
    /// A client's request.
    Forward(ForwardHeader, &'a [u8]),
    /// The answer to a forwarded request: its correlation and the reply for the client, or an empty one if the receiver
    /// does not hold the partition and the sender has to look again.
    Reply(u64, &'a [u8]),
    /// Messages of the control plane (ownership, definitions).
    Control(&'a [u8]),
    /// Instances of a partition that moves; the last part says that it is complete.
    Move {
        /// Which partition.
        partition: u16,
        /// Whether this is the last part.
        last: bool,
        /// How many versions of definitions the sender has: the receiver serves nothing before it has as many.
        definitions: u32,
        /// Encoded instances.
        instances: &'a [u8],
    },
    /// Keys that exist in partitions for which the receiver is next in line, so that it can say what was lost.
    Roster(&'a [u8]),
}

const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const FORWARD: u8 = 3;
const REPLY: u8 = 4;
const CONTROL: u8 = 5;
const MOVE: u8 = 6;
const ROSTER: u8 = 7;

impl<'a> PeerFrame<'a> {
    /// Reads one part; `None` if it is none of ours.
    #[must_use]
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match *kind {
            HELLO => {
                let (lane, greeting) = rest.split_first()?;
                Self::Hello { lane: *lane, greeting }
            }
            REFUSED => Self::Refused(rest),
            CONTROL => Self::Control(rest),
            ROSTER => Self::Roster(rest),
            FORWARD => {
                let (correlation, rest) = rest.split_first_chunk::<8>()?;
                let (partition, rest) = rest.split_first_chunk::<2>()?;
                let (hops, request) = rest.split_first()?;
                let header = ForwardHeader {
                    correlation: u64::from_le_bytes(*correlation),
                    partition: u16::from_le_bytes(*partition),
                    hops: *hops,
                };
                Self::Forward(header, request)
            }
            REPLY => {
                let (correlation, reply) = rest.split_first_chunk::<8>()?;
                Self::Reply(u64::from_le_bytes(*correlation), reply)
            }
            MOVE => {
                let (partition, rest) = rest.split_first_chunk::<2>()?;
                let (last, rest) = rest.split_first()?;
                let (definitions, instances) = rest.split_first_chunk::<4>()?;
                let definitions = u32::from_le_bytes(*definitions);
                Self::Move { partition: u16::from_le_bytes(*partition), last: *last == 1, definitions, instances }
            }
            _ => return None,
        })
    }

    /// Appends the bytes of this frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, body) = match self {
            Self::Hello { lane, greeting } => {
                out.extend_from_slice(&[HELLO, *lane]);
                out.extend_from_slice(greeting);
                return;
            }
            Self::Refused(body) => (REFUSED, *body),
            Self::Control(body) => (CONTROL, *body),
            Self::Roster(body) => (ROSTER, *body),
            Self::Forward(header, request) => {
                out.push(FORWARD);
                out.extend_from_slice(&header.correlation.to_le_bytes());
                out.extend_from_slice(&header.partition.to_le_bytes());
                out.push(header.hops);
                out.extend_from_slice(request);
                return;
            }
            Self::Reply(correlation, reply) => {
                out.push(REPLY);
                out.extend_from_slice(&correlation.to_le_bytes());
                out.extend_from_slice(reply);
                return;
            }
            Self::Move { partition, last, definitions, instances } => {
                out.push(MOVE);
                out.extend_from_slice(&partition.to_le_bytes());
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
        let header = ForwardHeader { correlation: 1 << 40, partition: 1_023, hops: 2 };
        let frames = [
            PeerFrame::Hello { lane: 0, greeting: b"h" },
            PeerFrame::Refused(b""),
            PeerFrame::Forward(header, b"{}"),
            PeerFrame::Reply(7, b"r"),
            PeerFrame::Control(b"c"),
            PeerFrame::Move { partition: 3, last: true, definitions: 9, instances: b"i" },
            PeerFrame::Roster(b"k"),
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
