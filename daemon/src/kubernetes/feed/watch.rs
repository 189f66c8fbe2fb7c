//! The loop of the feed: one enum names all that can wake it.

use super::super::cluster::{Cluster, Deed, cluster, failure};
use super::args::PodsArgs;
use super::mesh::{Mesh, Outcome};
use super::pod_diff::{self, PodEvent};
use super::view::View;
use crate::config::Target;
use crate::failure::{Exit, Failure};
use crate::output::{Printer, say, text};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often every instance is told anew where its pod is, so that one that was lost with its daemon agrees again.
pub(super) const RESYNC: Duration = Duration::from_secs(10);

/// The most pods that are watched: a look at one is about half a kilobyte.
const MAX_PODS: usize = 200_000;

/// What wakes the loop.
enum Wake {
    Pod(Box<Event<Pod>>),
    Trouble(watcher::Error),
    Resync,
    End,
}

/// Watches until it is told to end.
pub(crate) async fn run(args: &PodsArgs, target: Target, printer: &Printer) -> Result<(), Failure> {
    let cluster = cluster(None).await?;
    let api = pods(args, &cluster);
    let config =
        args.selector.as_deref().map_or_else(watcher::Config::default, |it| watcher::Config::default().labels(it));
    let stream = pin!(watcher(api.clone(), config).default_backoff());
    let feed = Feed {
        scope: scope(args, &cluster),
        mesh: Mesh::new(target, args.machine.clone()),
        machine: args.machine.clone(),
        api,
        known: BTreeMap::new(),
        listed: BTreeSet::new(),
        is_first_list: true,
        printer: *printer,
    };
    feed.follow(stream).await
}

/// The namespace that is watched; `None`: all.
pub(super) fn scope(args: &PodsArgs, cluster: &Cluster) -> Option<String> {
    let named = || args.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
    (!args.all_namespaces).then(named)
}

/// The pods that are watched.
pub(super) fn pods(args: &PodsArgs, cluster: &Cluster) -> Api<Pod> {
    match scope(args, cluster) {
        Some(namespace) => Api::namespaced(cluster.client.clone(), &namespace),
        None => Api::all(cluster.client.clone()),
    }
}

/// The key of a pod's instance.
pub(super) fn key(pod: &Pod) -> Option<String> {
    Some(format!("{}/{}", pod.metadata.namespace.as_deref()?, pod.metadata.name.as_deref()?))
}

struct Feed {
    scope: Option<String>,
    mesh: Mesh,
    machine: String,
    api: Api<Pod>,
    /// The last look at each pod, by its instance's key.
    known: BTreeMap<String, View>,
    /// The pods of a list that is not complete yet.
    listed: BTreeSet<String>,
    is_first_list: bool,
    printer: Printer,
}

impl Feed {
    async fn follow(
        mut self,
        mut stream: std::pin::Pin<&mut impl Stream<Item = Result<Event<Pod>, watcher::Error>>>,
    ) -> Result<(), Failure> {
        let mut resync = tokio::time::interval(RESYNC);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut terminate = signal(SignalKind::terminate())
            .map_err(|error| Failure::new(Exit::Start, "signals", format!("signals: {error}")))?;
        loop {
            let wake = tokio::select! {
                pod = stream.next() => match pod {
                    Some(Ok(event)) => Wake::Pod(Box::new(event)),
                    Some(Err(error)) => Wake::Trouble(error),
                    None => Wake::End,
                },
                _ = resync.tick() => Wake::Resync,
                _ = terminate.recv() => Wake::End,
            };
            let handled = async {
                match wake {
                    Wake::End => return Ok(true),
                    Wake::Pod(event) => self.handle(*event).await?,
                    Wake::Trouble(error) => self.complain(error)?,
                    Wake::Resync => self.sync_all().await?,
                }
                if self.mesh.take_doubt() {
                    self.sync_all().await?;
                }
                Ok(false)
            };
            // A mesh that takes nothing must not keep us from ending.
            let is_over = tokio::select! {
                handled = handled => handled?,
                _ = terminate.recv() => true,
            };
            if is_over {
                return Ok(());
            }
        }
    }

    async fn handle(&mut self, event: Event<Pod>) -> Result<(), Failure> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                if let Some(key) = self.look(&pod).await? {
                    self.listed.insert(key);
                }
            }
            Event::InitDone => self.forget_unlisted().await?,
            Event::Apply(pod) => drop(self.look(&pod).await?),
            Event::Delete(pod) => {
                if let (Some(key), Some(view)) = (key(&pod), View::of(&pod)) {
                    self.known.remove(&key);
                    self.tell(&key, &pod_diff::gone(&view)).await?;
                }
            }
        }
        Ok(())
    }

    /// Tells what happened to a pod since the last look. Pods that were there before us are told as they are.
    async fn look(&mut self, pod: &Pod) -> Result<Option<String>, Failure> {
        let (Some(key), Some(now)) = (key(pod), View::of(pod)) else { return Ok(None) };
        let news = match self.known.get(&key) {
            None if self.is_first_list => vec![pod_diff::sync(&now)],
            before => pod_diff::since(before, &now),
        };
        if self.known.len() >= MAX_PODS && !self.known.contains_key(&key) {
            let message = format!("there are more than {MAX_PODS} pods");
            return Err(Failure::new(Exit::Refused, "limit_exceeded", message).hint("--namespace or --selector"));
        }
        self.known.insert(key.clone(), now);
        for told in &news {
            self.tell(&key, told).await?;
        }
        Ok(Some(key))
    }

    /// At the end of a list: pods that are not on it are gone, and so are, the first time, those of instances without one.
    async fn forget_unlisted(&mut self) -> Result<(), Failure> {
        let gone: Vec<String> = self.known.keys().filter(|key| !self.listed.contains(*key)).cloned().collect();
        for key in gone {
            if let Some(view) = self.known.remove(&key) {
                self.tell(&key, &pod_diff::gone(&view)).await?;
            }
        }
        self.listed.clear();
        if std::mem::take(&mut self.is_first_list) {
            say!("{} pods; Ctrl-C ends", self.known.len());
            self.end_unseen().await?;
        }
        Ok(())
    }

    /// Tells instances whose pods vanished before we came. Whether a pod is not there or only not selected, the API server knows.
    async fn end_unseen(&mut self) -> Result<(), Failure> {
        let present = self.mesh.present().await.unwrap_or_else(|failure| {
            say!("warning: instances without a pod are not looked for: {}", failure.message);
            Vec::new()
        });
        for (key, seq) in present {
            let Some((namespace, name)) = key.split_once('/').filter(|_| !self.known.contains_key(&key)) else {
                continue;
            };
            if self.scope.as_deref().is_some_and(|scope| scope != namespace) {
                continue;
            }
            let api: Api<Pod> = Api::namespaced(self.api.clone().into_client(), namespace);
            match api.get_opt(name).await {
                Ok(Some(_)) => {}
                Ok(None) => self.tell(&key, &pod_diff::gone_unseen(seq)).await?,
                Err(error) => {
                    let deed = Deed { verbs: &["get"], resource: "pods", namespace: Some(namespace), name: None };
                    say!("warning: {key}: {}", failure(error, &deed).message);
                }
            }
        }
        Ok(())
    }

    async fn sync_all(&mut self) -> Result<(), Failure> {
        let all: Vec<(String, PodEvent)> =
            self.known.iter().map(|(key, view)| (key.clone(), pod_diff::sync(view))).collect();
        for (key, told) in all {
            self.mesh.tell(&key, &told).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, key: &str, told: &PodEvent) -> Result<(), Failure> {
        let outcome = self.mesh.tell(key, told).await?;
        let line = json!({"machine": self.machine, "key": key, "event": told.event});
        self.printer.next(&line, |_| format!("{}/{key}  {}", self.machine, text(&told.event["type"])))?;
        match self.known.get(key).filter(|_| outcome == Outcome::TakenAnew) {
            Some(view) => self.mesh.tell(key, &pod_diff::sync(view)).await.map(drop),
            None => Ok(()),
        }
    }

    /// The watcher tries again by itself; but what we may not see now, we may not see in a minute.
    fn complain(&self, error: watcher::Error) -> Result<(), Failure> {
        let deed = Deed { verbs: &["list", "watch"], resource: "pods", namespace: self.scope.as_deref(), name: None };
        let why = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => failure(error, &deed),
            other => Failure::new(Exit::Unreachable, "unreachable", other.to_string()),
        };
        if self.is_first_list && matches!(why.code.as_str(), "forbidden" | "unauthorized" | "refused") {
            return Err(why);
        }
        // Not its hint: that is for a person who typed a command.
        say!("warning: {}; trying again", why.message);
        Ok(())
    }
}
