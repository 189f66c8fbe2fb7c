//! What watches a mesh: a real Prometheus. And what keeps strangers out: a NetworkPolicy, where the network enforces any.

use crate::fixture::{Fixture, NAME, NAMESPACE, name};
use crate::{Ended, Step, step};
use serde_json::{Value, json};
use statemesh_tests::cluster::output;
use statemesh_tests::{Outcome, ensure, wait_for};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const STEPS: &[Step] = &[
    step(
        "a Prometheus scrapes every pod as its annotations say, and promtool has nothing to say of its metrics",
        prometheus,
    ),
    step("a pod that the NetworkPolicy does not let in cannot connect", network_policy),
];

/// Ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus(fixture: &Fixture) -> Outcome<Ended> {
    for pod in fixture.pods()? {
        let address = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        let metrics = statemesh_tests::http::get(format!("{address}:7480").parse()?, "/metrics");
        let Ok(metrics) = metrics else {
            return Ok(Ended::LeftOut(format!("this machine does not reach the pods' network ({address})")));
        };
        promtool(&metrics.body)?;
    }
    let folder = fixture.folder.join("prometheus");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("prometheus.yml"), configuration(&fixture.pods()?)?)?;
    let port = free_port()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let log = std::fs::File::create(folder.join("prometheus.log"))?;
    let _server = Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
    let server = format!("http://127.0.0.1:{port}");
    let names: Vec<String> = fixture.pods()?.iter().map(name).collect();
    wait_for("every daemon is scraped", Duration::from_secs(60), || {
        let answer = output(Command::new("promtool").args(["query", "instant", &server, "statemesh_members"]))?;
        let seen = |pod: &String| answer.contains(&format!("pod=\"{pod}\""));
        if names.iter().all(seen) { Ok(Some(())) } else { Err(answer.into()) }
    })?;
    Ok(Ended::Passed)
}

fn promtool(metrics: &str) -> Outcome {
    let mut child =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, metrics.as_bytes())?;
    }
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success() && said.trim().is_empty(), "promtool: {said}");
    Ok(())
}

/// Each pod as its annotations say. Debian's Prometheus is built without the discovery by the API server, which reads the same.
fn configuration(pods: &[Value]) -> Outcome<String> {
    let target = |pod: &Value| -> Outcome<Value> {
        let annotation = |what: &str| pod["metadata"]["annotations"][format!("prometheus.io/{what}")].as_str();
        let (Some("true"), Some(port), Some("/metrics")) =
            (annotation("scrape"), annotation("port"), annotation("path"))
        else {
            return Err(format!("{} does not ask to be scraped: {}", name(pod), pod["metadata"]["annotations"]).into());
        };
        let address = pod["status"]["podIP"].as_str().unwrap_or_default();
        Ok(json!({"targets": [format!("{address}:{port}")], "labels": {"pod": name(pod)}}))
    };
    let targets = pods.iter().map(target).collect::<Outcome<Vec<_>>>()?;
    let jobs = json!([{"job_name": "pods", "static_configs": targets}]);
    // JSON is YAML.
    Ok(json!({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}).to_string())
}

fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn network_policy(fixture: &Fixture) -> Outcome<Ended> {
    let no_pod = "networkPolicy.clientsFrom[0].podSelector.matchLabels.no-pod=has-this";
    fixture.upgrade(&[no_pod])?;
    let pod = "stranger";
    let address = format!("tcp://{NAME}.{NAMESPACE}.svc:7400");
    let manifest = crate::bench::client_pod(fixture, pod, &address, &["ping"]);
    fixture.cluster.apply(&manifest)?;
    let ended = wait_for("the stranger's pod has ended", Duration::from_secs(60), || {
        let phase = fixture.cluster.get(&["pod", pod])?["status"]["phase"].as_str().unwrap_or_default().to_owned();
        Ok(Some(phase).filter(|phase| ["Succeeded", "Failed"].contains(&phase.as_str())))
    });
    let log = fixture.cluster.kubectl(&["logs", pod]).unwrap_or_default();
    fixture.cluster.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"])?;
    let policy = fixture.cluster.get(&["networkpolicy", NAME])?;
    fixture.upgrade(&[])?;
    ensure!(policy["spec"]["ingress"][1]["from"].is_array(), "the policy lets everybody in: {policy}");
    match ended?.0.as_str() {
        "Succeeded" => Ok(Ended::LeftOut(
            "this cluster's network plug-in enforces no NetworkPolicy: a stranger connected".to_owned(),
        )),
        _ => {
            ensure!(log.contains("no daemon") || log.contains("timed out"), "the stranger failed otherwise: {log}");
            Ok(Ended::Passed)
        }
    }
}
