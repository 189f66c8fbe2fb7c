//! The kernel by itself: what a reactor may rely on.

use std::io;

use parking_lot::Mutex;
use statemesh_transport::kernel::{Ending, Kernel, Ready};

use super::*;

struct Pair {
    net: SharedNet,
    client: VirtualKernel,
    server: VirtualKernel,
}

fn pair(faults: Faults) -> Pair {
    let mut net = Net::new(1, faults);
    let [a, b] = [0, 1].map(|_| net.add_host(Clock::default()));
    let [from, to] = [a, b].map(|host| net.add_poller(host));
    let address = SocketAddr::new(net.ip(b), 7400);
    net.listen(to, address);
    let net = Arc::new(Mutex::new(net));
    let mut client = VirtualKernel::new(Arc::clone(&net), a, from);
    let mut server = VirtualKernel::new(Arc::clone(&net), b, to);
    client.connect(address, 5).unwrap();
    client.watch(5).unwrap();
    server.poll(None, &mut Vec::new()).unwrap();
    let pair = Pair { net, client, server };
    pair.pass(Duration::from_secs(1));
    pair
}

impl Pair {
    fn pass(&self, time: Duration) {
        let mut net = self.net.lock();
        let until = net.now() + nanos(time);
        while let Some(at) = net.next_event().filter(|at| *at <= until) {
            net.advance(at);
        }
        net.advance(until);
    }

    fn accepted(&mut self) {
        let mut ready = Vec::new();
        self.server.poll(None, &mut ready).unwrap();
        assert_eq!(ready, [Ready::Listener(0)]);
        self.server.accept(0, 9).unwrap();
        self.server.watch(9).unwrap();
        assert_eq!(self.server.accept(0, 10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

fn ready(kernel: &mut VirtualKernel) -> Vec<Ready> {
    let mut ready = Vec::new();
    kernel.poll(None, &mut ready).unwrap();
    ready
}

const SEC: Duration = Duration::from_secs(1);

#[test]
fn bytes_arrive_in_order_through_small_buffers() {
    let mut pair =
        pair(Faults { send_buffer: 700, receive_buffer: 300, segment: 100, short_segments: 0.5, ..Faults::default() });
    pair.accepted();
    assert_eq!(ready(&mut pair.client), [Ready::Conn { key: 5, readable: false, hung_up: false }]);
    let sent: Vec<u8> = (0..5_000u32).map(|n| (n % 251) as u8).collect();
    let (mut at, mut got) = (0, Vec::new());
    let mut buffer = [0; 512];
    for _ in 0..1_000 {
        while let Ok(n) = pair.client.write(5, &sent[at..]) {
            at += n;
            if at == sent.len() {
                break;
            }
        }
        pair.pass(Duration::from_millis(1));
        ready(&mut pair.client);
        if !ready(&mut pair.server).is_empty() {
            while let Ok(n) = pair.server.read(9, &mut buffer) {
                got.extend_from_slice(&buffer[..n]);
            }
        }
    }
    assert_eq!(got, sent);
}

#[test]
fn a_reader_that_does_not_read_stops_its_writer_and_the_writer_is_told_when_there_is_room() {
    let mut pair = pair(Faults { send_buffer: 1_000, receive_buffer: 500, ..Faults::default() });
    pair.accepted();
    ready(&mut pair.client);
    let mut written = 0;
    for _ in 0..10 {
        while let Ok(n) = pair.client.write(5, &[1; 400]) {
            written += n;
        }
        pair.pass(SEC);
    }
    assert_eq!(written, 1_500);
    ready(&mut pair.client);
    ready(&mut pair.server);
    pair.pass(SEC);
    assert_eq!(ready(&mut pair.client), []);
    assert_eq!(pair.server.read(9, &mut [0; 4_096]).unwrap(), 500);
    pair.pass(SEC);
    assert_eq!(ready(&mut pair.client), [Ready::Conn { key: 5, readable: false, hung_up: false }]);
}

#[test]
fn across_a_cut_nothing_comes_until_it_heals_or_the_kernel_gives_up() {
    for heals in [true, false] {
        let mut pair = pair(Faults::default());
        pair.accepted();
        ready(&mut pair.client);
        pair.net.lock().cut(0, 1);
        pair.client.write(5, b"hello").unwrap();
        pair.pass(5 * SEC);
        assert!(!ready(&mut pair.server).iter().any(|r| matches!(r, Ready::Conn { readable: true, .. })));
        if heals {
            pair.net.lock().heal();
            pair.pass(SEC);
            assert_eq!(pair.server.read(9, &mut [0; 64]).unwrap(), 5);
            assert_eq!(pair.server.read(9, &mut [0; 64]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        } else {
            pair.pass(60 * SEC);
            assert_eq!(pair.client.read(5, &mut [0; 64]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }
}

#[test]
fn what_was_written_before_an_orderly_end_is_read_and_then_the_end() {
    let mut pair = pair(Faults::default());
    pair.accepted();
    ready(&mut pair.client);
    pair.client.write(5, b"bye").unwrap();
    pair.client.close(5, Ending::Orderly);
    pair.pass(SEC);
    let news = ready(&mut pair.server);
    assert_eq!(news, [Ready::Conn { key: 9, readable: true, hung_up: true }]);
    assert_eq!(pair.server.read(9, &mut [0; 64]).unwrap(), 3);
    assert_eq!(pair.server.read(9, &mut [0; 64]).unwrap(), 0);
    assert_eq!(pair.net.lock().open_sockets(0), 0);
}

#[test]
fn a_killed_process_resets_who_talks_to_it_and_then_refuses() {
    let mut pair = pair(Faults::default());
    pair.accepted();
    ready(&mut pair.client);
    pair.client.write(5, b"unread").unwrap();
    pair.pass(SEC);
    pair.net.lock().kill(1);
    pair.pass(SEC);
    assert_eq!(ready(&mut pair.client), [Ready::Conn { key: 5, readable: true, hung_up: true }]);
    assert_eq!(pair.client.read(5, &mut [0; 64]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let address = SocketAddr::new(pair.net.lock().ip(1), 7400);
    pair.client.connect(address, 6).unwrap();
    pair.client.watch(6).unwrap();
    pair.pass(SEC);
    assert_eq!(ready(&mut pair.client), [Ready::Conn { key: 6, readable: true, hung_up: true }]);
    assert_eq!(pair.client.read(6, &mut [0; 64]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn without_descriptors_nothing_is_accepted_or_opened() {
    let mut pair = pair(Faults::default());
    pair.net.lock().set_descriptors(1, 0);
    ready(&mut pair.server);
    assert_eq!(pair.server.accept(0, 9).unwrap_err().raw_os_error(), Some(24));
    pair.net.lock().set_descriptors(1, 1);
    pair.server.accept(0, 9).unwrap();
    let address = SocketAddr::new(pair.net.lock().ip(0), 1);
    assert_eq!(pair.server.connect(address, 10).unwrap_err().raw_os_error(), Some(24));
}

#[test]
fn datagrams_are_lost_doubled_and_late() {
    let faults = Faults { loss: 0.2, duplicate: 0.2, delay_max: SEC, ..Faults::default() };
    let mut net = Net::new(3, faults);
    let [a, b] = [0, 1].map(|_| net.add_host(Clock::default()));
    let poller = net.add_poller(b);
    let [from, to] = [a, b].map(|host| SocketAddr::new(net.ip(host), 7403));
    net.bind_datagrams(poller, to);
    (0..100u8).for_each(|n| net.send_datagram(from, to, &[n]));
    while let Some(at) = net.next_event() {
        net.advance(at);
    }
    assert_eq!(net.take_wanted(), [poller]);
    let got: Vec<u8> = std::iter::from_fn(|| net.receive_datagram(b, to)).map(|(_, bytes)| bytes[0]).collect();
    let different: BTreeSet<u8> = got.iter().copied().collect();
    assert!((60..95).contains(&different.len()) && got.len() > different.len(), "{got:?}");
    assert!(got.windows(2).any(|pair| pair[0] > pair[1]), "in another order");
}
