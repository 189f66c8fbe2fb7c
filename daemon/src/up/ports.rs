//! Which process holds a port, so that "in use" comes with a name.

use std::net::{SocketAddr, TcpListener, UdpSocket};
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

/// Who listens on this port, as far as we may know: `process 4711 (statemesh)`.
pub(crate) fn holder(transport: Transport, port: u16) -> Option<String> {
    let tables = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| inodes(&text, transport, port))
        .collect();
    let pid = inodes.iter().find_map(|inode| process_with(&format!("socket:[{inode}]")))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", name.trim()))
}

/// The sockets that listen on the port, from the kernel's table (proc(5)): local address, state and inode are its columns
/// 1, 3 and 9, numbers in hexadecimal but for the inode.
fn inodes(table: &str, transport: Transport, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let of_line = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (_, local) = columns.get(1)?.rsplit_once(':')?;
        let listens = transport == Transport::Udp || *columns.get(3)? == LISTEN;
        let same = u16::from_str_radix(local, 16).ok()? == port;
        (listens && same).then(|| columns.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(of_line).collect()
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
        let holder = holder(Transport::Tcp, address.port()).unwrap();
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
    }

    #[test]
    fn a_line_that_is_not_as_expected_names_nobody() {
        let table = "sl local\n 0: 0100007F:1CE8 0 0A 0 0 0 0 0 99\n 1: x\n 2: 0100007F:1CE8 0 01 0 0 0 0 0 98\n";
        assert_eq!(inodes(table, Transport::Tcp, 7400), ["99"]);
    }
}
