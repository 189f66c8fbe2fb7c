//! The metrics reference is made from a running daemon's own registry, so it cannot be out of date.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write;

use prometheus::proto::{MetricFamily, MetricType};
use statemesh_node::Node;
use statemesh_node::options::Options;
use statemesh_protocol::reply::Encoding;
use statemesh_protocol::request::Op;
use statemesh_protocol::request_writer::Ask;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");

const HEAD: &str = "# Metrics

Every daemon serves its metrics at `/metrics` on the HTTP port (7480), in Prometheus's text format. This page is made from
the registry of a running daemon; `UPDATE_DOCS=1 cargo test -p statemesh-node --test metrics` writes it anew.

Counters on the path of an event are kept by each reactor for itself and summed at each scrape.

| metric | type | labels | meaning |
|---|---|---|---|
";

fn families() -> Vec<MetricFamily> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let machine = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/order/machine.json").into();
    let options = Options { machines: vec![machine], ..Options::for_tests("docs") };
    let registry = prometheus::Registry::new();
    let node = Node::start(options, registry.clone(), runtime.handle().clone()).unwrap();
    let start = Ask::about(Op::Start, Encoding::Json, "order", "1");
    // Before the daemon is alone on purpose requests wait, so the answer says that the instance is there.
    runtime.block_on(node.handle().call((&start).into())).unwrap();
    let families = registry.gather();
    node.stop();
    families
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        _ => "other",
    }
}

fn page(families: &[MetricFamily]) -> String {
    let mut page = HEAD.to_owned();
    for family in families {
        let labels: BTreeSet<String> =
            family.get_metric().iter().flat_map(|m| m.get_label()).map(|label| format!("`{}`", label.name())).collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(" ");
        let labels = if labels.is_empty() { String::new() } else { format!(" {labels}") };
        writeln!(page, "| `{}` | {} |{labels} | {} |", family.name(), kind(family), family.help()).unwrap();
    }
    page
}

#[test]
fn the_reference_lists_what_a_daemon_serves() {
    let page = page(&families());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(written == page, "docs/reference/metrics.md is out of date: run it again with UPDATE_DOCS=1");
}
