//! Actor frameworks: one node with an actor for each key, and a second process that asks it as another member of the cluster
//! would. A client that is told what to do by lines of stdin stays for all rounds, since it has a cluster to join and, on the JVM,
//! a compiler to wait for.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use super::{Peer, start_with_line, start_with_port};
use crate::client::{Client, Session, spec};
use crate::environment::Environment;
use crate::failure::{Outcome, While};
use crate::proc;
use crate::work::{self, Work};
use statemesh_load::Pace;

/// The goal that xtask's Java example uses too.
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
/// Load before the first round: every actor is there, and the just-in-time compilers have seen both loops.
const WARM_UP: [(usize, Duration); 2] = [(256, Duration::from_secs(4)), (1, Duration::from_secs(2))];

/// Apache Pekko: a sharding region, and a node with its proxy.
pub(super) fn pekko(environment: &Environment) -> Outcome<Peer> {
    let (sources, build) = (environment.peers().join("pekko"), environment.out().join("pekko"));
    let jars = build.join("jars");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", COPY_DEPENDENCIES]).arg(format!("-DoutputDirectory={}", jars.display()));
    proc::output(maven.current_dir(&sources)).while_at("Pekko's libraries")?;
    let classes = format!("{}:{}/*", build.display(), jars.display());
    let mut compiler = Command::new("javac");
    compiler.args(["-encoding", "UTF-8", "-cp", &classes, "-d"]).arg(&build);
    proc::output(compiler.args(["Lamps.java", "Client.java"].map(|name| sources.join(name)))).while_at("javac")?;
    let java = |class: &str| {
        let mut java = Command::new("java");
        java.args(["-Xms256m", "-Xmx512m", "-cp", &classes, class]);
        java
    };
    let (server, address) = start_with_port("Pekko", &mut java("Lamps"))?;
    let client = Client::Session(Session::start(java("Client").arg(address.port().to_string()))?);
    warm_up(environment, &client, address)?;
    Ok(Peer { processes: vec![server], address, client })
}

/// Proto.Actor for Go: a member, and a cluster client.
pub(super) fn proto_actor(environment: &Environment) -> Outcome<Peer> {
    let program = environment.out().join("protoactor");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".").current_dir(environment.peers().join("protoactor"));
    proc::output(&mut go).while_at("a Go compiler and Proto.Actor's modules")?;
    let (server, line) = start_with_line("Proto.Actor", Command::new(&program).arg("serve"))?;
    let (port, id) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let address = (Ipv4Addr::LOCALHOST, port.parse::<u16>().while_at("Proto.Actor's port")?).into();
    let client = Client::Session(Session::start(Command::new(&program).args(["client", port, id]))?);
    warm_up(environment, &client, address)?;
    Ok(Peer { processes: vec![server], address, client })
}

fn warm_up(environment: &Environment, client: &Client, address: SocketAddr) -> Outcome {
    let work = Work::new(&work::keys(0, work::KEYS));
    for (in_flight, measured) in WARM_UP {
        let spec = spec(Pace::Closed { in_flight }, Duration::ZERO, measured);
        client.run(address, &work, &spec, environment.out())?;
    }
    Ok(())
}
