//! Contender: an echo by the ROUTER socket of the `zeromq` crate, in a process of its own: what a Rust program gets that does not
//! link libzmq.

use std::io::{Read, Write};

use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend};

use crate::failure::{Outcome, While};

/// Prints its port, and echoes until stdin is closed.
pub(crate) fn serve() -> Outcome {
    std::thread::spawn(|| {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // One thread, as the other echoes have; the crate's tasks would only steal from each other on two.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().while_at("the runtime")?;
    runtime.block_on(async {
        let mut router = RouterSocket::new();
        let endpoint = router.bind("tcp://127.0.0.1:0").await.while_at("a port")?.to_string();
        println!("{}", endpoint.rsplit(':').next().unwrap_or_default());
        std::io::stdout().flush().while_at("stdout")?;
        loop {
            let message = router.recv().await.while_at("receive")?;
            // A client that is gone gets no answer, and the next one does.
            let _ = router.send(message).await;
        }
    })
}
