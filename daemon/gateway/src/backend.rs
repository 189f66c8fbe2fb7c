//! What the server shows.

use statemesh_node::{Handle, Readiness};

/// A running node, or in tests what stands for one.
pub trait Backend: Send + Sync + 'static {
    /// Whether the process works, and whether it should get traffic.
    fn readiness(&self) -> Readiness;
    /// Answers a request of client protocol 1, in JSON; `None` if the node cannot answer.
    fn call(&self, request: Vec<u8>) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

impl Backend for Handle {
    fn readiness(&self) -> Readiness {
        Handle::readiness(self)
    }

    async fn call(&self, request: Vec<u8>) -> Option<Vec<u8>> {
        Handle::call(self, request).await.ok()
    }
}
