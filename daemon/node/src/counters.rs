//! What a reactor counts while it works: one cell per figure and reactor, written by that reactor alone and summed when
//! the metrics are scraped. So counting costs a load and a store of a line that is in this core's cache.

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request::Op;
use statemesh_shard::{Cell, Counts, Durations, Stage};

/// A cell for each error code.
#[derive(Debug)]
pub struct ErrorCells([Cell; ErrorCode::ALL.len()]);

impl Default for ErrorCells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::default()))
    }
}

impl std::ops::Deref for ErrorCells {
    type Target = [Cell];

    fn deref(&self) -> &[Cell] {
        &self.0
    }
}

macro_rules! figures {
    ($($field:ident $kind:ident $name:literal $help:literal;)*) => {
        /// The figures of one reactor.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $(#[doc = $help] pub $field: Cell,)*
            /// Requests by op.
            pub requests: [Cell; Op::ALL.len()],
            /// Error replies by code.
            pub errors: ErrorCells,
            /// Time of each stage of a request.
            pub stages: [Durations; Stage::ALL.len()],
            /// From reading a request to queueing its reply.
            pub round_trip: Durations,
            /// From reading a request to having the answer of its owner elsewhere.
            pub forward: Durations,
        }

        /// Whether a figure counts up or stands at a level.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            /// Only grows.
            Counter,
            /// Goes up and down.
            Gauge,
        }

        /// Name, kind, help and reader of each plain figure: what /metrics and the reference are made from.
        pub const FIGURES: &[Figure] =
            &[$(Figure { name: $name, kind: Kind::$kind, help: $help, read: |c| c.$field.get() },)*];
    };
}

impl Counters {
    /// Adds what runs counted since the last time.
    pub(crate) fn take(&self, counts: &mut Counts) {
        for (count, cell) in [(&mut counts.events, &self.events), (&mut counts.transitions, &self.transitions)] {
            if *count > 0 {
                cell.add(std::mem::take(count));
            }
        }
        if counts.has_rare() {
            self.take_rare(counts);
        }
        if let Some(code) = counts.error_code.take()
            && let Some(cell) = self.errors.get(code as usize)
        {
            cell.add(1);
        }
    }

    #[cold]
    fn take_rare(&self, counts: &mut Counts) {
        for (count, cell) in [
            (&mut counts.created, &self.created),
            (&mut counts.troubles.errors, &self.machine_errors),
            (&mut counts.timers_fired, &self.timers_fired),
            (&mut counts.effects, &self.effects),
            (&mut counts.refused_instances, &self.refused_instances),
            (&mut counts.troubles.stuck, &self.stuck),
            (&mut counts.troubles.restless, &self.restless),
            (&mut counts.changes, &self.changes),
            (&mut counts.refused_outputs, &self.refused_outputs),
            (&mut counts.conflicts, &self.conflicts),
            (&mut counts.lost, &self.lost),
            (&mut counts.removed, &self.removed),
            (&mut counts.forgotten.tokens, &self.forgotten),
            (&mut counts.forgotten.marks, &self.forgotten_marks),
        ] {
            if *count > 0 {
                cell.add(std::mem::take(count));
            }
        }
    }
}

/// One plain figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Metric name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// Reads it from one reactor's counters.
    pub read: fn(&Counters) -> u64,
}

figures! {
    events Counter "statemesh_events_total" "Events run on instances of this daemon: sends, starts, timers.";
    transitions Counter "statemesh_transitions_total" "Events that changed their instance.";
    created Counter "statemesh_instances_created_total" "Instances created here.";
    machine_errors Counter "statemesh_instance_errors_total" "Instances that went into status error.";
    stuck Counter "statemesh_instances_stuck_total" "Instances that became stuck, the step of a timer having hit a limit.";
    restless Counter "statemesh_instances_restless_total" "Times that an instance was made to wait, as its timers led to each other without time passing: `after` or `raise` with 0 in a circle.";
    lost Counter "statemesh_instances_lost_total" "Instances that went with a dead owner, or came and could not be read, reported by who serves their key now.";
    removed Counter "statemesh_instances_removed_total" "Instances removed here.";
    forgotten Counter "statemesh_forgotten_tokens_total" "Removed instances whose dedup tokens were forgotten before their time because of limits.removed.";
    forgotten_marks Counter "statemesh_forgotten_marks_total" "Keys whose loss no reply will say, because of limits.marks.";
    timers_fired Counter "statemesh_timers_fired_total" "Delayed events and transitions that came due.";
    effects Counter "statemesh_effects_total" "Effects reported to watchers: custom actions, emitted events, logs.";
    forwards_sent Counter "statemesh_forwards_sent_total" "Requests passed on to the owner of their key.";
    forwards_received Counter "statemesh_forwards_received_total" "Requests that other daemons passed on to this one.";
    forwards_lost Counter "statemesh_forwards_lost_total" "Forwarded requests whose owner was lost or did not answer in time.";
    inbox_jobs Counter "statemesh_shard_inbox_jobs_total" "Requests deferred to the end of the turn, since another reactor had their shard.";
    changes Counter "statemesh_changes_published_total" "Changes published to watchers.";
    changes_dropped Counter "statemesh_changes_dropped_total" "Changes that slow subscribers lost.";
    handoffs_sent Counter "statemesh_handoffs_sent_total" "Partitions handed to another daemon.";
    handoffs_received Counter "statemesh_handoffs_received_total" "Partitions taken over from another daemon.";
    deferred_orders Counter "statemesh_deferred_orders_total" "Times that something to be done with a partition waited for a turn, since another thread had its shard.";
    handoff_instances Counter "statemesh_handoff_instances_total" "Instances that came with partitions taken over.";
    handoff_rejected Counter "statemesh_handoff_rejected_total" "Instances in a hand-off that could not be read.";
    conflicts Counter "statemesh_conflicts_total" "Keys that two copies of a partition had with different states, after a network partition or a pause; one state won.";
    malformed Counter "statemesh_malformed_frames_total" "Frames that are no request.";
    protocol_errors Counter "statemesh_protocol_errors_total" "Connections closed because the other side violated ZMTP or a size limit.";
    by_former_key Counter "statemesh_former_key_connections_total" "Connections of clients and subscribers that expect the daemon's former key; `keys renew --done` will shut them out.";
    handshake_timeouts Counter "statemesh_handshake_timeouts_total" "Connections closed because the handshake took too long.";
    refused_connections Counter "statemesh_refused_connections_total" "Connections refused because there were limits.connections of them.";
    refused_links Counter "statemesh_refused_links_total" "Connections from other daemons refused because there were limits.links of them, or because too many came from one address.";
    refused_addresses Counter "statemesh_refused_addresses_total" "Connections refused because there were limits.connections_per_address from where they came.";
    refused_hasty Counter "statemesh_refused_hasty_total" "Connections refused because more than limits.connections_per_second came from their address.";
    evicted_handshakes Counter "statemesh_evicted_handshakes_total" "Connections closed in the middle of their handshake to make room for new ones.";
    silent_connections Counter "statemesh_silent_connections_total" "Connections closed because they gave no sign of life within limits.idle, or left a message half-sent.";
    refused_unread Counter "statemesh_refused_unread_total" "Connections closed because half-sent messages took limits.unread_bytes.";
    refused_malformed Counter "statemesh_refused_malformed_total" "Connections closed because of limits.malformed.";
    accept_failures Counter "statemesh_accept_failures_total" "Times that the operating system gave no connection, for want of file descriptors mostly.";
    rate_limited Counter "statemesh_rate_limited_total" "Requests refused because of limits.events_per_second, or of the figure of their client's key.";
    stalls Counter "statemesh_stalls_total" "Times that a connection was no longer read because of limits.unsent_bytes or limits.unsent_total_bytes.";
    pauses Counter "statemesh_pauses_total" "Times that a connection was no longer read because of limits.in_flight_per_connection.";
    refused_peers Counter "statemesh_refused_peers_total" "Peer links refused: another mesh, another partition count, or a name in use.";
    refused_messages Counter "statemesh_refused_messages_total" "Frames that were not read because of limits.message_bytes.";
    refused_instances Counter "statemesh_refused_instances_total" "Instances not created because there were limits.instances of them.";
    refused_waits Counter "statemesh_refused_waits_total" "Requests refused because the answers of limits.waits others waited.";
    refused_outputs Counter "statemesh_refused_outputs_total" "Replies and steps refused because of limits.output_bytes.";
    refused_in_flight Counter "statemesh_refused_in_flight_total" "Requests refused because limits.in_flight others were on their way.";
    refused_member_bytes Counter "statemesh_refused_member_bytes_total" "Requests refused because of limits.member_bytes: define and instances.";
    refused_link_bytes Counter "statemesh_refused_link_bytes_total" "Requests refused because of limits.link_bytes.";
    unsaid Counter "statemesh_unsaid_replies_total" "Answers for another daemon that were left out because of limits.link_bytes.";
    overflowed_links Counter "statemesh_overflowed_links_total" "Links with other daemons that ended because twice limits.link_bytes waited for them, or more than limits.control_bytes of what they said for the control plane.";
    refused_parked Counter "statemesh_refused_parked_total" "Requests refused because limits.parked others waited for their partition, or limits.parked_bytes of them.";
    refused_array_bytes Counter "statemesh_refused_array_bytes_total" "Requests of arrays that were refused, or whose replies were left out, because of limits.array_bytes.";
    refused_unsent Counter "statemesh_refused_unsent_total" "Requests that had to wait and were refused, or whose answers were left out, because of what their client had not taken: limits.array_bytes, or limits.unsent_bytes while limits.unsent_total_bytes is reached.";
    worst_guests Counter "statemesh_refused_unsent_connections_total" "Connections closed because they had not taken most, when limits.unsent_total_bytes and limits.array_bytes together waited for all.";
    refused_subscriptions Counter "statemesh_refused_subscriptions_total" "Subscriptions refused because of limits.subscriptions, limits.subscriptions_total or limits.subscription_bytes.";
    client_connections Gauge "statemesh_client_connections" "Connections of clients.";
    subscriber_connections Gauge "statemesh_subscriber_connections" "Connections of subscribers.";
    unread_bytes Gauge "statemesh_unread_bytes" "Bytes of messages that are not whole yet.";
    unsent_bytes Gauge "statemesh_unsent_bytes" "Bytes that clients and subscribers have not taken yet.";
    link_unsent_bytes Gauge "statemesh_link_unsent_bytes" "Bytes that other daemons have not taken yet.";
    moving_bytes Gauge "statemesh_moving_bytes" "Parts of moving partitions that wait for room on a link, in bytes.";
    subscriber_waiting Gauge "statemesh_subscriber_waiting_bytes" "Changes that wait for slow subscribers, in bytes.";
    paused Gauge "statemesh_paused_connections" "Connections that are not read because limits.in_flight_per_connection of their requests are under way.";
    malformed_lately Gauge "statemesh_malformed_frames" "Frames that are no request, of all connections, which count towards limits.malformed now.";
    peer_links Gauge "statemesh_peer_links" "Links to other daemons that are ready.";
    in_flight Gauge "statemesh_in_flight_requests" "Requests passed on and not answered yet.";
    parked Gauge "statemesh_parked_requests" "Requests that wait for their partition.";
    mailed Gauge "statemesh_waiting_commands" "Commands for other reactors that wait for room in their rings.";
    waits Gauge "statemesh_waits" "Requests whose answers wait (`until`).";
    open_arrays Gauge "statemesh_open_arrays" "Arrays of requests whose replies are not all there.";
    envelopes Gauge "statemesh_envelopes" "Envelopes of several parts (proxies, REQ_CORRELATE) that are kept until their requests are answered.";
    array_bytes Gauge "statemesh_array_bytes" "Replies of arrays that are not whole yet, in bytes.";
    parked_bytes Gauge "statemesh_parked_bytes" "Bytes of the requests that wait for their partition.";
    subscriptions Gauge "statemesh_subscriptions" "Subscriptions of all subscribers.";
    turns Counter "statemesh_reactor_turns_total" "Turns of the event loop.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for figure in FIGURES {
            assert_eq!(figure.kind == Kind::Counter, figure.name.ends_with("_total"), "{}", figure.name);
            assert!(figure.name.starts_with("statemesh_") && figure.help.ends_with('.'));
        }
    }
}
