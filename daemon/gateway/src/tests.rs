use crate::backend::Backend;
use crate::server::{Server, listen};
use crate::settings::Settings;
use crate::tls;
use prometheus::Registry;
use serde_json::json;
use statemesh_node::{CallError, Readiness};
use statemesh_protocol::call::{Reply, Request};
use statemesh_protocol::request::Op;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Fake {
    ready: Arc<AtomicBool>,
    stands: bool,
}

impl Backend for Fake {
    fn readiness(&self) -> Readiness {
        let reason = if self.stands { "reactor 0 stands" } else { "looking for the others" };
        Readiness { ready: self.ready.load(Ordering::SeqCst), live: !self.stands, reason: reason.into() }
    }

    async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let request = request.read().unwrap();
        let reply = match (request.op, &*request.key) {
            (Op::Members, _) => json!({"ok": true, "id": 0, "members": [{"name": "a"}]}),
            (Op::Get, _) if request.answer.until.is_some() => json!({"ok": true, "value": "a", "reached": true}),
            (Op::Get, "large") => json!({"ok": true, "context": "x".repeat(8 << 20)}),
            (Op::Get, "busy") => return Err(CallError::Busy),
            (Op::Get, "ending") => return Err(CallError::Ending),
            (Op::Get, "late") => return Err(CallError::Timeout),
            (Op::Get, "unreadable") => return Ok(Reply::new(b"ok".to_vec())),
            (Op::Get, _) => json!({"ok": false, "error": {"code": "unknown_instance", "message": "none"}}),
            (Op::List, _) => std::future::pending().await,
            _ => return Err(CallError::Ending),
        };
        Ok(Reply::new(reply.to_string().into_bytes()))
    }
}

async fn serve(settings: Settings) -> (SocketAddr, Arc<AtomicBool>) {
    let ready = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Fake { ready: Arc::clone(&ready), stands: false }, Registry::new(), settings).unwrap();
    tokio::spawn(server.run(listener));
    (address, ready)
}

fn settings() -> Settings {
    Settings {
        connections: 8,
        probe_connections: 2,
        header_bytes: 8_192,
        output_bytes: 16 << 20,
        unsent_bytes: 64 << 20,
        timeout: Duration::from_millis(200),
        wait: Duration::from_secs(3_600),
        tokens: Vec::new(),
    }
}

/// Sends bytes and reads until the server closes.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses closes before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn ready_says_why_not() {
    let (address, ready) = serve(settings()).await;
    let before = get(address, "/health/ready").await;
    assert!(before.starts_with("HTTP/1.1 503") && before.ends_with("not ready: looking for the others\n"), "{before}");
    assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
    ready.store(true, Ordering::SeqCst);
    assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_daemon_whose_loop_stands_is_not_live_and_says_which() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = Fake { ready: Arc::default(), stands: true };
    tokio::spawn(Server::new(backend, Registry::new(), settings()).unwrap().run(listener));
    let live = get(address, "/health/live").await;
    assert!(live.starts_with("HTTP/1.1 503") && live.ends_with("not live: reactor 0 stands\n"), "{live}");
}

#[tokio::test]
async fn json_is_what_the_protocol_answers() {
    let (address, _) = serve(settings()).await;
    assert!(get(address, "/v1/members").await.ends_with("\r\n\r\n[{\"name\":\"a\"}]\n"));
    let missing = get(address, "/v1/instances/order/42").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("\"unknown_instance\""), "{missing}");
    let waited = get(address, "/v1/instances/order/42?until_state=a").await;
    assert!(waited.starts_with("HTTP/1.1 200") && waited.contains("\"reached\":true"), "{waited}");
    assert!(get(address, "/v1/placement").await.starts_with("HTTP/1.1 503"), "a node that ends");
    assert!(get(address, "/v1/machines/order/instances").await.starts_with("HTTP/1.1 504"), "one that takes too long");
}

#[tokio::test]
async fn a_node_that_does_not_answer_says_why() {
    let (address, _) = serve(settings()).await;
    for (key, status, code) in [
        ("busy", 503, "limit_exceeded"),
        ("ending", 503, "leaving"),
        ("late", 504, "timeout"),
        ("unreadable", 500, "internal"),
    ] {
        let answer = get(address, &format!("/v1/instances/order/{key}")).await;
        let is_told = answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(&format!("\"{code}\""));
        assert!(is_told, "{answer}");
    }
}

#[tokio::test]
async fn over_https_the_same_is_answered_and_plain_http_is_not() {
    let folder = std::env::temp_dir().join(format!("statemesh-https-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split(' '))
        .args("-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem".split(' '))
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let files = tls::Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The time for a head is also that for a handshake, and a program that is to begin one has to start first.
    let settings = Settings { timeout: Duration::from_secs(10), ..settings() };
    let server = Server::new(Fake { ready: Arc::default(), stands: false }, Registry::new(), settings).unwrap();
    tokio::spawn(server.with_tls(Some(tls::acceptor(&files).unwrap())).run(listener));
    assert!(!get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
    let url = format!("https://{address}/health/live");
    let asked = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10", "--cacert"])
        .arg(&files.cert)
        .arg(url)
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "live\n", "{}", String::from_utf8_lossy(&asked.stderr));
    let wrong = tls::Files { cert: files.key.clone(), key: files.cert.clone() };
    assert!(tls::acceptor(&wrong).is_err_and(|failure| failure.to_string().contains("key.pem")));
}

#[tokio::test]
async fn metrics_count_the_answers() {
    let (address, _) = serve(settings()).await;
    get(address, "/nowhere").await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("statemesh_http_requests_total{code=\"404\"} 1"), "{metrics}");
    assert!(metrics.contains("statemesh_http_connections 1"), "{metrics}");
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let (address, _) = serve(settings()).await;
    let answer =
        raw(address, b"POST /v1/members HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n{")
            .await;
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD") && answer.contains("\"hint\""),
        "{answer}"
    );
}

#[tokio::test]
async fn every_error_says_what_is_wrong_and_the_way_out() {
    let (address, _) = serve(settings()).await;
    for (path, status) in [
        ("/nowhere", 404),
        ("/v1/instances/order/%zz", 400),
        ("/v1/list?limit=0", 400),
        ("/v1/instances/order/busy", 503),
        ("/v1/instances/order/ending", 503),
        ("/v1/instances/order/late", 504),
        ("/v1/instances/order/unreadable", 500),
    ] {
        let answer = get(address, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        let body = answer.rsplit("\r\n\r\n").next().unwrap();
        let error = &serde_json::from_str::<serde_json::Value>(body).unwrap()["error"];
        let is_whole =
            ["code", "message", "hint"].iter().all(|name| error[*name].as_str().is_some_and(|text| !text.is_empty()));
        assert!(is_whole, "{path}: {body}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_or_too_slow_or_no_http_ends_the_connection() {
    let (address, _) = serve(settings()).await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = raw(address, long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(raw(address, b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03").await.starts_with("HTTP/1.1 400"));
    assert!(!raw(address, b"GET / HT").await.starts_with("HTTP/1.1 200"), "closed after the time for a head");
    assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"), "others notice nothing");
}

#[tokio::test]
async fn who_has_asked_nothing_for_longest_makes_room() {
    let (address, _) = serve(Settings { connections: 1, ..patient() }).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert!(get(address, "/v1/members").await.starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest).await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("statemesh_evicted_http_connections_total 1"), "{metrics}");
}

/// As many connections as `bytes` are sent on, and kept open.
async fn guests(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    held
}

fn patient() -> Settings {
    Settings { timeout: Duration::from_secs(30), ..settings() }
}

#[tokio::test]
async fn connections_that_ask_nothing_keep_no_probe_out() {
    let (address, _) = serve(patient()).await;
    let _held = guests(address, 40, b"").await;
    for _ in 0..3 {
        assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 503"));
    }
}

#[tokio::test]
async fn a_probe_in_the_midst_of_many_that_say_nothing_is_not_taken_for_the_oldest_of_them() {
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let _before = guests(address, 100, b"").await;
    let probe = tokio::spawn(async move { get(address, "/health/live").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _behind = guests(address, 100, b"").await;
    let backend = Fake { ready: Arc::default(), stands: false };
    let few = Settings { connections: 4, ..patient() };
    tokio::spawn(Server::new(backend, Registry::new(), few).unwrap().run(listener));
    let answer = probe.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connections_whose_head_never_ends_keep_no_probe_out() {
    let (address, _) = serve(patient()).await;
    let _held = guests(address, 40, b"GET /v1/members HTTP/1.1\r\nX: ").await;
    assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn guests_that_wait_for_a_slow_node_keep_no_probe_out() {
    let (address, _) = serve(patient()).await;
    let _held = guests(address, 40, b"GET /v1/machines/order/instances HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn beyond_all_places_only_health_is_answered() {
    let (address, _) = serve(patient()).await;
    let _held = guests(address, 8, b"GET /v1/machines/order/instances HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let refused = get(address, "/v1/members").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("limit_exceeded"), "{refused}");
    let kept = raw(address, b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200") && kept.contains("connection: close"), "it is not kept open: {kept}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let (address, _) = serve(Settings { output_bytes: 1 << 20, ..settings() }).await;
    let refused = get(address, "/v1/instances/order/large").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"output_too_large\""), "{refused}");
    assert!(refused.contains("limits.output_bytes"), "{refused}");
}

#[tokio::test]
async fn who_does_not_read_his_answer_loses_his_connection_and_its_room() {
    let (address, _) = serve(Settings { timeout: Duration::from_secs(2), ..settings() }).await;
    let mut held = guests(address, 1, b"GET /v1/instances/order/large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let unsent = |wanted: fn(usize) -> bool| async move {
        // How long it takes to make eight megabytes is the machine's business.
        for _ in 0..1_000 {
            let metrics = get(address, "/metrics").await;
            let line = metrics.lines().find(|line| line.starts_with("statemesh_http_unsent_bytes ")).unwrap();
            if wanted(line.rsplit(' ').next().unwrap().parse().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the bytes that wait never became what was expected");
    };
    unsent(|bytes| bytes > 8 << 20 && bytes < 9 << 20).await;
    unsent(|bytes| bytes == 0).await;
    let mut rest = Vec::new();
    let _ = held[0].read_to_end(&mut rest).await;
    assert!(rest.len() < 8 << 20, "it was closed in the middle of the answer: {}", rest.len());
}
