//! Machines given as files, where the mesh runs others.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Mutex, Once};

use serde_json::{Value, json};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::{Daemon, Mesh};

/// Keeps what all daemons of this process warn of, a line for each.
struct Warnings;

static WARNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        WARNED.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

fn listen_for_warnings() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Warnings).unwrap());
}

/// A machine whose first state says which version it is.
fn version(id: &str, state: &str) -> Value {
    json!({"id": id, "initial": state, "states": {state: {}}})
}

/// A folder with these machines.
fn folder(name: &str, machines: &[Value]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("statemesh-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for machine in machines {
        std::fs::write(folder.join(format!("{}.json", machine["id"].as_str().unwrap())), machine.to_string()).unwrap();
    }
    folder
}

/// The first state of a new instance.
fn first_state(daemon: &Daemon, machine: &str, key: &str) -> Value {
    daemon.client().ok(&json!({"op": "start", "machine": machine, "key": key}))["value"].clone()
}

#[test]
fn a_daemon_that_joins_with_an_old_folder_takes_no_define_back_and_adds_what_nobody_knows() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    one.client().ok(&json!({"op": "define", "definition": version("z", "new")}));
    mesh.machines = vec![folder("old", &[version("x", "on"), version("y", "on"), version("z", "old")])];
    let two = mesh.start("two");
    two.sees(2);
    two.until("its files are judged", |daemon| {
        let machines = daemon.client().ok(&json!({"op": "machines"}));
        machines["machines"].as_array().unwrap().len() == 3
    });
    one.until("it has what was added", |daemon| {
        daemon.client().ok(&json!({"op": "machines"}))["machines"].as_array().unwrap().len() == 3
    });
    for daemon in [&one, &two] {
        for key in 0..4 {
            let name = daemon.node.handle().addresses().clients.port();
            assert_eq!(first_state(daemon, "z", &format!("{name}-{key}")), "new");
        }
    }
}

#[test]
fn a_folder_with_a_higher_revision_is_current_everywhere_and_so_is_the_old_one_with_a_higher_one_again() {
    let mut mesh = Mesh::new();
    listen_for_warnings();
    let id = "files-of-revisions";
    let (old, new) = (folder("v1", &[version(id, "old")]), folder("v2", &[version(id, "new")]));
    let mut daemons = Vec::new();
    for (revision, folder, state) in [(1, &old, "old"), (2, &new, "new"), (2, &old, "new"), (3, &old, "old")] {
        (mesh.machines, mesh.machines_revision) = (vec![folder.clone()], Some(revision));
        let name = format!("n{}", daemons.len());
        daemons.push(mesh.start(&name));
        daemons.iter().for_each(|daemon| daemon.sees(daemons.len()));
        for (n, daemon) in daemons.iter().enumerate() {
            daemon.until("it has the current version", |daemon| {
                let key = format!("{name}-{n}-{}", unused());
                first_state(daemon, id, &key) == state
            });
        }
    }
    let differing = |daemon: &Daemon| {
        let families = daemon.metrics.gather();
        let family = families.iter().find(|family| family.name() == "statemesh_machine_files_differing").unwrap();
        family.get_metric()[0].get_gauge().get_value()
    };
    assert_eq!(daemons.iter().map(differing).collect::<Vec<_>>(), [0.0, 1.0, 0.0, 0.0]);
    // A client hears of it, too, without the metrics.
    let told = |daemon: &Daemon| daemon.client().ok(&json!({"op": "machines"}));
    let told: Vec<_> = daemons.iter().map(told).collect();
    let differing: Vec<_> = told.iter().map(|reply| reply["files_differing"].clone()).collect();
    assert_eq!(differing, [Value::Null, json!([id]), Value::Null, Value::Null]);
    assert!(told.iter().all(|reply| reply["machines"][0]["revision"] == 3), "{told:?}");
    // So does the log: of an old folder that another one outdid, of one that differs though its revision is the same, and of the new one
    // that was rolled back.
    let warned: Vec<String> = WARNED.lock().unwrap().iter().filter(|line| line.contains(id)).cloned().collect();
    for (revision, of_the_mesh) in [(1, 2), (2, 2), (2, 3)] {
        let said = |line: &&String| {
            line.contains(&format!("revision={revision} mesh_revision={of_the_mesh} "))
                && line.contains("machine files differ from what the mesh runs")
        };
        assert_eq!(warned.iter().filter(said).count(), 1, "{revision} {of_the_mesh}: {warned:?}");
    }
    assert_eq!(warned.len(), 3, "{warned:?}");
}

/// A number that no other call gives.
fn unused() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
