//! How many datagrams a source may send: a bucket of tokens for each, filled at a steady rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Sources kept track of. Beyond it the one that was heard of longest ago is forgotten, and starts with a full bucket.
pub const MAX_SOURCES: usize = 8192;

/// Datagrams of one source.
#[derive(Debug, Clone)]
pub struct RateLimit {
    per_second: f64,
    burst: f64,
    sources: BTreeMap<SocketAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Default for RateLimit {
    /// 1,000 datagrams a second with bursts of 2,000. A member of a mesh of a thousand sends 50 to one other when it sends its
    /// whole list, and some ten a second otherwise.
    fn default() -> Self {
        Self::new(1000, 2000)
    }
}

impl RateLimit {
    /// So many datagrams a second, and so many at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second), burst: f64::from(burst), sources: BTreeMap::new() }
    }

    /// May this source send one more?
    pub fn allow(&mut self, source: SocketAddr, now: Instant) -> bool {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            self.forget(now);
        }
        let (rate, burst) = (self.per_second, self.burst);
        let bucket = self.sources.entry(source).or_insert(Bucket { tokens: burst, filled: now });
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(burst);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    /// Forgets the sources that were silent long enough to have a full bucket, and half of all where too many are left.
    fn forget(&mut self, now: Instant) {
        let full = Duration::from_secs_f64(self.burst / self.per_second.max(1.0));
        let silent = |bucket: &Bucket| now.saturating_duration_since(bucket.filled) >= full;
        self.sources.retain(|_, bucket| !silent(bucket));
        if self.sources.len() >= MAX_SOURCES {
            let mut keep = false;
            self.sources.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> SocketAddr {
        (std::net::Ipv4Addr::from_bits(n), 7403).into()
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate_and_others_notice_nothing() {
        let (mut limit, start) = (RateLimit::new(10, 5), Instant::now());
        assert_eq!((0..9).filter(|_| limit.allow(source(1), start)).count(), 5);
        assert!(limit.allow(source(2), start));
        let later = start + Duration::from_millis(200);
        assert_eq!((0..9).filter(|_| limit.allow(source(1), later)).count(), 2);
    }

    #[test]
    fn a_flood_of_sources_does_not_grow_the_table() {
        let (mut limit, now) = (RateLimit::default(), Instant::now());
        (0..3 * MAX_SOURCES as u32).for_each(|n| assert!(limit.allow(source(n), now)));
        assert!(limit.sources.len() <= MAX_SOURCES);
    }
}
