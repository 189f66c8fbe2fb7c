//! The commit gate: the one way by which what a run caused leaves the shard.

use statemesh_protocol::place::Mark;

use super::{Run, State};

impl State {
    /// What has to be committed before anybody may see what is true of a partition now. In memory that is nothing.
    #[inline]
    pub(super) fn mark(&self, _partition: u16) -> Option<Mark> {
        None
    }

    /// Lets the changes of a run leave: they are queued for the reactors in the order of the claim, or wait for their mark.
    #[inline]
    pub(super) fn leave(&self, partition: u16, run: &mut Run) -> Option<Mark> {
        let mark = self.mark(partition);
        if !run.step.changes.is_empty() {
            self.publish(mark, run);
        }
        mark
    }

    fn publish(&self, mark: Option<Mark>, run: &mut Run) {
        for change in run.step.changes.drain(..) {
            run.counts.changes += 1;
            match mark {
                None => self.daemon.feeds.publish(&change, &mut run.publish),
                Some(mark) => run.held.push((mark, change)),
            }
        }
    }
}
