//! A Kubernetes Secret as a store of keys. Its resource version tells whether others wrote meanwhile.

use super::store::{Entries, Store};
use crate::failure::{Exit, Failure};
use crate::key_files::wrong;
use crate::kubernetes::{self, Deed};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as Object;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Error};
use std::collections::BTreeMap;
use tokio::runtime::Runtime;

/// Marks a Secret that we made: only such a one is deleted.
const MADE_BY: &str = "statemesh.io/made-by";
const US: &str = "statemesh-keys";

/// The API server takes no larger object.
const MAX_SECRET_BYTES: usize = 1 << 20;

const CREATE: &[&str] = &["create"];

/// A Secret, which may not exist yet.
pub(super) struct Secret {
    runtime: Runtime,
    api: Api<Object>,
    namespace: String,
    name: String,
    /// The entries that are read; there may be others, which are none of our business.
    entries: Vec<String>,
    /// The labels of a Secret that is made.
    labels: BTreeMap<String, String>,
}

impl Secret {
    /// Finds the cluster.
    pub(super) fn open(
        name: &str,
        namespace: Option<&str>,
        entries: &[&str],
        labels: &[String],
    ) -> Result<Secret, Failure> {
        let runtime = kubernetes::runtime()?;
        let cluster = runtime.block_on(kubernetes::cluster(Some(kubernetes::ANSWER_TIMEOUT)))?;
        let namespace = namespace.map_or(cluster.namespace, str::to_owned);
        Ok(Secret {
            api: Api::namespaced(cluster.client, &namespace),
            runtime,
            namespace,
            name: name.to_owned(),
            entries: entries.iter().map(|entry| (*entry).to_owned()).collect(),
            labels: labels.iter().map(|label| parse_label(label)).collect::<Result<_, _>>()?,
        })
    }

    /// Deletes the Secret if we made it. `false` if there is none.
    pub(super) fn delete(&self) -> Result<bool, Failure> {
        let Some(object) = self.get()? else { return Ok(false) };
        if !is_ours(&object.metadata) {
            let message = format!("{} was not made by `statemesh keys init`", self.title());
            let hint = format!("kubectl delete secret {} --namespace {}", self.name, self.namespace);
            return Err(Failure::new(Exit::Refused, "not_ours", message).hint(hint));
        }
        // Not one that was put in its place since.
        let preconditions = Preconditions { uid: object.metadata.uid, resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.runtime.block_on(self.api.delete(&self.name, &params)) {
            Ok(_) => Ok(true),
            Err(Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(error) => Err(self.failure(&["delete"], error)),
        }
    }

    fn get(&self) -> Result<Option<Object>, Failure> {
        self.runtime.block_on(self.api.get_opt(&self.name)).map_err(|error| self.failure(&["get"], error))
    }

    fn failure(&self, verbs: &'static [&'static str], error: Error) -> Failure {
        // A rule that names the object does not cover its making: its name is not known to who judges that.
        let name = (verbs != CREATE).then_some(self.name.as_str());
        kubernetes::failure(error, &Deed { verbs, resource: "secrets", namespace: Some(&self.namespace), name })
    }

    fn title(&self) -> String {
        format!("secret {}/{}", self.namespace, self.name)
    }
}

impl Store for Secret {
    /// The whole object, with its resource version; none if there was none.
    type Seen = Option<Object>;

    fn load(&self) -> Result<(Entries, Option<Object>), Failure> {
        let object = self.get()?;
        let data = object.as_ref().and_then(|object| object.data.as_ref());
        let entries = texts(data, &self.entries).map_err(|entry| wrong(self.name(entry), 1, "is not text"))?;
        Ok((entries, object))
    }

    fn save(&self, seen: Option<Object>, changed: &Entries) -> Result<bool, Failure> {
        let is_new = seen.is_none();
        let object = with(seen.unwrap_or_else(|| empty(&self.name, &self.labels)), changed);
        let bytes: usize = object.data.iter().flatten().map(|(_, value)| value.0.len()).sum();
        if bytes > MAX_SECRET_BYTES {
            let message = format!("{} would be {bytes} bytes; a Secret holds {MAX_SECRET_BYTES}", self.title());
            return Err(Failure::new(Exit::Refused, "limit_exceeded", message));
        }
        let params = PostParams::default();
        let written = self.runtime.block_on(async {
            if is_new {
                self.api.create(&params, &object).await
            } else {
                self.api.replace(&self.name, &params, &object).await
            }
        });
        match written {
            Ok(_) => Ok(true),
            // Made, changed, or deleted by others: what is decided on that comes next.
            Err(Error::Api(status)) if status.code == 409 || (!is_new && status.is_not_found()) => Ok(false),
            Err(error) => Err(self.failure(if is_new { CREATE } else { &["update"] }, error)),
        }
    }

    fn name(&self, entry: &str) -> String {
        format!("{}, {entry}", self.title())
    }
}

/// A label as it is given: `NAME=VALUE`. The API server knows best what it takes.
fn parse_label(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("--label: '{text}' is not NAME=VALUE"))),
    }
}

/// The entries that are wanted, or which of them is no text.
fn texts<'a>(data: Option<&BTreeMap<String, ByteString>>, wanted: &'a [String]) -> Result<Entries, &'a str> {
    let mut entries = Entries::new();
    for name in wanted {
        let Some(bytes) = data.and_then(|data| data.get(name)) else { continue };
        let text = String::from_utf8(bytes.0.clone()).map_err(|_| name.as_str())?;
        entries.insert(name.clone(), text);
    }
    Ok(entries)
}

fn empty(name: &str, labels: &BTreeMap<String, String>) -> Object {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: (!labels.is_empty()).then(|| labels.clone()),
        annotations: Some(BTreeMap::from([(MADE_BY.to_owned(), US.to_owned())])),
        ..ObjectMeta::default()
    };
    Object { metadata, type_: Some("Opaque".to_owned()), ..Object::default() }
}

/// The Secret with some entries changed.
fn with(mut object: Object, changed: &Entries) -> Object {
    let data = object.data.get_or_insert_default();
    data.extend(changed.iter().map(|(name, text)| (name.clone(), ByteString(text.clone().into_bytes()))));
    object
}

fn is_ours(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().and_then(|annotations| annotations.get(MADE_BY)).is_some_and(|by| by == US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_we_make_is_marked_and_labelled_and_another_is_not_ours() {
        let made = empty("mesh-keys", &BTreeMap::from([parse_label("app=mesh").unwrap()]));
        assert!(is_ours(&made.metadata) && made.metadata.labels.unwrap()["app"] == "mesh");
        assert!(!is_ours(&ObjectMeta::default()));
        assert!(parse_label("app").is_err() && parse_label("=mesh").is_err());
    }

    #[test]
    fn a_change_leaves_all_else_of_the_secret_as_it_was() {
        let mut before = empty("mesh-keys", &BTreeMap::new());
        before.metadata.resource_version = Some("7".into());
        before.data = Some(BTreeMap::from([("tls.p12".to_owned(), ByteString(vec![0xff, 0]))]));
        let after = with(before.clone(), &Entries::from([("http.token".to_owned(), "t".to_owned())]));
        assert_eq!(after.metadata, before.metadata, "its version too: by it the API server tells a conflict");
        let data = after.data.unwrap();
        assert_eq!((data["tls.p12"].0.as_slice(), data["http.token"].0.as_slice()), (&[0xff, 0][..], &b"t"[..]));
        let wanted = |name: &str| texts(Some(&data), &[name.to_owned()]).map_err(str::to_owned);
        assert_eq!(wanted("http.token").unwrap().len(), 1);
        assert_eq!((wanted("gossip.keys"), wanted("tls.p12")), (Ok(Entries::new()), Err("tls.p12".to_owned())));
    }
}
