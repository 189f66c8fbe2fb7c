//! The binary in an empty folder, and a peer that speaks client protocol 1 and answers what a test wants.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// The binary, without an environment of ours.
pub fn statemesh(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statemesh"));
    command.current_dir(folder).env_clear();
    command
}

/// A folder that is removed when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("statemesh-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn file(&self, name: &str, text: &str) -> &Folder {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }

    pub fn run(&self, args: &[&str]) -> Output {
        statemesh(&self.0).args(args).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a shell is offered for the last word of a line.
pub fn completed(command: &mut Command, line: &[&str]) -> Vec<String> {
    command
        .env("STATEMESH_COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", line.len().to_string());
    let output = command.args(["--", "statemesh"]).args(line).output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, String::new()), "{line:?}");
    stdout(&output).lines().map(str::to_owned).collect()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A peer that answers each request with what a function makes of it, and keeps the requests.
pub struct Peer {
    pub address: String,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// `answer` gives a reply without its id; `None`: it does not answer.
    pub fn start(answer: impl Fn(&Value) -> Option<Value> + Send + 'static) -> Peer {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut socket = RouterSocket::new();
                sender.send(socket.bind("tcp://127.0.0.1:0").await.unwrap().to_string()).unwrap();
                while let Ok(message) = socket.recv().await {
                    let frames = message.into_vec();
                    let text = String::from_utf8(frames[1].to_vec()).unwrap();
                    let request: Value = serde_json::from_str(&text).unwrap();
                    kept.lock().unwrap().push(text);
                    if let Some(mut reply) = answer(&request) {
                        reply["id"] = request["id"].clone();
                        let mut message = ZmqMessage::from(frames[0].clone());
                        message.push_back(reply.to_string().into());
                        socket.send(message).await.unwrap();
                    }
                }
            });
        });
        Peer { address: receiver.recv().unwrap(), requests }
    }

    pub fn always(reply: Value) -> Peer {
        Peer::start(move |_| Some(reply.clone()))
    }

    /// The last request, without its id.
    pub fn last_request(&self) -> Value {
        let text = self.requests.lock().unwrap().last().unwrap().clone();
        let mut request: Value = serde_json::from_str(&text).unwrap();
        assert!(request.as_object_mut().unwrap().shift_remove("id").is_some(), "{text}");
        request
    }

    /// Runs the binary against this peer.
    pub fn run(&self, folder: &Folder, args: &[&str]) -> Output {
        statemesh(&folder.0).args(args).env("STATEMESH_ADDRESS", &self.address).output().unwrap()
    }
}

/// A peer that has one member, itself, and publishes these changes over and over.
pub fn publisher(changes: &'static [(&'static str, &'static str)]) -> Peer {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut socket = PubSocket::new();
            sender.send(socket.bind("tcp://127.0.0.1:0").await.unwrap().to_string()).unwrap();
            loop {
                for (topic, body) in changes {
                    let mut message = ZmqMessage::from(*topic);
                    message.push_back((*body).into());
                    let _ = socket.send(message).await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
    });
    let changes = receiver.recv().unwrap().trim_start_matches("tcp://").to_owned();
    Peer::always(json!({"ok": true, "members": [{"name": "a", "status": "alive", "changes": changes}]}))
}
