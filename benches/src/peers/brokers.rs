//! Redis, NATS and RabbitMQ, with clients and responders in C.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, compile, free_ports, start_server, start_with_line};
use crate::client::Client;
use crate::environment::Environment;
use crate::failure::{Outcome, While, failure};
use crate::proc::Process;

/// Where Debian keeps RabbitMQ itself: what is in /usr/sbin runs only as another user.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// INCR on 1,000 keys; nothing is written to disk.
pub(super) fn redis(environment: &Environment) -> Outcome<Peer> {
    let client = compile(environment, "redis/client", &[])?;
    let [port] = free_ports()?;
    let server = start_server("redis-server", port, Path::new("redis-server"), |command| {
        let port = port.to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
    })?;
    Ok(peer(vec![server], port, client))
}

/// Core NATS, no JetStream; the responder is part of the server.
pub(super) fn nats(environment: &Environment) -> Outcome<Peer> {
    let (client, responder) = (compile(environment, "nats/client", &[])?, compile(environment, "nats/responder", &[])?);
    let [port] = free_ports()?;
    let server = start_server("nats-server", port, Path::new("nats-server"), |command| {
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
    })?;
    Ok(peer(vec![answering(&responder, port)?, server], port, client))
}

/// A classic queue that is not durable, transient messages, no acknowledgements, direct reply-to; the responder is part of the
/// server.
pub(super) fn rabbitmq(environment: &Environment) -> Outcome<Peer> {
    let (client, responder) = (
        compile(environment, "rabbitmq/client", &["-lrabbitmq"])?,
        compile(environment, "rabbitmq/responder", &["-lrabbitmq"])?,
    );
    if !Path::new(RABBITMQ).exists() {
        return failure(format!("{RABBITMQ} is not there (apt install rabbitmq-server)"));
    }
    let home = environment.out().join("rabbitmq");
    if home.exists() {
        std::fs::remove_dir_all(&home).while_at(home.display())?;
    }
    std::fs::create_dir_all(&home).while_at(home.display())?;
    std::fs::write(home.join("plugins"), "[].\n").while_at(home.display())?;
    let [port, cluster, names] = free_ports()?;
    // Erlang's name server would be started by the first node, and outlive it.
    let epmd = start_server("epmd", names, Path::new("epmd"), |command| {
        command.args(["-port", &names.to_string(), "-address", "127.0.0.1"]);
    })?;
    let server = start_server("rabbitmq-server", port, Path::new(RABBITMQ), |command| {
        let settings = [
            ("RABBITMQ_NODENAME", "bench@localhost".to_owned()),
            ("RABBITMQ_NODE_IP_ADDRESS", Ipv4Addr::LOCALHOST.to_string()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", cluster.to_string()),
            ("ERL_EPMD_PORT", names.to_string()),
            // It execs instead of staying as a shell between us and the server.
            ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
        ];
        command.envs(settings).env("HOME", &home);
        let folders = [
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
            ("RABBITMQ_CONFIG_FILE", "none"),
        ];
        command.envs(folders.map(|(name, file)| (name, home.join(file))));
    })?;
    Ok(peer(vec![answering(&responder, port)?, server, epmd], port, client))
}

fn answering(responder: &Path, port: u16) -> Outcome<Process> {
    let mut command = Command::new(responder);
    Ok(start_with_line("the responder", command.arg(port.to_string()))?.0)
}

fn peer(processes: Vec<Process>, port: u16, client: PathBuf) -> Peer {
    Peer { processes, address: (Ipv4Addr::LOCALHOST, port).into(), client: Client::Program(client) }
}
