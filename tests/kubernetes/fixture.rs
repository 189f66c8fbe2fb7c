//! The cluster, the namespace and the release that all steps work on.

use serde_json::{Value, json};
use statemesh_tests::cluster::{Cluster, output};
use statemesh_tests::{Outcome, ensure, figures, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The namespace; it enforces the strictest Pod Security Standard.
pub(crate) const NAMESPACE: &str = "statemesh-test";
/// The release, and the names that the chart makes of it.
pub(crate) const RELEASE: &str = "mesh";
pub(crate) const NAME: &str = "mesh-statemesh";
pub(crate) const SECRET: &str = "mesh-statemesh-keys";

/// For what a cluster does in seconds when it is idle, and in a minute when it is not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where the steps work.
pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) chart: PathBuf,
    /// `repository:tag`, such that the nodes can get it.
    pub(crate) image: String,
    /// The same program outside the cluster.
    pub(crate) binary: PathBuf,
    /// For keys, logs and figures.
    pub(crate) folder: PathBuf,
}

impl Fixture {
    pub(crate) fn open() -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).ok_or("no workspace")?.to_path_buf();
        let target = std::env::current_exe()?.ancestors().nth(3).ok_or("no target folder")?.to_path_buf();
        let cluster = Cluster::find(NAMESPACE)?;
        let image = match std::env::var("STATEMESH_TEST_IMAGE") {
            Ok(image) => image,
            Err(_) => {
                output(Command::new("cargo").args(["xtask", "image"]).current_dir(&root))?;
                "localhost/statemesh:test".to_owned()
            }
        };
        let binary = std::env::var_os("E2E_BINARY").map_or_else(|| target.join("release/statemesh"), PathBuf::from);
        let folder = target.join("kubernetes");
        std::fs::create_dir_all(&folder)?;
        let fixture = Self { cluster, chart: root.join("k8s/chart"), image, binary, folder };
        fixture.clear()?;
        fixture.make_namespace(NAMESPACE)?;
        Ok(fixture)
    }

    /// A namespace that enforces the strictest security.
    pub(crate) fn make_namespace(&self, name: &str) -> Outcome {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        self.cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
    }

    /// Takes away what an earlier run left.
    fn clear(&self) -> Outcome {
        self.cluster.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s"]).map(drop)
    }

    pub(crate) fn close(&self) -> Outcome {
        if std::env::var_os("STATEMESH_TEST_KEEP").is_some() {
            return Ok(());
        }
        let cleared = self.clear();
        self.cluster.down()?;
        cleared
    }

    /// Installs or upgrades a release in the namespace of `cluster`, and does not wait.
    pub(crate) fn helm(&self, cluster: &Cluster, verb: &str, release: &str, values: &[&str]) -> Outcome<String> {
        let chart = self.chart.display().to_string();
        let (repository, tag) = self.image.rsplit_once(':').ok_or("the image has no tag")?;
        let image = format!("image.repository={repository},image.tag={tag}");
        // Outside clients come in by a port of the nodes.
        let mut words =
            vec![verb, release, &chart, "--timeout=120s", "--set", &image, "--set", "service.type=NodePort"];
        values.iter().for_each(|value| words.extend(["--set", value]));
        cluster.helm(&words)
    }

    /// The same for the release of all steps, which waits until all is ready.
    pub(crate) fn upgrade(&self, values: &[&str]) -> Outcome {
        self.helm(&self.cluster, "upgrade", RELEASE, values)?;
        self.rolled_out()
    }

    /// Waits until the workload is what it was last told to be.
    pub(crate) fn rolled_out(&self) -> Outcome {
        let set = format!("statefulset/{NAME}");
        self.cluster.kubectl(&["rollout", "status", &set, "--timeout=180s"]).map(drop)
    }

    /// The daemons' pods.
    pub(crate) fn pods(&self) -> Outcome<Vec<Value>> {
        pods(&self.cluster, RELEASE)
    }

    /// What a verb prints in a daemon's pod, as JSON.
    pub(crate) fn ask(&self, pod: &str, words: &[&str]) -> Outcome<Value> {
        ask(&self.cluster, pod, words)
    }

    /// Waits until every daemon of `count` knows of as many.
    pub(crate) fn meshed(&self, count: usize, limit: Duration) -> Outcome<Duration> {
        meshed(&self.cluster, RELEASE, count, limit)
    }

    /// Writes the keys that an outside client needs into the folder.
    pub(crate) fn keys(&self) -> Outcome<(PathBuf, String)> {
        let path = self.folder.join("admin.key");
        std::fs::write(&path, self.entry("admin.key")?)?;
        Ok((path, self.entry("daemon.pub")?))
    }

    /// An entry of the Secret with the keys, as text.
    pub(crate) fn entry(&self, name: &str) -> Outcome<String> {
        let template = format!("go-template={{{{index .data {name:?} | base64decode}}}}");
        self.cluster.kubectl(&["get", "secret", SECRET, "--output", &template])
    }

    /// Keeps a figure for docs/, and prints it.
    pub(crate) fn figure(&self, name: &str, value: impl Into<Value>) -> Outcome {
        figures::record(&self.folder, name, value.into())
    }

    /// What can be seen when a step has failed.
    pub(crate) fn state(&self) -> String {
        let words: [&[&str]; 3] = [
            &["get", "pods", "--output", "wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "--selector", "app.kubernetes.io/component=daemon", "--tail=15", "--prefix"],
        ];
        let shown = words.map(|words| self.cluster.kubectl(words).unwrap_or_else(|failure| failure.to_string()));
        let tail = |text: &String| text.lines().rev().take(25).map(|line| format!("    {line}")).collect::<Vec<_>>();
        shown
            .iter()
            .map(|text| tail(text).into_iter().rev().collect::<Vec<_>>().join("\n"))
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

/// The pods of a release's daemons.
fn all_pods(cluster: &Cluster, release: &str) -> Outcome<Vec<Value>> {
    let selector = format!("app.kubernetes.io/component=daemon,app.kubernetes.io/instance={release}");
    cluster.items(&["pods", "--selector", &selector])
}

/// Those that are not on their way out.
pub(crate) fn pods(cluster: &Cluster, release: &str) -> Outcome<Vec<Value>> {
    let mut pods = all_pods(cluster, release)?;
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// What a verb prints in a daemon's pod, as JSON.
pub(crate) fn ask(cluster: &Cluster, pod: &str, words: &[&str]) -> Outcome<Value> {
    let command = [&["exec", pod, "--container=statemesh", "--", "statemesh", "--output=json"], words].concat();
    Ok(serde_json::from_str(&cluster.kubectl(&command)?)?)
}

/// Waits until there are `count` daemons that run and none on its way out, and then until each knows of as many that are alive:
/// how long that took.
pub(crate) fn meshed(cluster: &Cluster, release: &str, count: usize, limit: Duration) -> Outcome<Duration> {
    let running = |pods: &[Value]| pods.len() == count && pods.iter().all(|pod| pod["status"]["phase"] == "Running");
    // One on its way out hands off what it has, and is alive until it has left.
    let (pods, _) = wait_for(&format!("{count} pods run"), PATIENCE, || {
        Ok(Some(all_pods(cluster, release)?).filter(|pods| running(pods)))
    })?;
    let all = |pod: &Value| -> Outcome<bool> {
        let members = ask(cluster, &name(pod), &["members"])?;
        let alive = members.as_array().into_iter().flatten().filter(|member| member["status"] == "alive");
        Ok(alive.count() == count)
    };
    let (_, took) = wait_for(&format!("{count} members know each other"), limit, || {
        for pod in &pods {
            if !all(pod)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    ensure!(took <= limit, "it took {took:?}");
    Ok(took)
}
