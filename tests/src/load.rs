//! Load: clients that send at a steady rate, each to keys of its own, until they are told to stop.

use crate::caller::{Caller, Encoding, PATIENCE};
use crate::client_history::{ClientHistory, Totals, contradiction};
use crate::{Failure, Outcome};
use omq_proto::SocketType;
use serde_json::{Value, json};
use statemesh_client::{Connection as Client, ConnectionError};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend};

/// Which implementation of ZMTP a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The project's direct client.
    Direct,
    /// The `zeromq` crate, which shares no code with the daemon.
    ZeroMq,
}

/// What one client does.
#[derive(Clone, Debug)]
pub struct Load {
    /// The daemon that it is connected to.
    pub target: SocketAddr,
    /// Begins the names of its keys, so that no two clients share one.
    pub label: String,
    /// Keys.
    pub keys: usize,
    /// Between two events.
    pub every: Duration,
    /// Events on their way at a time.
    pub in_flight: usize,
    /// Encoding of its requests.
    pub encoding: Encoding,
    /// Its implementation of ZMTP.
    pub through: Through,
}

impl Load {
    /// 500 events a second to 20 keys, up to 16 on their way.
    #[must_use]
    pub fn on(target: SocketAddr, label: &str) -> Self {
        Self {
            target,
            label: label.to_owned(),
            keys: 20,
            every: Duration::from_millis(2),
            in_flight: 16,
            encoding: Encoding::Json,
            through: Through::Direct,
        }
    }
}

/// After the last event, answers may still take this long: longer than any bound of the daemon.
const LAST_ANSWERS: Duration = Duration::from_secs(12);
/// Contradictions that a failure lists.
const LISTED: usize = 12;

/// A connection as load needs it.
enum Wire {
    Direct(Box<Client>),
    ZeroMq(tokio::runtime::Runtime, DealerSocket),
}

impl Wire {
    fn connect(load: &Load) -> Outcome<Self> {
        match load.through {
            Through::Direct => Ok(Self::Direct(Box::new(Client::connect(load.target, SocketType::Dealer, PATIENCE)?))),
            Through::ZeroMq => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let mut socket = DealerSocket::new();
                runtime.block_on(socket.connect(&format!("tcp://{}", load.target)))?;
                Ok(Self::ZeroMq(runtime, socket))
            }
        }
    }

    fn send(&mut self, frame: Vec<u8>) -> Outcome {
        match self {
            Self::Direct(client) => {
                client.push(&frame);
                Ok(client.flush()?)
            }
            Self::ZeroMq(runtime, socket) => Ok(runtime.block_on(socket.send(frame.into()))?),
        }
    }

    fn receive(&mut self, limit: Duration) -> Outcome<Option<Vec<u8>>> {
        match self {
            Self::Direct(client) => match client.receive(limit) {
                Ok(message) => {
                    Ok(Some(message.part_slice(message.len().saturating_sub(1)).unwrap_or_default().to_vec()))
                }
                Err(ConnectionError::Io { source, .. }) if source.kind() == ErrorKind::TimedOut => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::ZeroMq(runtime, socket) => {
                let received = runtime.block_on(async { tokio::time::timeout(limit, socket.recv()).await });
                match received {
                    Ok(message) => Ok(message?.into_vec().pop().map(|frame| frame.to_vec())),
                    Err(_) => Ok(None),
                }
            }
        }
    }
}

/// Clients that run in the background.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<(Load, JoinHandle<Outcome<ClientHistory>>)>,
}

impl Background {
    /// Starts the clients; the first answer has come to each when this returns.
    ///
    /// # Errors
    /// A client gets no answer.
    pub fn start(loads: Vec<Load>) -> Outcome<Self> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let count = loads.len() as u64;
        let clients = loads
            .into_iter()
            .map(|load| {
                let (stop, answered, own) = (Arc::clone(&stop), Arc::clone(&answered), load.clone());
                (load, std::thread::spawn(move || client(&own, &stop, &answered)))
            })
            .collect();
        let background = Self { stop, answered, clients };
        background.go_on(count)?;
        Ok(background)
    }

    /// Waits until `more` further events were answered: the load is still there, and has passed what happened before.
    ///
    /// # Errors
    /// They are not within 20 s.
    pub fn go_on(&self, more: u64) -> Outcome {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        crate::wait_for(&format!("{more} further events are answered"), Duration::from_secs(20), || {
            Ok((self.answered.load(Ordering::Relaxed) >= goal).then_some(()))
        })?;
        Ok(())
    }

    /// Stops the clients and gives their history.
    ///
    /// # Errors
    /// A connection failed.
    pub fn stop(self) -> Outcome<Vec<ClientHistory>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut histories = Vec::new();
        for (load, handle) in self.clients {
            let ended = handle.join().map_err(|_| Failure::from("a client panicked"))?;
            histories.push(ended.map_err(|failure| format!("client {} on {}: {failure}", load.label, load.target))?);
        }
        Ok(histories)
    }

    /// Stops the clients and checks everything: no error, no loss, no repetition, every order kept, and each instance,
    /// asked through `at`, as its client's history say.
    ///
    /// # Errors
    /// Something contradicts; the text lists it.
    pub fn stop_flawless(self, at: SocketAddr) -> Outcome<Totals> {
        let histories = self.stop()?;
        let mut found: Vec<String> = histories.iter().flat_map(ClientHistory::violations).collect();
        let mut caller = Caller::connect(at)?;
        for (key, events, last) in histories.iter().flat_map(ClientHistory::expected) {
            let instance = caller.ask(json!({"op": "get", "machine": "counter", "key": key}))?;
            let history = caller.ask(json!({"op": "history", "machine": "counter", "key": key}))?;
            found.extend(contradiction(&key, events, last, &instance, &history));
        }
        totals(&histories, &found)
    }

    /// Stops the clients and checks the same where owners may have died: what was acknowledged is there, asked through `at`, or a reply
    /// has said that its instance was lost. Gives the keys of these, too.
    ///
    /// # Errors
    /// Something contradicts; the text lists it.
    pub fn stop_with_losses(self, at: SocketAddr) -> Outcome<(Totals, Vec<String>)> {
        let histories = self.stop()?;
        let (mut found, mut caller) = (Vec::new(), Caller::connect(at)?);
        for (contradictions, ends) in histories.iter().map(ClientHistory::judge_with_losses) {
            found.extend(contradictions);
            for (key, last, unknown) in ends {
                let instance = caller.ask(json!({"op": "get", "machine": "counter", "key": key}))?;
                let seq = instance["seq"].as_u64().unwrap_or(0);
                let is_there = (last..=last + unknown).contains(&seq) && instance["context"]["count"] == seq;
                // What no client has been told yet would be said to the one that asks now.
                if !is_there || instance["restarted"] == true {
                    found.push(format!(
                        "{key}: {last} to {} events should be there, but it is {instance}",
                        last + unknown
                    ));
                }
            }
        }
        let lost = histories.iter().flat_map(|history| history.restarted().iter().cloned()).collect();
        Ok((totals(&histories, &found)?, lost))
    }
}

/// What became of the events of all clients, if nothing contradicts.
fn totals(histories: &[ClientHistory], found: &[String]) -> Outcome<Totals> {
    let totals = add(histories);
    println!("load: {} events acknowledged, slowest {:?}", totals.acknowledged, totals.slowest);
    if found.is_empty() {
        return Ok(totals);
    }
    let listed = found.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n  ");
    Err(format!("{} contradictions; refused: {:?}; the first:\n  {listed}", found.len(), totals.refused).into())
}

/// What became of the events of all clients together.
#[must_use]
pub fn add(histories: &[ClientHistory]) -> Totals {
    histories.iter().map(ClientHistory::totals).fold(Totals::default(), |mut sum, one| {
        sum.acknowledged += one.acknowledged;
        sum.slowest = sum.slowest.max(one.slowest);
        one.refused.into_iter().for_each(|(code, count)| *sum.refused.entry(code).or_default() += count);
        sum
    })
}

fn client(load: &Load, stop: &AtomicBool, answered: &AtomicU64) -> Outcome<ClientHistory> {
    let mut wire = Wire::connect(load)?;
    let mut history = ClientHistory::new((0..load.keys).map(|n| format!("{}-{n}", load.label)).collect());
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let free = history.unanswered() < load.in_flight;
        if free && now >= due {
            wire.send(load.encoding.write(&history.next(now))?)?;
            // A client that was held up does not catch up with a burst: the rate is a ceiling.
            due = (due + load.every).max(now);
        }
        let wait = if history.unanswered() < load.in_flight {
            due.saturating_duration_since(Instant::now())
        } else {
            load.every
        };
        take(load, &mut wire, wait, &mut history, answered)?;
    }
    let end = Instant::now() + LAST_ANSWERS;
    while history.unanswered() > 0 && Instant::now() < end {
        take(load, &mut wire, Duration::from_millis(50), &mut history, answered)?;
    }
    Ok(history)
}

fn take(load: &Load, wire: &mut Wire, limit: Duration, history: &mut ClientHistory, answered: &AtomicU64) -> Outcome {
    if let Some(bytes) = wire.receive(limit)? {
        let reply: Value = load.encoding.read(&bytes)?;
        history.reply(&reply, Instant::now());
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
