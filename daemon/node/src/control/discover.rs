//! The task that carries out the plan of [`statemesh_mesh::discovery`].

use std::net::SocketAddr;
use std::time::Instant;

use statemesh_mesh::discovery::{Config, Discovery, Input, Output};
use statemesh_mesh::resolver::Resolver;
use tokio::sync::{mpsc, watch};

/// Looks for members until nobody listens any more. `joined` says whether the others are known already.
pub(super) fn spawn(
    config: Config,
    dns_server: Option<SocketAddr>,
    joined: watch::Receiver<bool>,
) -> mpsc::Receiver<Vec<SocketAddr>> {
    let (found, addresses) = mpsc::channel(1);
    tokio::spawn(look(config, dns_server, joined, found));
    addresses
}

async fn look(
    config: Config,
    dns_server: Option<SocketAddr>,
    mut joined: watch::Receiver<bool>,
    found: mpsc::Sender<Vec<SocketAddr>>,
) {
    let resolver = config.service.is_some().then(|| Resolver::new(dns_server)).transpose();
    let resolver = resolver.unwrap_or_else(|error| {
        tracing::error!(%error, "DNS cannot be asked; only configured seeds are tried");
        None
    });
    let mut plan = Discovery::new(config, Instant::now());
    loop {
        plan.handle(Input::Tick, Instant::now());
        while let Some(output) = plan.poll() {
            match output {
                Output::Found(addresses) => {
                    if found.send(addresses).await.is_err() {
                        return;
                    }
                }
                Output::Ask(question) => {
                    let answer = match &resolver {
                        Some(resolver) => resolver.ask(&question).await.map_err(|error| {
                            tracing::debug!(%error, "DNS");
                        }),
                        None => Err(()),
                    };
                    plan.handle(answer.map_or(Input::Failed, Input::Answer), Instant::now());
                }
            }
        }
        let due = plan.next_deadline().unwrap_or_else(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            changed = joined.changed() => {
                if changed.is_err() {
                    return;
                }
                let joined = *joined.borrow_and_update();
                plan.handle(Input::Joined(joined), Instant::now());
            }
        }
    }
}
