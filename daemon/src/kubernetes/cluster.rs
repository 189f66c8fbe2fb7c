//! The way to the API server, and what to say when it refuses.

use crate::failure::{Exit, Failure};
use kube::{Client, Config, Error};
use std::time::Duration;

/// For how long to wait for a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long to wait for an answer of the API server to a request that is no watch.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// That of the kubeconfig's context, or the pod's own.
    pub(crate) namespace: String,
}

/// Something that takes rights: `verbs` on `resource`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<'a> {
    pub(crate) verbs: &'static [&'static str],
    pub(crate) resource: &'static str,
    /// None: in the whole cluster.
    pub(crate) namespace: Option<&'a str>,
    /// The one object, if it is about one.
    pub(crate) name: Option<&'a str>,
}

/// What the client runs on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::File, "runtime", format!("no event loop: {error}")))
}

/// Finds the cluster: `$KUBECONFIG`, `~/.kube/config`, or the service account of the pod that this runs in. `silence` is how
/// long it may leave a request without an answer; a watch has none.
pub(crate) async fn cluster(silence: Option<Duration>) -> Result<Cluster, Failure> {
    let mut config = Config::infer().await.map_err(|error| {
        Failure::new(Exit::Usage, "no_cluster", format!("which cluster? {error}")).hint(
            "set KUBECONFIG to a kubeconfig; in a pod, its service account's token must be mounted (automountServiceAccountToken)",
        )
    })?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = silence;
    config.reset_reader_on_write = true;
    let namespace = config.default_namespace.clone();
    let url = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| unusable(&url, &error))?;
    Ok(Cluster { client, namespace })
}

fn unusable(url: &str, error: &Error) -> Failure {
    Failure::new(Exit::Usage, "no_cluster", format!("no way to the API server at {url}: {}", whole(error)))
        .hint("`kubectl cluster-info` with the same kubeconfig says whether it can be used")
}

/// Says why the API server did not do what was asked.
pub(crate) fn failure(error: Error, deed: &Deed<'_>) -> Failure {
    match error {
        Error::Api(status) => {
            let told = status.message.trim();
            let told = if told.is_empty() { status.reason.as_str() } else { told };
            let refused = |code: &str| Failure::new(Exit::Refused, code, format!("the API server says: {told}"));
            match status.code {
                401 => {
                    refused("unauthorized").hint("the token or certificate of the kubeconfig is wrong or has expired")
                }
                403 if !told.contains("being terminated") => refused("forbidden").hint(rule(deed)),
                403 => refused("forbidden"),
                404 => refused("not_found"),
                409 => refused("conflict").hint("it was changed meanwhile: try again"),
                422 => refused("invalid"),
                429 | 500.. => Failure::new(Exit::Unreachable, "unreachable", format!("the API server says: {told}"))
                    .hint("try again"),
                _ => refused("refused"),
            }
        }
        Error::Auth(error) => Failure::new(Exit::Refused, "unauthorized", format!("no credentials: {}", whole(&error)))
            .hint("`kubectl auth whoami` with the same kubeconfig says whether it can be used"),
        error @ Error::SerdeError(_) => Failure::new(Exit::Unreachable, "unreachable", whole(&error))
            .hint("is it a Kubernetes API server that the kubeconfig names?"),
        error => no_answer(&whole(&error)),
    }
}

/// Whether there was a connection decides what may have happened.
fn no_answer(why: &str) -> Failure {
    let failure = Failure::new(Exit::Unreachable, "unreachable", format!("no answer of the API server: {why}"));
    failure.hint(if why.contains("client error (Connect)") {
        "`kubectl cluster-info` with the same kubeconfig says whether it can be reached; nothing was done"
    } else {
        "it may have been done all the same; it is safe to try again"
    })
}

/// The rule that a role lacks.
fn rule(deed: &Deed<'_>) -> String {
    let kind = match deed.namespace {
        Some(namespace) => format!("a Role in namespace {namespace}"),
        None => "a ClusterRole".to_owned(),
    };
    let names = deed.name.map_or_else(String::new, |name| format!(", resourceNames: [\"{name}\"]"));
    format!(
        "{kind} must allow it: {{apiGroups: [\"\"], resources: [\"{}\"], verbs: {:?}{names}}}",
        deed.resource, deed.verbs
    )
}

/// An error with its causes: those of HTTP clients say little by themselves.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    const DEED: Deed<'static> =
        Deed { verbs: &["update"], resource: "secrets", namespace: Some("shop"), name: Some("mesh-keys") };

    fn told(code: u16, message: &str) -> Failure {
        failure(Error::Api(Status { code, message: message.into(), ..Status::default() }.boxed()), &DEED)
    }

    #[test]
    fn a_missing_right_is_named_as_the_rule_that_gives_it() {
        let failure = told(403, "secrets \"mesh-keys\" is forbidden: User \"joe\" cannot update resource \"secrets\"");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Refused, "forbidden"));
        assert!(failure.message.contains("User \"joe\" cannot update"), "{failure}");
        let rule = failure.hint.unwrap();
        assert!(rule.contains("namespace shop") && rule.contains("verbs: [\"update\"]"), "{rule}");
        assert!(rule.contains("resourceNames: [\"mesh-keys\"]"), "{rule}");
    }

    #[test]
    fn each_answer_has_a_code_and_those_that_may_pass_are_told_from_those_that_will_not() {
        for (status, exit, code) in [
            (401, Exit::Refused, "unauthorized"),
            (404, Exit::Refused, "not_found"),
            (409, Exit::Refused, "conflict"),
            (422, Exit::Refused, "invalid"),
            (400, Exit::Refused, "refused"),
            (429, Exit::Unreachable, "unreachable"),
            (503, Exit::Unreachable, "unreachable"),
        ] {
            let failure = told(status, "so it is");
            assert_eq!((failure.exit, failure.code.as_str()), (exit, code), "{status}");
            assert!(failure.message.contains("so it is"));
        }
        assert_eq!(told(403, "x is forbidden: namespace shop is being terminated").hint, None);
    }
}
