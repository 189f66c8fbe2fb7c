//! How quickly members are probed, suspected and told about.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use crate::gossip::MAX_PAYLOAD_BYTES;

/// Members that one member keeps track of. Datagrams of unknown senders are dropped beyond it.
pub const MAX_MEMBERS: usize = 4096;

/// Times and counts of the membership protocol. The defaults are for one data centre; docs/explanation/membership.md has
/// what they cost and how they compare.
#[derive(Debug, Clone)]
pub struct Config {
    /// One member is probed in each period.
    pub probe_period: Duration,
    /// An unanswered probe is tried through others after this long.
    pub probe_timeout: Duration,
    /// Through how many others.
    pub indirect_probes: usize,
    /// How long a suspect has to say that it is alive, times the logarithm (base 10, at least 1) of the number of members.
    pub suspicion: Duration,
    /// News go to a few members in each interval.
    pub gossip_interval: Duration,
    /// To how many members.
    pub gossip_fanout: usize,
    /// A piece of news is sent this many times, times the logarithm (base 10, rounded up) of the number of members.
    pub retransmit: u8,
    /// At least this many times.
    pub retransmit_at_least: u8,
    /// How often a random member's list is compared with this one's.
    pub sync_interval: Duration,
    /// The same as long as comparing brings something new.
    pub sync_interval_while_learning: Duration,
    /// How often one dead member is tried again, so that a mesh that was partitioned heals.
    pub heal_interval: Duration,
    /// When dead and departed members are forgotten.
    pub forget_after: Duration,
    /// How long those who are asked for a name have to answer, and are asked again, before they count as silent.
    pub namesake_timeout: Duration,
    /// How long one that would join waits for its name to become free.
    pub name_patience: Duration,
    /// When this process is woken later than this, it was paused (or starved, or its clock jumped), and holds the time against
    /// no other member: all of its own deadlines move by as much. From half of it on it runs late (`patience.rs`).
    pub pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(250),
            probe_timeout: Duration::from_millis(100),
            indirect_probes: 3,
            suspicion: Duration::from_millis(500),
            gossip_interval: Duration::from_millis(100),
            gossip_fanout: 3,
            retransmit: 4,
            retransmit_at_least: 6,
            sync_interval: Duration::from_secs(10),
            sync_interval_while_learning: Duration::from_millis(300),
            heal_interval: Duration::from_secs(2),
            forget_after: Duration::from_secs(3600),
            namesake_timeout: Duration::from_millis(500),
            // The kubelet ends a container without grace within two seconds, and the mesh finds that out in about one.
            name_patience: Duration::from_secs(10),
            pause: Duration::from_millis(100),
        }
    }
}

impl Config {
    /// memberlist's LAN defaults (hashicorp/memberlist, `DefaultLANConfig` in config.go), as far as foca can express them:
    /// the suspicion time is memberlist's shortest, without its extension until others confirm, and probing does not slow
    /// down when the prober itself is late.
    #[must_use]
    pub fn memberlist_lan() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            suspicion: Duration::from_secs(4),
            gossip_interval: Duration::from_millis(200),
            gossip_fanout: 3,
            retransmit: 4,
            retransmit_at_least: 1,
            sync_interval: Duration::from_secs(30),
            ..Self::default()
        }
    }

    /// How long a suspect has, in a mesh of `members`.
    #[must_use]
    pub fn suspicion_for(&self, members: usize) -> Duration {
        self.suspicion.mul_f64(log10(members).max(1.0))
    }

    /// How often news are sent, in a mesh of `members`.
    #[must_use]
    pub fn retransmissions_for(&self, members: usize) -> u8 {
        let times = f64::from(self.retransmit) * log10(members + 1).ceil();
        // A float is clamped to the range when it becomes an integer.
        (times as u8).max(self.retransmit_at_least)
    }

    pub(super) fn foca(&self, members: usize) -> foca::Config {
        let count = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let transmissions = NonZeroU8::new(self.retransmissions_for(members));
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_timeout,
            num_indirect_probes: count(self.indirect_probes),
            max_transmissions: transmissions.unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.suspicion_for(members),
            remove_down_after: Some(self.forget_after),
            // One byte says which kind of datagram it is.
            max_packet_size: count(MAX_PAYLOAD_BYTES - 1),
            notify_down_members: true,
            // Comparing lists finds what gossip missed, and costs nothing when there is nothing to find.
            periodic_announce: None,
            // Nor does foca try when no member is left, which is when it matters most.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams {
                frequency: self.gossip_interval,
                num_members: count(self.gossip_fanout),
            }),
        }
    }
}

fn log10(members: usize) -> f64 {
    (members.max(1) as f64).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_and_news_grow_with_the_logarithm() {
        let config = Config::default();
        let ms = Duration::from_millis;
        assert_eq!(config.suspicion_for(0), ms(500));
        assert_eq!(config.suspicion_for(10), ms(500));
        assert_eq!(config.suspicion_for(1000), ms(1500));
        assert_eq!(config.retransmissions_for(3), 6);
        assert_eq!(config.retransmissions_for(1000), 16);
        assert_eq!(Config::memberlist_lan().retransmissions_for(3), 4);
    }
}
