//! The shell that asks DNS what [`statemesh_mesh::discovery`] wants to know, over hickory-resolver.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use statemesh_mesh::discovery::{Kind, Question, Records};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks name servers, one question at a time, and remembers nothing: a pod that is new must be found in the next round.
pub struct Resolver {
    inner: TokioResolver,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// DNS can't be asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's configuration can't be read, or the resolver can't be made of it.
    #[error("name servers are not configured: {0}; name one with --dns-server")]
    Config(#[source] NetError),
    /// The question was not answered.
    #[error("{name} was not answered: {source}")]
    Lookup {
        /// The name asked for.
        name: String,
        /// What went wrong.
        #[source]
        source: NetError,
    },
}

impl Resolver {
    /// A resolver that asks `server`, or those of /etc/resolv.conf.
    ///
    /// # Errors
    /// [`ResolveError::Config`] if there is no usable configuration.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, ResolveError> {
        let provider = TokioRuntimeProvider::default();
        let builder = match server {
            Some(server) => TokioResolver::builder_with_config(config_of(server), provider),
            None => TokioResolver::builder_tokio().map_err(ResolveError::Config)?,
        };
        let mut builder = builder;
        set_options(builder.options_mut());
        let inner = builder.build().map_err(ResolveError::Config)?;
        Ok(Self { inner })
    }

    /// Asks one question. That there is no such name, or no such record, is an answer without records.
    ///
    /// # Errors
    /// [`ResolveError::Lookup`] when no server answered.
    pub async fn ask(&self, question: &Question) -> Result<Records, ResolveError> {
        let kind = match question.kind {
            Kind::Srv => RecordType::SRV,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
        };
        let records = match self.inner.lookup(question.name.as_str(), kind).await {
            Ok(lookup) => lookup.answers().iter().map(|r| r.data.clone()).collect(),
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Vec::new(),
            Err(source) => {
                let name = question.name.clone();
                return Err(ResolveError::Lookup { name, source });
            }
        };
        Ok(answer(question.kind, records))
    }
}

fn config_of(server: SocketAddr) -> ResolverConfig {
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut name_server.connections {
        connection.port = server.port();
    }
    ResolverConfig::from_parts(None, Vec::new(), vec![name_server])
}

fn set_options(options: &mut ResolverOpts) {
    options.cache_size = 0;
    options.edns0 = true;
    options.attempts = 1;
    options.timeout = TIMEOUT;
    options.num_concurrent_reqs = 1;
    options.use_hosts_file = ResolveHosts::Never;
    // Truncated answers come again over TCP whatever this says; it is for servers that answer over TCP only.
    options.try_tcp_on_error = true;
}

fn answer(kind: Kind, records: Vec<RData>) -> Records {
    if kind == Kind::Srv {
        let targets = records.into_iter().filter_map(|record| match record {
            RData::SRV(srv) => Some((srv.target.to_string(), srv.port)),
            _ => None,
        });
        return Records::Srv(targets.collect());
    }
    let addresses = records.into_iter().filter_map(|record| match record {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    });
    Records::Addresses(addresses.collect())
}

/// What a DNS server's message answers, for the fuzz target of that name; `None` if it is no message.
#[cfg(fuzzing)]
#[must_use]
pub fn records_of(message: &[u8], kind: Kind) -> Option<Records> {
    let message = hickory_resolver::proto::op::Message::from_vec(message).ok()?;
    Some(answer(kind, message.answers.into_iter().map(|record| record.data).collect()))
}
