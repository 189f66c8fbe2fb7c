//! A real DNS server, Knot, that answers as a headless Service does, and whose records change while it runs.

use crate::network::HUB;
use crate::{Outcome, process};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The zone that it serves.
const ZONE: &str = "mesh.test";
/// The name of the headless Service.
pub const SERVICE: &str = "daemons.mesh.test";
/// Where gossip listens, as the SRV records say.
pub const GOSSIP_PORT: u16 = 7403;

/// One endpoint of the Service.
#[derive(Clone, Debug)]
pub struct Record {
    /// The first label of its own name.
    pub label: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port of gossip.
    pub port: u16,
}

/// A running server.
#[derive(Debug)]
pub struct Dns {
    child: Child,
    folder: PathBuf,
    serial: u32,
}

impl Dns {
    /// Starts it at the hub's address, without records, as the system's server.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(scenario: &Path) -> Outcome<Self> {
        let folder = scenario.join("dns");
        fs::create_dir_all(folder.join("db"))?;
        fs::write(folder.join("knot.conf"), configuration(&folder))?;
        fs::write(folder.join("zone"), zone(1, &[]))?;
        let log = File::create(scenario.join("knot.log"))?;
        let child = Command::new("knotd")
            .arg("-c")
            .arg(folder.join("knot.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let server = Self { child, folder, serial: 1 };
        crate::wait_for("the DNS server answers its control socket", Duration::from_secs(10), || {
            server.control("status").map(Some)
        })?;
        // In the mount namespace of the scenario only.
        let resolver = server.folder.join("resolv.conf");
        fs::write(&resolver, format!("nameserver {HUB}\n"))?;
        process::run("mount", &["--bind", &resolver.to_string_lossy(), "/etc/resolv.conf"])?;
        Ok(server)
    }

    /// Replaces the Service's records.
    ///
    /// # Errors
    /// The server does not take them.
    pub fn publish(&mut self, records: &[Record]) -> Outcome {
        self.serial += 1;
        fs::write(self.folder.join("zone"), zone(self.serial, records))?;
        self.control("zone-reload")?;
        Ok(())
    }

    /// Ends the server for good.
    ///
    /// # Errors
    /// It was gone already.
    pub fn stop(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn control(&self, action: &str) -> Outcome<String> {
        let configuration = self.folder.join("knot.conf");
        process::run("knotc", &["-b", "-c", &configuration.to_string_lossy(), action])
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "server:\n  rundir: \"{folder}\"\n  listen: [ {HUB}@53 ]\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         control:\n  listen: \"/run/netns/knot.sock\"\n\
         database:\n  storage: \"{folder}/db\"\n\
         log:\n  - target: stdout\n    any: info\n\
         zone:\n  - domain: {ZONE}\n    file: \"{folder}/zone\"\n    zonefile-sync: -1\n    zonefile-load: whole\n"
    )
}

/// The zone as a headless Service has it: the Service's name has every address; each endpoint has a name of its own, to
/// which the SRV record of the gossip port points.
fn zone(serial: u32, records: &[Record]) -> String {
    let mut zone =
        format!("$ORIGIN {ZONE}.\n$TTL 1\n@ SOA ns.{ZONE}. admin.{ZONE}. {serial} 60 60 600 1\n@ NS ns\nns A {HUB}\n");
    for Record { label, address, port } in records {
        zone += &format!("{SERVICE}. A {address}\n{label}.{SERVICE}. A {address}\n");
        zone += &format!("_gossip._udp.{SERVICE}. SRV 0 10 {port} {label}.{SERVICE}.\n");
    }
    zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_an_address_and_a_port() {
        let record = Record { label: "a".to_owned(), address: Ipv4Addr::new(10, 77, 0, 1), port: 7403 };
        let zone = zone(7, &[record]);
        assert!(zone.contains("daemons.mesh.test. A 10.77.0.1\n"), "{zone}");
        assert!(zone.contains("SRV 0 10 7403 a.daemons.mesh.test.\n"), "{zone}");
        assert!(zone.contains(" 7 60 "), "{zone}");
    }
}
