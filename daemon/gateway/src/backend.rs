//! What the server shows.

use statemesh_node::{CallError, Handle, Readiness};
use statemesh_protocol::call::{Reply, Request};

/// A running node, or in tests what stands for one.
pub trait Backend: Send + Sync + 'static {
    /// Whether the process works, and whether it should get traffic.
    fn readiness(&self) -> Readiness;
    /// The node's reply to a request, or why there is none.
    fn call(&self, request: Request) -> impl Future<Output = Result<Reply, CallError>> + Send;
}

impl Backend for Handle {
    fn readiness(&self) -> Readiness {
        Handle::readiness(self)
    }

    async fn call(&self, request: Request) -> Result<Reply, CallError> {
        Handle::call(self, request).await
    }
}
