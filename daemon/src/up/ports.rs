//! Which process holds a port, so that "in use" comes with a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// Whether the address can be listened on now.
pub(crate) fn probe(transport: Transport, address: SocketAddr) -> std::io::Result<()> {
    match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    }
}

/// Which process has this address, as far as we may know: `process 4711 (statemesh)`. The same port of another address does not count.
pub(crate) fn holder(transport: Transport, address: SocketAddr) -> Option<String> {
    let tables = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| inodes(&text, transport, address))
        .collect();
    let pid = inodes.iter().find_map(|inode| process_with(&format!("socket:[{inode}]")))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", name.trim()))
}

/// The sockets that keep others from the address, from the kernel's table (proc(5)): local address, state and inode are its columns
/// 1, 3 and 9, numbers in hexadecimal but for the inode.
fn inodes(table: &str, transport: Transport, address: SocketAddr) -> Vec<String> {
    const LISTEN: &str = "0A";
    let of_line = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (ip, port) = columns.get(1)?.rsplit_once(':')?;
        let listens = transport == Transport::Udp || *columns.get(3)? == LISTEN;
        let ip = ip_of(ip)?;
        let same_ip = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let same = same_ip && u16::from_str_radix(port, 16).ok()? == address.port();
        (listens && same).then(|| columns.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

/// An address as the kernel's table has it: words of 32 bits, each in the machine's order.
fn ip_of(hexadecimal: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hexadecimal.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hexadecimal.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?);
            }
            let ip = Ipv6Addr::from(bytes);
            // A socket for both families shows the address of IPv4 inside one of IPv6.
            Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4))
        }
        _ => None,
    }
}

fn process_with(link: &str) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target == Path::new(link))
    };
    pids.into_iter().find(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(probe(Transport::Tcp, address).is_err());
        let holder = holder(Transport::Tcp, address).unwrap();
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
    }

    #[test]
    fn a_line_that_is_not_as_expected_names_nobody() {
        let table = "sl local\n 0: 0100007F:1CE8 0 0A 0 0 0 0 0 99\n 1: x\n 2: 0100007F:1CE8 0 01 0 0 0 0 0 98\n";
        assert_eq!(inodes(table, Transport::Tcp, "127.0.0.1:7400".parse().unwrap()), ["99"]);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn another_address_with_the_same_port_is_not_in_the_way() {
        let table = "sl local\n 0: 0200007F:1CE8 0 0A 0 0 0 0 0 2\n 1: 0100007F:1CE8 0 0A 0 0 0 0 0 1\n 2: 00000000:1CE9 0 0A 0 0 0 0 0 3\n";
        let found = |address: &str| inodes(table, Transport::Tcp, address.parse().unwrap());
        assert_eq!(found("127.0.0.1:7400"), ["1"]);
        assert_eq!(found("127.0.0.2:7400"), ["2"]);
        assert_eq!(found("0.0.0.0:7400"), ["2", "1"]);
        assert_eq!(found("127.0.0.9:7401"), ["3"]);
        let six = "sl local\n 0: 00000000000000000000000001000000:1CE8 0 0A 0 0 0 0 0 6\n";
        assert_eq!(inodes(six, Transport::Tcp, "[::1]:7400".parse().unwrap()), ["6"]);
    }
}
