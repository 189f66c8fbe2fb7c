//! The async client of a real mesh.

use nix::sys::signal::Signal;
use statemesh_client::{Answer, AsyncClient, AsyncError, ErrorCode, Event, Options, answers};
use statemesh_tests::mesh::Mesh;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "while a daemon leaves each of hundreds of futures has its answer, and each event counts once",
        leaves,
    ),
    Scenario::new("a request that is no request spoils none of those that are under way with it", spoils_nothing),
];

const KEYS: usize = 100;
const ROUNDS: usize = 12;
const ADD: Event<'_> = Event::Whole(br#"{"type":"ADD","n":1}"#);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// All that a runtime is to the client.
fn block_on<F: Future>(future: F) -> F::Output {
    let (waker, mut future) = (Waker::from(Arc::new(Unpark(std::thread::current()))), pin!(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn client(mesh: &Mesh, names: &[&str], to_owners: bool) -> Outcome<AsyncClient> {
    let addresses = names.iter().map(|name| Ok(mesh.clients(name)?.to_string())).collect::<Outcome<_>>()?;
    let tokens = Some(format!("futures-{to_owners}"));
    let options = Options { addresses, tokens, to_owners, patience: Duration::from_secs(20), ..Options::at("") };
    Ok(AsyncClient::new(options)?)
}

fn send_all(client: &AsyncClient, of: &str) -> Vec<Answer<answers::Outcome>> {
    (0..KEYS).map(|n| client.send("counter", &format!("{of}-{n}"), ADD)).collect()
}

fn leaves(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    // The one that leaves is the one that both know first.
    let clients = [client(&mesh, &["c", "a", "b"], false)?, client(&mesh, &["c", "a", "b"], true)?];
    for round in 0..ROUNDS {
        let waits: Vec<_> =
            [send_all(&clients[0], "home"), send_all(&clients[1], "owner")].into_iter().flatten().collect();
        if round == ROUNDS / 3 {
            mesh.daemon("c")?.signal(Signal::SIGTERM)?;
        }
        for wait in waits {
            let outcome = block_on(wait)?;
            ensure!(!outcome.restarted && outcome.conflict.is_none(), "something is gone: {outcome:?}");
            ensure!(outcome.new == (round == 0), "round {round} made an instance, or the first did not: {outcome:?}");
        }
    }
    let (status, _) = mesh.daemon_mut("c")?.wait_end(Duration::from_secs(25))?;
    ensure!(status.code() == Some(0), "c ended with {status}");
    for (client, of) in clients.iter().zip(["home", "owner"]) {
        let reads: Vec<_> = (0..KEYS).map(|n| client.get("counter", &format!("{of}-{n}"))).collect();
        let seqs = reads.into_iter().map(|read| Ok(block_on(read)?.outcome.seq)).collect::<Outcome<BTreeSet<_>>>()?;
        ensure!(seqs == BTreeSet::from([ROUNDS as u64]), "{of}: of {ROUNDS} events {seqs:?} were counted");
    }
    Ok(())
}

fn spoils_nothing(scene: &Scene) -> Outcome {
    let mesh = Mesh::whole(scene, &["a", "b"])?;
    let client = client(&mesh, &["a"], false)?;
    let large = format!(r#"{{"type":"ADD","n":"{}"}}"#, "x".repeat(2 << 20));
    let before = send_all(&client, "k");
    let wrong = [
        (client.send("counter", "k-0", Event::Whole(br#"{"type":"ADD","#)), ErrorCode::BadRequest),
        (client.send("counter", "k-1", Event::Whole(large.as_bytes())), ErrorCode::MessageTooLarge),
    ];
    let after = send_all(&client, "k");
    for (wait, code) in wrong {
        match block_on(wait) {
            Err(AsyncError::Client(error)) if error.code() == Some(code) => {}
            other => return Err(format!("not {code:?}: {other:?}").into()),
        }
    }
    for (wait, seq) in before.into_iter().map(|wait| (wait, 1)).chain(after.into_iter().map(|wait| (wait, 2))) {
        let outcome = block_on(wait)?;
        ensure!(outcome.seq == seq, "not in the order of the calls: {outcome:?}");
    }
    Ok(())
}
