//! What the other scenarios rely on: that hosts reach each other, or don't, and that DNS says what it is told.

use statemesh_tests::dns::{Dns, Record, SERVICE};
use statemesh_tests::network::{Host, Network, within};
use statemesh_tests::relay::Impairment;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure, process};
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("hosts that are cut off reach only the hub, and each other again afterwards", cut_off),
    Scenario::new("links delay and lose what they are told to", links_delay_and_lose),
    Scenario::new("DNS answers with the records of the moment", dns_changes),
];

const PORT: u16 = 9;

/// A host that sends every packet back.
fn echo(host: Host) -> Outcome {
    within(host, move || {
        let socket = UdpSocket::bind((host.address(), PORT))?;
        std::thread::spawn(move || {
            let mut packet = [0; 64];
            while let Ok((length, sender)) = socket.recv_from(&mut packet) {
                let _ = socket.send_to(packet.get(..length).unwrap_or_default(), sender);
            }
        });
        Ok(())
    })
}

/// Sends `count` packets at once, and gives the round trips of those that came back.
fn round_trips(to: Host, count: u8) -> Outcome<Vec<Duration>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(400)))?;
    let start = Instant::now();
    for number in 0..count {
        // What is cut off may be refused at once; that is no answer either.
        let _ = socket.send_to(&[number], (to.address(), PORT));
    }
    let mut packet = [0; 64];
    let mut found = Vec::new();
    while found.len() < usize::from(count) && socket.recv_from(&mut packet).is_ok() {
        found.push(start.elapsed());
    }
    Ok(found)
}

fn cut_off(_: &Scene) -> Outcome {
    let network = Network::new()?;
    let (a, b) = (network.add(1)?, network.add(2)?);
    echo(b)?;
    let answers = |from: Option<Host>| -> Outcome<bool> {
        let trips = match from {
            Some(host) => within(host, || round_trips(b, 3))?,
            None => round_trips(b, 3)?,
        };
        Ok(!trips.is_empty())
    };
    ensure!(answers(Some(a))?, "a does not reach b");
    ensure!(answers(None)?, "the hub does not reach b");
    network.cut_off(&[b])?;
    ensure!(!answers(Some(a))?, "a reaches b, which is cut off");
    ensure!(answers(None)?, "the hub does not reach b, which is cut off only from the others");
    network.reconnect(&[b])?;
    ensure!(answers(Some(a))?, "a does not reach b again");
    ensure!(answers(None)?, "the hub does not reach b again");
    Ok(())
}

fn links_delay_and_lose(scene: &Scene) -> Outcome {
    let impairment = Impairment { delay: Duration::from_millis(20), loss: 0.05 };
    let network = Network::impaired(impairment, scene.seed)?;
    let (a, b) = (network.add(1)?, network.add(2)?);
    echo(b)?;
    let trips = within(a, || {
        let mut all = Vec::new();
        for _ in 0..10 {
            all.extend(round_trips(b, 100)?);
        }
        Ok(all)
    })?;
    // 1,000 packets, each at risk twice: 902 are expected, with a standard deviation of 9.4.
    ensure!((850..=950).contains(&trips.len()), "{} of 1000 packets came back", trips.len());
    let fastest = trips.iter().min().copied().unwrap_or_default();
    ensure!(fastest >= Duration::from_millis(40), "a packet came back after {fastest:?}");
    ensure!(fastest < Duration::from_millis(80), "the fastest packet took {fastest:?}");
    println!("{} of 1000 came back, the fastest after {fastest:?}", trips.len());
    Ok(())
}

fn dns_changes(scene: &Scene) -> Outcome {
    let network = Network::new()?;
    let mut dns = Dns::start(&scene.folder)?;
    let resolve = || -> Vec<String> {
        let found = (SERVICE, 0).to_socket_addrs().map(|addresses| addresses.map(|a| a.ip().to_string()).collect());
        let mut found: Vec<String> = found.unwrap_or_default();
        found.sort_unstable();
        found.dedup();
        found
    };
    ensure!(resolve().is_empty(), "there are records before any is published");
    let record = |number| -> Outcome<Record> {
        let host = network.add(number)?;
        Ok(Record { label: format!("host-{number}"), address: host.address(), port: 7403 })
    };
    let (one, two) = (record(1)?, record(2)?);
    dns.publish(&[one, two.clone()])?;
    ensure!(resolve() == ["10.77.0.1", "10.77.0.2"], "it resolves to {:?}", resolve());
    dns.publish(std::slice::from_ref(&two))?;
    ensure!(resolve() == ["10.77.0.2"], "it resolves to {:?}", resolve());
    dns.stop()?;
    ensure!(resolve().is_empty(), "it resolves without a server");
    ensure!(process::running("knotd")?.is_empty(), "the server still runs");
    Ok(())
}
