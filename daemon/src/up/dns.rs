//! A DNS server that answers as the one of a Kubernetes cluster does for a headless Service: an address record for each
//! daemon that runs, under the Service's name and under its own, and a SRV record for each of its ports.

use crate::failure::{Exit, Failure};
use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// The name whose records are the daemons.
pub(crate) const SERVICE: &str = "statemesh.mesh.internal.";
const ZONE: &str = "mesh.internal.";
const TTL_SECS: u32 = 1;
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
const TCP_RESPONSES: usize = 16;

type Zone = InMemoryZoneHandler<TokioRuntimeProvider>;

/// A daemon as DNS knows it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    /// Its ports with the names that a Service gives them.
    pub(crate) ports: [(&'static str, u16); 5],
}

/// The server; it ends when it is dropped.
pub(crate) struct Dns {
    zone: Arc<Zone>,
    address: SocketAddr,
    serial: u32,
    _server: Server<Catalog>,
}

impl Dns {
    /// Starts on a free port of the loopback interface, without any daemon.
    pub(crate) async fn start() -> Result<Dns, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Exit::Start, "dns", format!("no port for the DNS server: {error}"));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = udp.local_addr().map_err(failed)?;
        // An answer that is longer than a datagram is asked for again over TCP, at the same port.
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let zone = Arc::new(zone(&[], 1)?);
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(name(ZONE)?), vec![Arc::clone(&zone) as Arc<dyn ZoneHandler>]);
        let mut server = Server::new(catalog);
        server.register_socket(udp);
        server.register_listener(tcp, TCP_TIMEOUT, TCP_RESPONSES);
        Ok(Dns { zone, address, serial: 1, _server: server })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with these daemons from now on. The records are replaced at once: no query sees half of them.
    pub(crate) async fn publish(&mut self, hosts: &[Host]) -> Result<(), Failure> {
        self.serial += 1;
        let mut next = zone(hosts, self.serial)?;
        *self.zone.records_mut().await = std::mem::take(next.records_get_mut());
        Ok(())
    }
}

fn zone(hosts: &[Host], serial: u32) -> Result<Zone, Failure> {
    let origin = name(ZONE)?;
    let mut zone = Zone::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let ttl = i32::try_from(TTL_SECS).unwrap_or(1);
    let soa = SOA::new(origin.clone(), origin.clone(), serial, ttl, ttl, ttl, TTL_SECS);
    zone.upsert_mut(Record::from_rdata(origin, TTL_SECS, RData::SOA(soa)), serial);
    for host in hosts {
        let own = name(&format!("{}.{SERVICE}", host.name))?;
        let address = match host.ip {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        zone.upsert_mut(Record::from_rdata(name(SERVICE)?, TTL_SECS, address.clone()), serial);
        zone.upsert_mut(Record::from_rdata(own.clone(), TTL_SECS, address), serial);
        for (port_name, port) in host.ports {
            let transport = if port_name == "gossip" { "udp" } else { "tcp" };
            let at = name(&format!("_{port_name}._{transport}.{SERVICE}"))?;
            let srv = RData::SRV(SRV::new(0, 100, port, own.clone()));
            zone.upsert_mut(Record::from_rdata(at, TTL_SECS, srv), serial);
        }
    }
    Ok(zone)
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::from_ascii(text)
        .map_err(|error| Failure::new(Exit::Start, "dns", format!("'{text}' is no DNS name: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question as a resolver sends it (RFC 1035, 4.1): one query, recursion desired.
    fn question(name: &str, record_type: u16) -> Vec<u8> {
        let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.trim_end_matches('.').split('.') {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend(label.bytes());
        }
        packet.push(0);
        packet.extend(record_type.to_be_bytes());
        packet.extend(1u16.to_be_bytes());
        packet
    }

    async fn ask(server: SocketAddr, name: &str, record_type: u16) -> (u8, u16, Vec<u8>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question(name, record_type), server).await.unwrap();
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer).await.unwrap();
        answer.truncate(length);
        (answer[3] & 0x0f, u16::from_be_bytes([answer[6], answer[7]]), answer)
    }

    fn host(index: u8) -> Host {
        let ports = [("clients", 7400), ("changes", 7401), ("peers", 7402), ("gossip", 7403), ("http", 7480)];
        Host { name: format!("node-{index}"), ip: Ipv4Addr::new(127, 0, 0, index).into(), ports }
    }

    const A_RECORD: u16 = 1;
    const SRV_RECORD: u16 = 33;

    #[tokio::test]
    async fn the_records_are_those_of_the_daemons_that_run() {
        let mut dns = Dns::start().await.unwrap();
        dns.publish(&[host(1), host(2), host(3)]).await.unwrap();
        let (code, answers, packet) = ask(dns.address(), SERVICE, A_RECORD).await;
        assert_eq!((code, answers), (0, 3));
        assert!(packet.windows(4).any(|bytes| bytes == [127, 0, 0, 3]));
        let (_, answers, packet) = ask(dns.address(), &format!("_gossip._udp.{SERVICE}"), SRV_RECORD).await;
        assert_eq!(answers, 3);
        assert!(packet.windows(2).any(|bytes| bytes == 7403u16.to_be_bytes()));

        dns.publish(&[host(2)]).await.unwrap();
        assert_eq!(ask(dns.address(), SERVICE, A_RECORD).await.1, 1);
        let (code, answers, _) = ask(dns.address(), &format!("node-1.{SERVICE}"), A_RECORD).await;
        assert_eq!((code, answers), (3, 0), "a daemon that ended has no name any more");
    }
}
