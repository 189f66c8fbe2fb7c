//! `--check`: compares every pod with its instance, once.

use super::super::cluster::{ANSWER_TIMEOUT, Deed, cluster, failure};
use super::args::PodsArgs;
use super::mesh::Mesh;
use super::pod_diff;
use super::view::View;
use super::watch::{key, pods, scope};
use crate::config::Target;
use crate::failure::{Exit, Failure};
use crate::output::{Printer, Style, Table};
use kube::api::ListParams;
use serde_json::json;
use std::collections::BTreeMap;

/// Pods that are asked for at a time.
const PAGE: u32 = 500;

/// Says which instances differ from their pods.
pub(crate) async fn check(args: &PodsArgs, target: Target, printer: &Printer) -> Result<(), Failure> {
    let cluster = cluster(Some(ANSWER_TIMEOUT)).await?;
    let scope = scope(args, &cluster);
    let api = pods(args, &cluster);
    let mut params = ListParams { label_selector: args.selector.clone(), ..ListParams::default() }.limit(PAGE);
    let mut there = BTreeMap::new();
    loop {
        let deed = Deed { verbs: &["list"], resource: "pods", namespace: scope.as_deref(), name: None };
        let page = api.list(&params).await.map_err(|error| failure(error, &deed))?;
        there.extend(page.items.iter().filter_map(|pod| Some((key(pod)?, View::of(pod)?))));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    let mut mesh = Mesh::new(target, args.machine.clone());
    let mut differences: Vec<(String, String)> = Vec::new();
    for (key, view) in &there {
        let difference = match mesh.get(key).await? {
            Some(snapshot) => pod_diff::difference(view, &snapshot),
            None => Some("there is no instance".to_owned()),
        };
        differences.extend(difference.map(|what| (key.clone(), what)));
    }
    // With a selector, an instance without a pod on the list may have one all the same.
    if args.selector.is_none() && !there.is_empty() {
        let in_scope = |key: &str| {
            scope.as_ref().is_none_or(|scope| key.split_once('/').is_some_and(|(namespace, _)| namespace == scope))
        };
        let present = mesh.present().await?;
        let unseen = present.into_iter().filter(|(key, _)| !there.contains_key(key) && in_scope(key));
        differences.extend(unseen.map(|(key, _)| (key, "there is no pod".to_owned())));
    }
    let value = json!({
        "pods": there.len(),
        "differences": differences.iter().map(|(key, what)| json!({"key": key, "what": what})).collect::<Vec<_>>(),
    });
    printer.answer(&value, || {
        let mut table = Table::new(["INSTANCE", "DIFFERENCE"]).or("every instance says what the API server says");
        for (key, what) in &differences {
            table.styled([(format!("{}/{key}", args.machine), Style::Strong), (what.clone(), Style::Bad)]);
        }
        table
    })?;
    if differences.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Refused)) }
}
