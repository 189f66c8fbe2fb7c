//! A Kubernetes cluster: kubectl and helm as a person types them, and what a test cluster on this machine can do besides.

use crate::{Outcome, wait_for};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names a folder with the commands of a cluster on this machine: `up` prints its kubeconfig's path, `image` puts an image onto
/// its nodes, `node stop|start N` takes the power from one, `down` ends it.
pub const TEST_CLUSTER: &str = "STATEMESH_TEST_CLUSTER";

/// A cluster and the namespace that is worked in.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    /// The folder of [`TEST_CLUSTER`], if it is such a one.
    commands: Option<PathBuf>,
    helm: PathBuf,
    /// The namespace.
    pub namespace: String,
    /// The cluster was started by [`Cluster::find`].
    started: bool,
}

impl Cluster {
    /// The cluster that KUBECONFIG names, or else the one of [`TEST_CLUSTER`], which is started.
    ///
    /// # Errors
    /// There is neither, or it does not start.
    pub fn find(namespace: &str) -> Outcome<Self> {
        let commands = std::env::var_os(TEST_CLUSTER).map(PathBuf::from);
        let helm = std::env::var_os("HELM").map_or_else(|| "helm".into(), PathBuf::from);
        let (kubeconfig, started) = match (std::env::var_os("KUBECONFIG"), &commands) {
            (Some(path), _) if !path.is_empty() => (PathBuf::from(path), false),
            (_, Some(folder)) => (up(folder)?, true),
            _ => return Err(format!("neither KUBECONFIG nor {TEST_CLUSTER} names a cluster").into()),
        };
        Ok(Self { kubeconfig, commands, helm, namespace: namespace.to_owned(), started })
    }

    /// Ends the cluster, if it was started here.
    ///
    /// # Errors
    /// Its command failed.
    pub fn down(&self) -> Outcome {
        match &self.commands {
            Some(folder) if self.started => output(&mut Command::new(folder.join("down"))).map(drop),
            _ => Ok(()),
        }
    }

    /// Whether it is one of this machine, with commands of its own.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.commands.is_some()
    }

    /// The file that names it.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The same cluster, another namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Self {
        Self { namespace: name.to_owned(), started: false, ..self.clone() }
    }

    /// One of a test cluster's commands.
    ///
    /// # Errors
    /// It is no test cluster, or the command failed.
    pub fn command(&self, name: &str, words: &[&str]) -> Outcome<String> {
        let folder = self.commands.as_ref().ok_or("this cluster has no commands of its own")?;
        output(Command::new(folder.join(name)).args(words))
    }

    fn tool(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig).args(["--namespace", &self.namespace]).args(words);
        command
    }

    /// A kubectl command in the namespace, to be run.
    #[must_use]
    fn kubectl_command(&self, words: &[&str]) -> Command {
        self.tool(Path::new("kubectl"), words)
    }

    /// What kubectl prints.
    ///
    /// # Errors
    /// It failed; the text has what it said.
    pub fn kubectl(&self, words: &[&str]) -> Outcome<String> {
        output(&mut self.kubectl_command(words))
    }

    /// What helm prints.
    ///
    /// # Errors
    /// It failed; the text has what it said.
    pub fn helm(&self, words: &[&str]) -> Outcome<String> {
        output(&mut self.tool(&self.helm, words))
    }

    /// `kubectl get ... -o json`.
    ///
    /// # Errors
    /// It failed.
    pub fn get(&self, words: &[&str]) -> Outcome<Value> {
        let text = self.kubectl(&[&["get"], words, &["--output", "json"]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The items of `kubectl get ... -o json`.
    ///
    /// # Errors
    /// It failed.
    pub fn items(&self, words: &[&str]) -> Outcome<Vec<Value>> {
        Ok(self.get(words)?["items"].as_array().cloned().unwrap_or_default())
    }

    /// `kubectl apply` of these objects.
    ///
    /// # Errors
    /// It failed.
    pub fn apply(&self, manifest: &Value) -> Outcome {
        let mut command = self.kubectl_command(&["apply", "--filename", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(manifest)?)?;
        }
        let ended = child.wait_with_output()?;
        crate::ensure!(ended.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }

    /// Waits until nothing of these kinds is left.
    ///
    /// # Errors
    /// Something is, after `limit`.
    pub fn gone(&self, words: &[&str], limit: Duration) -> Outcome {
        let what = format!("{} are gone", words.join(" "));
        wait_for(&what, limit, || Ok(self.items(words)?.is_empty().then_some(())))?;
        Ok(())
    }
}

fn up(folder: &Path) -> Outcome<PathBuf> {
    let mut command = Command::new(folder.join("up"));
    // Its daemons go on, so its output must not be a pipe that they hold open.
    let printed = std::env::temp_dir().join(format!("statemesh-cluster-{}", std::process::id()));
    let status = command.stdout(std::fs::File::create(&printed)?).stdin(Stdio::null()).status()?;
    crate::ensure!(status.success(), "{} failed: {status}", folder.join("up").display());
    let path = std::fs::read_to_string(&printed)?.trim().into();
    std::fs::remove_file(&printed)?;
    Ok(path)
}

/// Runs a command to its end and gives its stdout.
///
/// # Errors
/// It could not be started, or failed; the text has what it wrote to stderr.
pub fn output(command: &mut Command) -> Outcome<String> {
    let shown = format!("{:?}", command.get_program());
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    crate::ensure!(output.status.success(), "{shown} {} failed: {printed}{}", words.join(" "), said.trim());
    Ok(printed.into_owned())
}
