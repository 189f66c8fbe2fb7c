//! The chart without a cluster: what it makes of values, and what it says of impossible ones. `HELM` names the program.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Command;

/// What helm makes of the chart with these values: the objects, or what it says.
fn template(values: &[&str]) -> Result<String, String> {
    let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/chart");
    let mut command = Command::new(helm);
    command.args(["template", "mesh"]).arg(chart).args(["--kube-version", "1.34.0"]);
    command.args(values.iter().flat_map(|value| ["--set", value]));
    let output = command.output().unwrap();
    let [printed, said] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() { Ok(printed) } else { Err(said) }
}

/// One object of those by its kind.
fn object(values: &[&str], kind: &str) -> Option<String> {
    let all = template(values).unwrap();
    all.split("\n---\n").find(|one| one.contains(&format!("\nkind: {kind}\n"))).map(str::to_owned)
}

#[test]
fn impossible_values_are_refused_in_words() {
    for (values, said) in [
        (&["replcas=5"][..], "replcas"),
        (&["mode=deployment"], "mode"),
        (&["replicas=0"], "replicas"),
        (&["replicas=three"], "replicas"),
        (&["partitions=70000"], "partitions"),
        (&["mesh=two words"], "mesh"),
        (&["service.type=ExternalName"], "type"),
        (&["service.ipFamilies={IPv5}"], "ipFamilies"),
        (&["security.mode=tls"], "mode"),
        (&["security.mode=none", "security.existingSecret=x"], "holds keys, which security.mode: none does not use"),
        (&["terminationGracePeriodSeconds=10", "preStopSeconds=9"], "daemons cannot hand their instances over"),
        (&["autoscaling.enabled=true", "mode=daemonset"], "autoscaling.enabled needs mode: statefulset"),
        (&["autoscaling.enabled=true", "autoscaling.minReplicas=10"], "more than autoscaling.maxReplicas"),
        (&["autoscaling.enabled=true", "autoscaling.cpuUtilization=0"], "by which of the two"),
        (&["machines.order=x"], "must end with .json"),
        (&["config.advertise=10.0.0.1"], "advertise is the chart's to set"),
        (&["config.listen.clients=1"], "listen.clients is the chart's to set"),
        (&["service.loadBalancerSourceRanges={10.0.0.0/8}"], "needs service.type: LoadBalancer"),
        (&["fullnameOverride=1mesh"], "must begin with a letter"),
        (&["fullnameOverride=me.sh"], "have no dots"),
    ] {
        let Err(why) = template(values) else { panic!("{values:?} were taken") };
        assert!(why.contains(said), "{values:?}: {why}");
    }
}

#[test]
fn settings_reach_the_file_as_the_daemon_reads_them() {
    let file = object(
        &[
            "config.limits\\.batch=5",
            "config.limits\\.message_bytes=4MiB",
            "reservedCores=2",
            "terminationGracePeriodSeconds=100",
        ],
        "ConfigMap",
    )
    .unwrap();
    for line in [
        "limits.batch = 5\n",
        "limits.message_bytes = \"4MiB\"\n",
        "reactor.threads = 2\n",
        "reactor.spin = \"reserved\"\n",
        "leave_timeout = \"92s\"\n",
        "listen.address = \"0.0.0.0\"\n",
        "discovery.service = \"mesh-statemesh-peers.default.svc.cluster.local.\"\n",
        "gossip.keys_file = \"/etc/statemesh/keys/gossip.keys\"\n",
        "birth = [\"mesh-statemesh-0\",\"mesh-statemesh-1\",\"mesh-statemesh-2\"]\n",
    ] {
        assert!(file.contains(line), "{line} is not in {file}");
    }
}

#[test]
fn the_first_three_pods_are_the_meshs_birth_or_as_many_as_there_are() {
    let file = |values: &[&str]| object(values, "ConfigMap").unwrap();
    assert!(file(&["replicas=1"]).contains("birth = [\"mesh-statemesh-0\"]\n"));
    assert!(file(&["replicas=9"]).contains("\"mesh-statemesh-2\"]\n"));
    assert!(!file(&["mode=daemonset"]).contains("birth"));
}

#[test]
fn a_revision_of_the_machines_reaches_the_file_in_whole_digits() {
    let machines = "machines.m\\.json=\\{\\}";
    let file = object(&[machines, "machinesRevision=202611291230"], "ConfigMap").unwrap();
    assert!(file.contains("machines_revision = 202611291230\n"), "{file}");
    assert!(!object(&[machines], "ConfigMap").unwrap().contains("machines_revision"));
}

#[test]
fn both_address_families_are_listened_on_when_asked_for() {
    for values in [&["service.ipFamilyPolicy=PreferDualStack"][..], &["service.ipFamilies={IPv6}"]] {
        assert!(object(values, "ConfigMap").unwrap().contains("listen.address = \"::\""), "{values:?}");
    }
}

#[test]
fn reserved_cores_make_requests_equal_to_limits_in_whole_cores() {
    let set = object(&["reservedCores=2"], "StatefulSet").unwrap();
    assert_eq!(set.matches("cpu: \"3\"").count(), 2, "{set}");
    assert_eq!(set.matches("memory: 1Gi").count(), 2, "{set}");
}

#[test]
fn a_given_secret_needs_no_hook_and_no_right_to_make_one() {
    for kind in ["Job", "Role", "RoleBinding"] {
        assert!(object(&[], kind).is_some(), "{kind}");
        assert!(object(&["security.existingSecret=mine"], kind).is_none(), "{kind}");
        assert!(object(&["security.mode=none"], kind).is_none(), "{kind}");
    }
    assert!(object(&["security.existingSecret=mine"], "StatefulSet").unwrap().contains("name: mine"));
}

#[test]
fn what_is_turned_on_or_off_is_there_or_not() {
    for (kind, on, off) in [
        ("NetworkPolicy", &[][..], &["networkPolicy.enabled=false"][..]),
        ("PodDisruptionBudget", &[], &["podDisruptionBudget.enabled=false"]),
        ("ServiceAccount", &["security.mode=none"], &["serviceAccount.create=false", "security.mode=none"]),
        ("HorizontalPodAutoscaler", &["autoscaling.enabled=true", "autoscaling.eventsPerSecond=1000"], &[]),
        ("ServiceMonitor", &["metrics.serviceMonitor.enabled=true"], &[]),
        ("PodMonitor", &["metrics.podMonitor.enabled=true"], &[]),
        ("DaemonSet", &["mode=daemonset"], &[]),
        ("StatefulSet", &[], &["mode=daemonset"]),
        ("Secret", &["extraObjects[0].kind=Secret", "extraObjects[0].metadata.name=x"], &[]),
    ] {
        assert!(object(on, kind).is_some(), "{kind} with {on:?}");
        assert!(object(off, kind).is_none(), "{kind} with {off:?}");
    }
}

#[test]
fn machines_are_defined_at_start() {
    let values = ["machines.lamp\\.json=\\{\"id\":\"lamp\"\\}", "machineConfigMaps={more}"];
    assert!(
        object(&values, "ConfigMap").unwrap().contains("machines = [\"/etc/statemesh/machines\",\"/machines/more\"]")
    );
    let set = object(&values, "StatefulSet").unwrap();
    assert!(set.contains("path: \"machines/lamp.json\"") && set.contains("mountPath: /machines/more"), "{set}");
}

/// Leaves of the schema without a description; below an object that has one, names speak for themselves.
fn undescribed(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return found.push(path.to_owned()) };
    for (name, below) in properties {
        if below["description"].is_null() {
            undescribed(&format!("{path}.{name}"), below, found);
        }
    }
}

#[test]
fn every_value_is_described() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/chart/values.schema.json");
    let schema = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut found = Vec::new();
    undescribed("", &schema, &mut found);
    assert!(found.is_empty(), "{found:?}");
    // helm-docs ends a description where two dashes come again.
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/chart/README.md")).unwrap();
    let empty: Vec<_> = page.lines().filter(|line| line.starts_with("| ") && line.ends_with("|  |")).collect();
    assert!(empty.is_empty(), "{empty:?}");
}

#[test]
fn the_autoscaler_begins_with_its_least_number() {
    let set = object(&["autoscaling.enabled=true", "autoscaling.minReplicas=5"], "StatefulSet").unwrap();
    assert!(set.contains("\n  replicas: 5\n"), "{set}");
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The commands of the pages about clusters: indented lines that begin so, without what follows a `|`, and such code in a sentence.
fn commands(program: &str) -> Vec<String> {
    let folder = root().join("docs/how-to/kubernetes");
    let mut pages: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.extend(["README.md", "docs/how-to/watch-a-cluster.md"].map(|page| root().join(page)));
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with(' '));
        let in_sentences = text.lines().filter(|line| !line.starts_with("    "));
        let in_sentences = in_sentences.flat_map(|line| line.split('`').skip(1).step_by(2));
        let wanted = lines.chain(in_sentences).filter(|line| line.starts_with(&format!("{program} ")));
        found.extend(wanted.map(|line| line.split(['|', '#']).next().unwrap_or_default().trim().to_owned()));
    }
    found
}

#[test]
fn what_the_pages_install_and_upgrade_is_what_the_chart_takes() {
    let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let of_upgrade = "--reset-then-reuse-values";
    let help = Command::new(&helm).args(["upgrade", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains(of_upgrade));
    let mut rendered = 0;
    for line in commands("helm") {
        let Some(rest) = ["helm install mesh ", "helm upgrade mesh "].iter().find_map(|verb| line.strip_prefix(verb))
        else {
            continue;
        };
        let rest = rest.replace(of_upgrade, "");
        let told = format!("\"$HELM\" template mesh --kube-version 1.34.0 {rest}");
        let output = Command::new("sh").args(["-c", &told]).env("HELM", &helm).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        rendered += 1;
    }
    assert!(rendered >= 8, "only {rendered} commands were found");
}

#[test]
fn what_the_pages_look_at_is_what_the_chart_makes() {
    let feed = std::fs::read_to_string(root().join("examples/pod-lifecycle/feed.yaml")).unwrap();
    let made = template(&[]).unwrap() + &feed;
    let mut looked_at = 0;
    for line in commands("kubectl") {
        for word in line.split_whitespace().map(|word| word.trim_matches('\'')) {
            let name = word.rsplit_once('/').map_or(word, |(_, name)| name).trim_end_matches("-0");
            let wanted = match word.split_once('=') {
                _ if name.starts_with("mesh-statemesh") || name == "pod-feed" => name.to_owned(),
                Some((label, value)) if label.starts_with("app.kubernetes.io/") => format!("{label}: {value}"),
                _ if word.starts_with("examples/") => {
                    assert!(root().join(word).is_file(), "{line}: there is no {word}");
                    continue;
                }
                _ => continue,
            };
            assert!(made.contains(&wanted), "{line}: the chart makes no {wanted}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 15, "only {looked_at} names were found");
}
