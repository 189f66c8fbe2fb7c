//! What a reactor counts while it works: one cell per figure and reactor, written by that reactor alone and summed when
//! somebody scrapes. So counting costs a load and a store of a line that is in this core's cache.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use statemesh_mesh::client_protocol::error::ErrorCode;
use statemesh_mesh::client_protocol::request::Op;

use crate::stages::Stage;

/// A figure that only its own reactor writes.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds to a count.
    pub fn add(&self, n: u64) {
        // One writer, so no read-modify-write is needed.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a level.
    pub fn set(&self, level: usize) {
        self.0.store(level as u64, Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds in nanoseconds; the last bucket has none.
pub const BOUNDS_NS: [u64; 16] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Cell; BOUNDS_NS.len() + 1],
    sum_ns: Cell,
}

impl Durations {
    /// Counts `n` durations of `ns` nanoseconds each.
    pub fn record(&self, ns: u64, n: u64) {
        let at = BOUNDS_NS.partition_point(|bound| *bound < ns);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(n);
        }
        self.sum_ns.add(ns.saturating_mul(n));
    }

    /// Counts by bucket, not cumulated, and the sum in nanoseconds.
    pub fn read(&self) -> ([u64; BOUNDS_NS.len() + 1], u64) {
        (std::array::from_fn(|i| self.buckets.get(i).map_or(0, Cell::get)), self.sum_ns.get())
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
            pub errors: [Cell; ErrorCode::ALL.len()],
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
    timers_fired Counter "statemesh_timers_fired_total" "Delayed events and transitions that came due.";
    effects Counter "statemesh_effects_total" "Effects reported to watchers: custom actions, emitted events, logs.";
    forwards_sent Counter "statemesh_forwards_sent_total" "Requests passed on to the owner of their key.";
    forwards_received Counter "statemesh_forwards_received_total" "Requests that other daemons passed on to this one.";
    forwards_lost Counter "statemesh_forwards_lost_total" "Forwarded requests whose owner was lost or did not answer in time.";
    inbox_jobs Counter "statemesh_shard_inbox_jobs_total" "Requests put aside to the end of the turn, since another reactor had their shard.";
    changes Counter "statemesh_changes_published_total" "Changes published to watchers.";
    changes_dropped Counter "statemesh_changes_dropped_total" "Changes that slow subscribers lost.";
    handoffs_sent Counter "statemesh_handoffs_sent_total" "Partitions handed to another daemon.";
    handoffs_received Counter "statemesh_handoffs_received_total" "Partitions taken over from another daemon.";
    handoff_instances Counter "statemesh_handoff_instances_total" "Instances that came with partitions taken over.";
    handoff_rejected Counter "statemesh_handoff_rejected_total" "Instances in a hand-off that could not be read.";
    conflicts Counter "statemesh_conflicts_total" "Keys that were owned twice when a network partition healed; the higher seq won.";
    malformed Counter "statemesh_malformed_frames_total" "Frames that are no request.";
    protocol_errors Counter "statemesh_protocol_errors_total" "Connections closed because the other side violated ZMTP or a size limit.";
    by_former_key Counter "statemesh_former_key_connections_total" "Connections of clients and subscribers that expect the daemon's former key; `keys renew --done` will shut them out.";
    handshake_timeouts Counter "statemesh_handshake_timeouts_total" "Connections closed because the handshake took too long.";
    refused_connections Counter "statemesh_refused_connections_total" "Connections refused because there were limits.connections of them.";
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
    refused_in_flight Counter "statemesh_refused_in_flight_total" "Requests refused because limits.in_flight others were on their way.";
    refused_parked Counter "statemesh_refused_parked_total" "Requests refused because limits.parked others waited for their partition.";
    refused_subscriptions Counter "statemesh_refused_subscriptions_total" "Subscriptions refused because of limits.subscriptions, limits.subscriptions_total or limits.subscription_bytes.";
    client_connections Gauge "statemesh_client_connections" "Connections of clients.";
    subscriber_connections Gauge "statemesh_subscriber_connections" "Connections of subscribers.";
    unread_bytes Gauge "statemesh_unread_bytes" "Bytes of messages that are not whole yet.";
    unsent_bytes Gauge "statemesh_unsent_bytes" "Bytes that clients, subscribers and daemons have not taken yet.";
    subscriber_waiting Gauge "statemesh_subscriber_waiting_bytes" "Changes that wait for slow subscribers, in bytes.";
    paused Gauge "statemesh_paused_connections" "Connections that are not read because limits.in_flight_per_connection of their requests are under way.";
    malformed_lately Gauge "statemesh_malformed_frames" "Frames that are no request, of all connections, which count towards limits.malformed now.";
    peer_links Gauge "statemesh_peer_links" "Links to other daemons that are ready.";
    in_flight Gauge "statemesh_in_flight_requests" "Requests passed on and not answered yet.";
    parked Gauge "statemesh_parked_requests" "Requests that wait for their partition.";
    subscriptions Gauge "statemesh_subscriptions" "Subscriptions of all subscribers.";
    turns Counter "statemesh_reactor_turns_total" "Turns of the event loop.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        durations.record(250, 1);
        durations.record(251, 2);
        durations.record(u64::MAX / 4, 1);
        let (buckets, _) = durations.read();
        assert_eq!((buckets[0], buckets[1], buckets[16]), (1, 2, 1));
    }

    #[test]
    fn names_follow_the_rules() {
        for figure in FIGURES {
            assert_eq!(figure.kind == Kind::Counter, figure.name.ends_with("_total"), "{}", figure.name);
            assert!(figure.name.starts_with("statemesh_") && figure.help.ends_with('.'));
        }
    }
}
