//! A GET over HTTP/1.1 without a library, and the metrics that come back.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For one connection and for each read.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks for a path.
///
/// # Errors
/// No daemon listens there, or the answer is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> Outcome<Answer> {
    request(address, "GET", path)
}

/// Makes a request without a body.
///
/// # Errors
/// As for [`get`].
pub fn request(address: SocketAddr, method: &str, path: &str) -> Outcome<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&String::from_utf8(bytes)?)
}

fn parse(text: &str) -> Outcome<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("the answer has no status")?;
    crate::ensure!(!head.to_lowercase().contains("chunked"), "a chunked answer, which this client does not read");
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// What `/metrics` says.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The text.
    pub text: String,
}

impl Metrics {
    /// Reads them.
    ///
    /// # Errors
    /// The daemon does not answer with 200.
    pub fn read(address: SocketAddr) -> Outcome<Self> {
        let answer = get(address, "/metrics")?;
        crate::ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(Self { text: answer.body })
    }

    /// The sum of a metric's series whose labels contain each of `labels`, such as `reason="lost"`; `None` if there is
    /// no such series.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let values: Vec<f64> = self
            .text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .filter_map(|(_, value)| value.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The sum of every series, counters of requests' refusals and the like, whose name contains `part`.
    #[must_use]
    pub fn total_of(&self, part: &str) -> f64 {
        self.text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next().is_some_and(|name| name.contains(part)))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_label() {
        let text = "# HELP a_total x\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\"} 4\na_total_other 9\n".to_owned();
        let metrics = Metrics { text };
        assert_eq!(metrics.sum("a_total", &[]), Some(7.0));
        assert_eq!(metrics.sum("a_total", &["x=\"1\""]), Some(3.0));
        assert_eq!(metrics.sum("a_total", &["x=\"3\""]), None);
        assert_eq!(metrics.total_of("other"), 9.0);
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "no"));
        assert!(parse("nonsense").is_err());
    }
}
