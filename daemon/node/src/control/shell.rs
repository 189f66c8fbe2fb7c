//! The shell around the control plane: the gossip socket, the queues, the resolver, the clock, and threads for what takes long.
#![expect(clippy::disallowed_methods, reason = "a shell has a clock")]

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_mesh::discovery::{Question, Records};
use statemesh_mesh::gossip::Keyring;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Control, Done, Output, Unanswered, Wake};
use crate::beats::PERIOD;
use crate::mailbox::ToControl;
use crate::node::{Ended, LeaveReport};
use crate::resolver::Resolver;

/// What the daemon's owner orders.
#[derive(Debug)]
pub(crate) enum Order {
    /// Hand everything over, for at most `patience`, and say goodbye.
    Leave {
        /// For how long.
        patience: Duration,
        /// Takes the report.
        done: oneshot::Sender<LeaveReport>,
    },
    /// Seal and open gossip with other keys.
    Rotate(Keyring),
    /// End the task.
    Stop,
    /// Panic.
    #[cfg(test)]
    Panic,
}

/// Longest datagram that is looked at; ours are shorter.
const DATAGRAM_BYTES: usize = 2_048;
/// Results of work that wait for the control plane.
const DONE_QUEUE: usize = 64;

/// Runs a control plane until it is told to stop.
pub(crate) async fn run(
    control: Control,
    gossip: UdpSocket,
    reactors: mpsc::Receiver<ToControl>,
    mut orders: mpsc::Receiver<Order>,
    failed: Arc<watch::Sender<Option<String>>>,
) {
    let ended = Ended::new(Arc::clone(&failed), "the control plane");
    let socket = match tokio::net::UdpSocket::from_std(gossip) {
        Ok(socket) => socket,
        Err(error) => {
            return ended.because(format!("gossip socket: {error}"));
        }
    };
    let (results, done) = mpsc::channel(DONE_QUEUE);
    let (answer, answers) = mpsc::channel(1);
    let resolver = resolver_of(&control).map(Arc::new);
    let mut shell =
        Shell { control, socket, reactors, resolver, results, done, answer, answers, left: Vec::new(), failed };
    let mut buffer = vec![0u8; DATAGRAM_BYTES];
    shell.handle(Wake::Tick);
    while let Some(wake) = shell.next_wake(&mut orders, &mut buffer).await {
        shell.handle(wake);
    }
    ended.in_order();
}

struct Shell {
    control: Control,
    socket: tokio::net::UdpSocket,
    reactors: mpsc::Receiver<ToControl>,
    resolver: Option<Arc<Resolver>>,
    results: mpsc::Sender<Done>,
    done: mpsc::Receiver<Done>,
    answer: mpsc::Sender<Result<Records, Unanswered>>,
    answers: mpsc::Receiver<Result<Records, Unanswered>>,
    /// Callers that wait until this daemon has left.
    left: Vec<oneshot::Sender<LeaveReport>>,
    failed: Arc<watch::Sender<Option<String>>>,
}

impl Shell {
    /// The next thing that happens; none once the owner orders to stop.
    async fn next_wake(&mut self, orders: &mut mpsc::Receiver<Order>, buffer: &mut [u8]) -> Option<Wake> {
        let now = Instant::now();
        // Also with nothing to do it leaves a beat.
        let due = self.control.next_deadline().map_or(now + PERIOD, |due| due.min(now + PERIOD));
        loop {
            return Some(tokio::select! {
                received = self.socket.recv_from(buffer) => match received {
                    Ok((len, from)) => Wake::Datagram { from, sealed: buffer.get(..len).unwrap_or_default().to_vec() },
                    // An ICMP error of an earlier datagram; the protocol finds out who is dead by itself.
                    Err(_) => continue,
                },
                Some(message) = self.reactors.recv() => Wake::Reactors(self.messages(message)),
                order = orders.recv() => match order? {
                    Order::Leave { patience, done } => {
                        self.left.push(done);
                        Wake::Leave { patience }
                    }
                    Order::Rotate(keys) => Wake::Rotate(keys),
                    Order::Stop => return None,
                    #[cfg(test)]
                    Order::Panic => panic!("as ordered"),
                },
                Some(done) = self.done.recv() => Wake::Done(done),
                Some(answer) = self.answers.recv() => Wake::Answered(answer),
                () = tokio::time::sleep_until(due.into()) => Wake::Tick,
            });
        }
    }

    /// A message of a reactor, and those that are there already.
    fn messages(&mut self, first: ToControl) -> Vec<ToControl> {
        let mut first = Some(first);
        ToControl::turn(|| first.take().or_else(|| self.reactors.try_recv().ok()))
    }

    fn handle(&mut self, wake: Wake) {
        self.control.handle(wake, Instant::now());
        while let Some(output) = self.control.poll() {
            match output {
                Output::Datagram { to, sealed } => {
                    // A full socket buffer loses a datagram, as the network may.
                    let _ = self.socket.try_send_to(&sealed, to);
                }
                Output::Ask(question) => self.ask(question),
                Output::Work(work) => {
                    let results = self.results.clone();
                    tokio::task::spawn_blocking(move || {
                        // The daemon is ending if it is not taken.
                        let _ = results.blocking_send(work.run());
                    });
                }
                Output::Left(report) => {
                    for waiting in self.left.drain(..) {
                        // The caller may have stopped waiting.
                        let _ = waiting.send(report);
                    }
                }
                Output::Failed(failure) => {
                    tracing::error!(reason = %failure, "this daemon cannot go on");
                    let _ = self.failed.send(Some(failure.to_string()));
                }
            }
        }
    }

    fn ask(&self, question: Question) {
        let (resolver, answer) = (self.resolver.clone(), self.answer.clone());
        tokio::spawn(async move {
            let result = match resolver {
                Some(resolver) => resolver.ask(&question).await.map_err(|error| {
                    tracing::debug!(%error, "DNS");
                    Unanswered
                }),
                None => Err(Unanswered),
            };
            // The daemon is ending if it is not taken.
            let _ = answer.send(result).await;
        });
    }
}

fn resolver_of(control: &Control) -> Option<Resolver> {
    let discovery = &control.shared.options.discovery;
    discovery.service.as_ref()?;
    let resolver = Resolver::new(discovery.dns_server);
    resolver.inspect_err(|error| tracing::error!(%error, "DNS cannot be asked; only configured seeds are tried")).ok()
}
