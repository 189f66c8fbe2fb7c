//! The one table of limits: fields, defaults, settings, gauges and the reference come from it.

use std::time::Duration;

const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// What a limit counts, and which values it may have.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Things.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Bytes.
    Bytes {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Time.
    Span {
        /// The longest.
        max: Duration,
    },
}

/// A limit's value, as a configuration gives it.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Things or bytes.
    Number(u64),
    /// Time.
    Span(Duration),
}

/// One limit.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name: `message_bytes`.
    pub name: &'static str,
    /// Its setting: `limits.message_bytes`.
    pub key: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value when a configuration gives none, as a person would write it.
    pub default: &'static str,
    /// What it bounds, and what happens beyond it.
    pub help: &'static str,
    /// Its value, in things, bytes or seconds.
    pub get: fn(&Limits) -> f64,
}

impl Row {
    /// The label of its gauge: the name, with its unit where that is time.
    #[must_use]
    pub fn label(&self) -> String {
        match self.unit {
            Unit::Span { .. } => format!("{}_seconds", self.name),
            Unit::Count { .. } | Unit::Bytes { .. } => self.name.to_owned(),
        }
    }
}

/// What the field of a limit may be.
trait Field: Copy {
    fn of(value: Value) -> Option<Self>;
    fn as_f64(self) -> f64;
}

impl Field for usize {
    fn of(value: Value) -> Option<Self> {
        if let Value::Number(number) = value { Self::try_from(number).ok() } else { None }
    }

    fn as_f64(self) -> f64 {
        self as f64
    }
}

impl Field for u32 {
    fn of(value: Value) -> Option<Self> {
        if let Value::Number(number) = value { Self::try_from(number).ok() } else { None }
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Field for Duration {
    fn of(value: Value) -> Option<Self> {
        if let Value::Span(span) = value { Some(span) } else { None }
    }

    fn as_f64(self) -> f64 {
        self.as_secs_f64()
    }
}

const fn count(min: u64, max: u64) -> Unit {
    Unit::Count { min, max }
}

const fn bytes(min: u64, max: u64) -> Unit {
    Unit::Bytes { min, max }
}

const fn span(max: Duration) -> Unit {
    Unit::Span { max }
}

impl Limits {
    /// What a daemon's limits say of the engine's: the rest is what it begins with.
    #[must_use]
    pub fn of_engine(&self) -> statemesh_engine::Limits {
        statemesh_engine::Limits { output_bytes_max: self.output_bytes, ..Default::default() }
    }
}

macro_rules! limits {
    ($($name:ident: $type:ty = $default:expr, $text:literal, $unit:expr, $help:literal;)*) => {
        /// Bounds of a daemon.
        #[derive(Clone, Copy, Debug)]
        pub struct Limits {
            $(#[doc = $help] pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Every limit, in the order of the reference.
            pub const ROWS: &'static [Row] = &[$(Row {
                name: stringify!($name),
                key: concat!("limits.", stringify!($name)),
                unit: $unit,
                default: $text,
                help: $help,
                get: |limits| limits.$name.as_f64(),
            },)*];

            /// The limits that `read` gives for each row; one whose value does not fit keeps its default.
            ///
            /// # Errors
            /// The first that `read` gives.
            pub fn read<E>(mut read: impl FnMut(&'static Row) -> Result<Value, E>) -> Result<Self, E> {
                let mut limits = Self::default();
                let mut rows = Self::ROWS.iter();
                $(if let Some(row) = rows.next() {
                    limits.$name = Field::of(read(row)?).unwrap_or(limits.$name);
                })*
                Ok(limits)
            }
        }
    };
}

// In the order in which an event meets them: name, type and default, the default as a person writes it, values, meaning.
#[rustfmt::skip] // A table: one row for each limit.
limits! {
    connections: usize = 10_000, "10000", count(1, 1_000_000), "Connections of clients and subscribers; a new one takes the place of one that has not completed its handshake for a while, or else is refused";
    links: usize = 4_096, "4096", count(1, 1_000_000), "Connections that other daemons open; they have places, and file descriptors, that no client can take. One that has not greeted within limits.handshake is closed";
    connections_per_address: usize = 4_096, "4096", count(1, 1_000_000), "Connections from one address; further ones are refused";
    connections_per_second: u32 = 1_000, "1000", count(1, 1_000_000), "New connections from one address in a second, a second's worth of them at once; further ones are refused";
    message_bytes: usize = 1 << 20, "1MiB", bytes(1_024, GIB), "One message from a client";
    handshake: Duration = Duration::from_secs(5), "5s", span(MINUTE), "Time for a new connection to complete its handshake";
    handshake_bytes: usize = 1_024, "1KiB", bytes(256, 65_536), "One frame before the handshake is complete; a connection with a larger one is closed";
    parts: usize = 16, "16", count(1, 1_024), "Parts of one message; a connection with a message of more is closed";
    heartbeat: Duration = Duration::from_secs(10), "10s", span(HOUR), "A peer that was silent for so long is asked for a sign of life (ZMTP 3.1); one that leaves a message half-sent for three times as long is closed";
    idle: Duration = Duration::from_secs(300), "5m", span(Duration::from_secs(24 * 3_600)), "A connection without a sign of life for so long is closed";
    unread_bytes: usize = 256 << 20, "256MiB", bytes(65_536, 64 * GIB), "Messages that are not whole yet, on all connections; beyond it the connection with most of them is closed";
    malformed: u32 = 10_000, "10000", count(1, 1_000_000_000), "Malformed requests of one connection within limits.heartbeat; beyond it the connection is closed";
    batch: usize = 10_000, "10000", count(1, 1_000_000), "Requests in one frame";
    dedup_bytes: usize = 128, "128", bytes(16, 4_096), "The dedup token of a request";
    dedup_for: Duration = Duration::from_secs(300), "5m", span(Duration::from_secs(24 * 3_600)), "For how long the dedup tokens of a removed instance are kept";
    output_bytes: usize = 16 << 20, "16MiB", bytes(65_536, GIB), "One reply, and what one step publishes; what would be larger is refused";
    array_bytes: usize = 64 << 20, "64MiB", bytes(65_536, GIB), "The replies of the arrays of one connection, with what its client has not taken yet; the rest of their requests is refused. Of other requests that had to wait (at another daemon, for a shard, for their partition) those are refused whose answers would go beyond it, or are left out; beyond limits.unsent_bytes, while limits.unsent_total_bytes is reached";
    key_bytes: usize = 1_024, "1KiB", bytes(16, 65_536), "The key of an instance";
    unsent_bytes: usize = 4 << 20, "4MiB", bytes(4_096, GIB), "Waiting to be written to one connection; beyond it the connection is no longer read";
    unsent_total_bytes: usize = 256 << 20, "256MiB", bytes(65_536, 64 * GIB), "Waiting to be written to all connections, with the replies of arrays that are not whole; beyond it no connection is read for which something waits, and beyond it and limits.array_bytes for each reactor together the connection for which most waits is closed";
    link_bytes: usize = 64 << 20, "64MiB", bytes(1 << 20, 64 * GIB), "Waiting to be written to one other daemon: beyond it requests for it are refused, moves wait, and an answer for which there is no room is left out; never less than the largest message between daemons. A link for which twice as much waits ends";
    control_bytes: usize = 256 << 20, "256MiB", bytes(1 << 20, 64 * GIB), "What other daemons have told the control plane and it has not taken in; the link of one that says more ends, and it tells all anew on the next one";
    in_flight: usize = 65_536, "65536", count(1, 16_777_216), "Requests forwarded and not yet answered, for each reactor";
    in_flight_per_connection: usize = 4_096, "4096", count(2, 16_777_216), "Requests of one connection that are under way (forwarded, parked, or waiting for their shard or with `until`); with so many the connection is not read until half of them are answered; no more than half may wait with `until`. One array may go over it";
    member_bytes: usize = 64 << 20, "64MiB", bytes(1 << 20, 64 * GIB), "Requests that one other daemon has and has not answered, for each reactor; further ones wait. As many may wait for the control plane (`define`) or for a list; further ones are refused";
    parked: usize = 65_536, "65536", count(1, 16_777_216), "Requests that wait while their partition moves, or for room at its owner, for each reactor";
    parked_bytes: usize = 64 << 20, "64MiB", bytes(1 << 20, 64 * GIB), "The bytes of these requests, for each reactor";
    forward_timeout: Duration = Duration::from_secs(5), "5s", span(HOUR), "For how long an owner may owe the answer to a forwarded request";
    subscriptions: usize = 1_024, "1024", count(1, 1_000_000), "Subscriptions of one subscriber; further ones are ignored and counted";
    subscriptions_total: usize = 100_000, "100000", count(1, 100_000_000), "Subscriptions of all subscribers; further ones are ignored and counted";
    subscription_bytes: usize = 2_048, "2KiB", bytes(16, 65_536), "One subscription; a longer one is ignored and counted, one that is much longer ends its connection";
    subscriber_bytes: usize = 4 << 20, "4MiB", bytes(4_096, GIB), "Changes waiting for one subscriber; beyond it its oldest are dropped and counted";
    subscriber_total_bytes: usize = 256 << 20, "256MiB", bytes(65_536, 64 * GIB), "Changes waiting for all subscribers; beyond it a subscriber that would get more loses its oldest";
    events_per_second: u32 = 1_000_000, "1000000", count(1, 4_000_000_000), "Requests of one client in a second, over all its connections, where its key has no figure of its own; further ones are refused (with security.mode = curve)";
    history: usize = 16, "16", count(0, 1_024), "Entries of an instance's history; with 0 the time for which one that has ended is kept begins anew where its partition moves";
    known_keys: usize = 10_000_000, "10000000", count(0, 1_000_000_000), "Keys of instances of other daemons that this one keeps, so that what is lost with a daemon can be named; further ones are not kept, and of their partitions it is logged that losses may go unnamed";
    instances: usize = 10_000_000, "10000000", count(1, 1_000_000_000), "Instances on this daemon. Where there are nearly so many, those make room that have ended, the first to end first, but for those with dedup tokens";
    keep: Duration = HOUR, "1h", span(Duration::from_secs(365 * 24 * 3_600)), "For how long an instance stays that is done, failed or stopped, where its machine's @statemesh.keep does not say; then it is removed";
    list_looks: usize = 100_000, "100000", count(1, 1_000_000_000), "Places of instances, also of those that are gone, that one page of a list looks at; the list goes on with the next page";
    waits: usize = 10_000, "10000", count(1, 10_000_000), "Requests whose answers wait (`until`), for each reactor; further ones are refused";
    wait: Duration = HOUR, "1h", span(Duration::from_secs(24 * 3_600)), "For how long an answer may wait; a longer `within` is refused";
    removed: usize = 100_000, "100000", count(64, 100_000_000), "Removed instances on this daemon whose dedup tokens are kept for limits.dedup_for; beyond it the oldest are forgotten and counted";
    marks: usize = 10_000_000, "10000000", count(64, 1_000_000_000), "Keys on this daemon of which it is still to be said that something was lost; beyond it the oldest are forgotten and counted";
    definitions_bytes: usize = 256 << 20, "256MiB", bytes(1 << 20, 64 * GIB), "The definitions of the mesh, old versions included, as members send them to each other; further ones are refused. It should be the same at all daemons";
}

/// Bytes of a message between daemons: a part of a moving partition, whose last instance may be as large as a context and
/// its history may be.
const PEER_MESSAGE_BYTES: usize = 64 << 20;
/// Bytes around a client's message, or around the answer to one, when daemons pass it on.
pub(crate) const PEER_HEADER_BYTES: usize = 64;

impl Limits {
    /// Bytes of one message between daemons: whatever a client may send can be passed on. The sender keeps to it.
    pub(crate) fn peer_message_bytes(&self) -> usize {
        self.message_bytes.max(PEER_MESSAGE_BYTES).saturating_add(PEER_HEADER_BYTES)
    }

    /// Bytes that may wait for one other daemon: any one message fits.
    pub(crate) fn link_room(&self) -> usize {
        self.link_bytes.max(self.peer_message_bytes())
    }
}
