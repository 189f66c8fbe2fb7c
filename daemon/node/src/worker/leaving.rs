//! Partitions that move away: their parts wait here until their link has room, so that a large one neither fills the link's
//! buffer nor holds up the answers and the control messages that go the same way.

use std::collections::{BTreeMap, VecDeque};

use statemesh_protocol::peer::ownership::HandoffNumber;

/// One partition on its way.
#[derive(Debug)]
pub(super) struct HandOff {
    /// Which.
    pub(super) partition: u16,
    /// The hand-off's number.
    pub(super) number: HandoffNumber,
    /// Instances in it.
    pub(super) instances: usize,
    /// The frames that are not sent yet.
    pub(super) parts: VecDeque<Vec<u8>>,
}

/// What is to be sent, for each member in the order in which it was frozen.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    by_member: BTreeMap<u32, VecDeque<HandOff>>,
    bytes: usize,
}

impl Leaving {
    /// One more partition for this member.
    pub(super) fn add(&mut self, member: u32, hand_off: HandOff) {
        self.bytes += hand_off.parts.iter().map(Vec::len).sum::<usize>();
        self.by_member.entry(member).or_default().push_back(hand_off);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_member.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing more goes to this member: what had arrived there is asked for over the next link.
    pub(super) fn link_lost(&mut self, member: u32) {
        for hand_off in self.by_member.remove(&member).into_iter().flatten() {
            self.bytes -= hand_off.parts.iter().map(Vec::len).sum::<usize>();
        }
    }

    /// A partition stays, or goes elsewhere: what is left of it here is not sent. Its route is another by then, and the last part
    /// would change that.
    pub(super) fn withdraw(&mut self, partition: u16) {
        if self.by_member.is_empty() {
            return;
        }
        for hand_offs in self.by_member.values_mut() {
            hand_offs.retain(|hand_off| hand_off.partition != partition);
        }
        self.by_member.retain(|_, hand_offs| !hand_offs.is_empty());
        let left = self.by_member.values().flatten().flat_map(|hand_off| &hand_off.parts);
        self.bytes = left.map(Vec::len).sum();
    }

    /// Sends parts as long as `send` takes them. Gives the partitions of which the last part went, with their new holder.
    pub(super) fn send(&mut self, mut send: impl FnMut(u32, &[u8]) -> bool) -> Vec<(u32, HandOff)> {
        let mut gone = Vec::new();
        for (&member, hand_offs) in &mut self.by_member {
            while let Some(hand_off) = hand_offs.front_mut() {
                while let Some(part) = hand_off.parts.front()
                    && send(member, part)
                {
                    self.bytes -= part.len();
                    hand_off.parts.pop_front();
                }
                if !hand_off.parts.is_empty() {
                    break;
                }
                gone.extend(hand_offs.pop_front().map(|hand_off| (member, hand_off)));
            }
        }
        self.by_member.retain(|_, hand_offs| !hand_offs.is_empty());
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand_off(partition: u16, parts: &[usize]) -> HandOff {
        HandOff { partition, number: 1, instances: 1, parts: parts.iter().map(|&bytes| vec![0; bytes]).collect() }
    }

    /// Sends as much as so many bytes of room allow. Gives the partitions that are gone.
    fn send(leaving: &mut Leaving, mut room: usize) -> Vec<u16> {
        let take = |_, part: &[u8]| {
            let fits = part.len() <= room;
            room -= if fits { part.len() } else { 0 };
            fits
        };
        leaving.send(take).into_iter().map(|(_, hand_off)| hand_off.partition).collect()
    }

    #[test]
    fn parts_go_as_there_is_room_and_partitions_one_after_another() {
        let mut leaving = Leaving::default();
        leaving.add(1, hand_off(7, &[10, 10, 10]));
        leaving.add(1, hand_off(8, &[10]));
        assert_eq!((send(&mut leaving, 25), leaving.bytes()), (vec![], 20));
        assert_eq!(send(&mut leaving, 15), [7]);
        assert_eq!(send(&mut leaving, 10), [8]);
        assert!(leaving.is_empty() && leaving.bytes() == 0);
    }

    #[test]
    fn what_is_left_of_a_partition_that_stays_is_not_sent() {
        let mut leaving = Leaving::default();
        leaving.add(1, hand_off(7, &[10, 10]));
        leaving.add(1, hand_off(8, &[10]));
        assert_eq!(send(&mut leaving, 10), []);
        leaving.withdraw(7);
        assert_eq!((leaving.bytes(), send(&mut leaving, 100)), (10, vec![8]));
        leaving.withdraw(8);
        assert!(leaving.is_empty() && leaving.bytes() == 0);
    }

    #[test]
    fn a_member_without_room_holds_up_no_other_and_a_lost_link_ends_its_transfers() {
        let mut leaving = Leaving::default();
        leaving.add(1, hand_off(7, &[10]));
        leaving.add(2, hand_off(8, &[10]));
        let sent = leaving.send(|member, _| member == 2);
        assert_eq!(sent.iter().map(|(member, _)| *member).collect::<Vec<_>>(), [2]);
        leaving.link_lost(1);
        assert!(leaving.is_empty() && leaving.bytes() == 0);
    }
}
