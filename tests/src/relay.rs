//! Delay and loss without `tc netem`: a router in this process.
//!
//! Each host's interface is a TUN device whose other end is here. A packet is read, lost or not by the seed, held for the
//! delay and written to the device of its destination. What the hub sends is neither lost nor held, as with netem on the
//! hosts' own interfaces.

use crate::Outcome;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, SyncDevice};

/// What happens to a packet that a host sends.
#[derive(Clone, Copy, Debug)]
pub struct Impairment {
    /// It arrives this much later.
    pub delay: Duration,
    /// It is lost with this probability, from 0 to 1.
    pub loss: f64,
}

/// Largest packet: the devices have the default MTU of 1,500.
const PACKET_BYTES: usize = 2_048;

type Devices = Arc<Mutex<HashMap<Ipv4Addr, Arc<SyncDevice>>>>;

/// A packet that waits for its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    /// Keeps packets of the same instant in their order.
    number: u64,
    bytes: Vec<u8>,
}

/// The router. It ends with its process.
pub struct Relay {
    impairment: Impairment,
    seed: u64,
    devices: Devices,
    held: Sender<(Instant, Vec<u8>)>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("impairment", &self.impairment).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Relay {
    /// A router without interfaces.
    #[must_use]
    pub fn start(impairment: Impairment, seed: u64) -> Self {
        let (held, arrivals) = mpsc::channel();
        let devices = Devices::default();
        let known = Arc::clone(&devices);
        std::thread::spawn(move || deliver(&arrivals, &known));
        Self { impairment, seed, devices, held }
    }

    /// Makes an interface in the namespace of the calling thread, for the host of this address.
    ///
    /// # Errors
    /// The device cannot be made.
    pub fn attach(&self, address: Ipv4Addr, name: &str, impaired: bool) -> Outcome {
        let device = Arc::new(DeviceBuilder::new().name(name).build_sync()?);
        self.devices.lock().map_err(|_| "the relay has failed")?.insert(address, Arc::clone(&device));
        let held = self.held.clone();
        let none = Impairment { delay: Duration::ZERO, loss: 0.0 };
        let impairment = if impaired { self.impairment } else { none };
        let random = SmallRng::seed_from_u64(self.seed ^ u64::from(u32::from(address)));
        std::thread::spawn(move || read(&device, impairment, random, &held));
        Ok(())
    }
}

/// Takes what one host sends.
fn read(device: &SyncDevice, impairment: Impairment, mut random: SmallRng, held: &Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; PACKET_BYTES];
    while let Ok(length) = device.recv(&mut buffer) {
        if random.random_bool(impairment.loss) {
            continue;
        }
        let packet = buffer.get(..length).unwrap_or_default().to_vec();
        if held.send((Instant::now() + impairment.delay, packet)).is_err() {
            return;
        }
    }
}

/// Hands packets out when they are due.
fn deliver(arrivals: &Receiver<(Instant, Vec<u8>)>, devices: &Devices) {
    let mut waiting: BinaryHeap<Reverse<Held>> = BinaryHeap::new();
    let mut number = 0;
    loop {
        let wait = waiting
            .peek()
            .map_or(Duration::from_secs(60), |Reverse(held)| held.due.saturating_duration_since(Instant::now()));
        match arrivals.recv_timeout(wait) {
            Ok((due, bytes)) => {
                number += 1;
                waiting.push(Reverse(Held { due, number, bytes }));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse(held)| held.due <= now) {
            if let Some(Reverse(held)) = waiting.pop() {
                forward(&held.bytes, devices);
            }
        }
    }
}

/// Writes a packet to its destination's device; a packet for an unknown address is lost, as on any network.
fn forward(packet: &[u8], devices: &Devices) {
    let Some(destination) = destination(packet) else {
        return;
    };
    let device = devices.lock().ok().and_then(|devices| devices.get(&destination).cloned());
    if let Some(device) = device {
        // A full queue loses the packet, as a router's does.
        let _ = device.send(packet);
    }
}

/// The destination of an IPv4 packet (RFC 791, section 3.1: bytes 16 to 19).
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let version = packet.first()? >> 4;
    let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    (version == 4).then(|| Ipv4Addr::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_packets_have_a_destination_here() {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[16..].copy_from_slice(&[10, 77, 0, 3]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(10, 77, 0, 3)));
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[0x45]), None);
    }

    #[test]
    fn the_earliest_packet_is_delivered_first() {
        let now = Instant::now();
        let held =
            |millis, number| Reverse(Held { due: now + Duration::from_millis(millis), number, bytes: Vec::new() });
        let mut waiting: BinaryHeap<_> = [held(5, 1), held(1, 2), held(1, 3)].into();
        let order: Vec<u64> = std::iter::from_fn(|| waiting.pop().map(|Reverse(held)| held.number)).collect();
        assert_eq!(order, [2, 3, 1]);
    }
}
