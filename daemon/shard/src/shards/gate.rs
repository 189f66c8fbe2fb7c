//! The commit gate: the one way by which what a run caused leaves the shard.

use statemesh_protocol::place::Mark;

use super::{Run, State};

impl State {
    /// Lets the changes of a run leave: they are queued for the reactors in the order of the claim, with what must be committed before
    /// they are published. Gives what must be committed before anybody hears of what is true now. In memory that is nothing.
    #[inline]
    pub(super) fn leave(&self, partition: u16, run: &mut Run) -> Option<Mark> {
        let mark = if run.step.is_durable { self.last_record(partition) } else { None };
        if !run.step.changes.is_empty() {
            self.publish(mark, run);
        }
        mark.filter(|mark| !self.is_committed(*mark))
    }

    fn publish(&self, mark: Option<Mark>, run: &mut Run) {
        for change in run.step.changes.drain(..) {
            run.counts.changes += 1;
            self.daemon.feeds.publish(mark, &change, &mut run.publish);
        }
    }

    fn is_committed(&self, mark: Mark) -> bool {
        self.daemon.log.as_ref().is_none_or(|log| log.committed(mark.place.partition) >= mark.index)
    }
}
