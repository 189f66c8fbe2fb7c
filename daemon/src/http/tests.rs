use super::*;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Fake {
    ready: Arc<AtomicBool>,
}

impl Backend for Fake {
    fn live(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::SeqCst) { Ok(()) } else { Err("looking for the others".into()) }
    }

    async fn call(&self, request: Vec<u8>) -> Option<Vec<u8>> {
        let request: Value = serde_json::from_slice(&request).ok()?;
        let reply = match request["op"].as_str()? {
            "members" => json!({"ok": true, "id": 0, "members": [{"name": "a"}]}),
            "get" => json!({"ok": false, "error": {"code": "unknown_instance", "message": "none"}}),
            "instances" => std::future::pending().await,
            _ => return None,
        };
        Some(reply.to_string().into_bytes())
    }
}

async fn serve(limits: config::Http) -> (SocketAddr, Arc<AtomicBool>) {
    let ready = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Fake { ready: Arc::clone(&ready) }, Registry::new(), limits).unwrap();
    tokio::spawn(server.run(listener));
    (address, ready)
}

fn limits() -> config::Http {
    config::Http {
        connections: 8,
        header_bytes: 8_192,
        timeout: Duration::from_millis(200),
        tokens: Vec::new(),
        tls: None,
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
    let (address, ready) = serve(limits()).await;
    let before = get(address, "/health/ready").await;
    assert!(before.starts_with("HTTP/1.1 503") && before.ends_with("not ready: looking for the others\n"), "{before}");
    assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
    ready.store(true, Ordering::SeqCst);
    assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn json_is_what_the_protocol_answers() {
    let (address, _) = serve(limits()).await;
    assert!(get(address, "/v1/members").await.ends_with("\r\n\r\n[{\"name\":\"a\"}]\n"));
    let missing = get(address, "/v1/instances/order/42").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("\"unknown_instance\""), "{missing}");
    assert!(get(address, "/v1/placement").await.starts_with("HTTP/1.1 503"), "a node that does not answer");
    assert!(get(address, "/v1/machines/order/instances").await.starts_with("HTTP/1.1 504"), "one that takes too long");
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
    let files = config::Tls { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The time for a head is also that for a handshake, and a program that is to begin one has to start first.
    let limits = config::Http { timeout: Duration::from_secs(10), ..limits() };
    let server = Server::new(Fake { ready: Arc::default() }, Registry::new(), limits).unwrap();
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
    let wrong = config::Tls { cert: files.key.clone(), key: files.cert.clone() };
    assert!(tls::acceptor(&wrong).is_err_and(|failure| failure.message.contains("key.pem")));
}

#[tokio::test]
async fn metrics_count_the_answers() {
    let (address, _) = serve(limits()).await;
    get(address, "/nowhere").await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("statemesh_http_requests_total{code=\"404\"} 1"), "{metrics}");
    assert!(metrics.contains("statemesh_http_connections 1"), "{metrics}");
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let (address, _) = serve(limits()).await;
    let answer =
        raw(address, b"POST /v1/members HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n{")
            .await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_long_or_too_slow_or_no_http_ends_the_connection() {
    let (address, _) = serve(limits()).await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = raw(address, long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(raw(address, b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03").await.starts_with("HTTP/1.1 400"));
    assert!(!raw(address, b"GET / HT").await.starts_with("HTTP/1.1 200"), "closed after the time for a head");
    assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"), "others notice nothing");
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let (address, _) = serve(config::Http { connections: 1, timeout: Duration::from_secs(30), ..limits() }).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert_eq!(get(address, "/health/live").await, "");
}
