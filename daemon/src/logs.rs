//! Log lines on stderr: text for a person, JSON for a program. Each names its node, and its machine if it is about one.

use crate::config::{LogFormat, Logs};
use crate::failure::Failure;
use serde_json::{Map, Value, json};
use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// From now on, what this process logs is written to stderr.
pub(crate) fn start(logs: &Logs, node: &str) -> Result<(), Failure> {
    let is_terminal = std::io::stderr().is_terminal();
    let json = match logs.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = Lines { node: node.to_owned(), json, colour: is_terminal && !no_colour };
    let filter: Targets = logs.filter.parse().map_err(|error| Failure::usage(format!("log: {error}")))?;
    let layer = tracing_subscriber::fmt::layer()
        .event_format(lines)
        .with_writer(std::io::stderr)
        // It would tell stderr that stderr is closed, and panic.
        .log_internal_errors(false)
        .with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(|error| Failure::usage(format!("log: {error}")))
}

/// The time as log lines have it.
pub(crate) fn now() -> String {
    let mut time = String::new();
    // Writing to memory does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// The form of the lines.
struct Lines {
    node: String,
    json: bool,
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let time = now();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = match self.json {
            true => self.json_line(&time, *metadata.level(), metadata.target(), fields),
            false => self.text_line(&time, *metadata.level(), metadata.target(), fields),
        };
        writeln!(writer, "{line}")
    }
}

impl Lines {
    /// One JSON object; the fields of the event come after those that every line has, and cannot replace them.
    fn json_line(&self, time: &str, level: Level, target: &str, mut fields: Fields) -> String {
        let machine = fields.0.shift_remove("machine").unwrap_or(Value::Null);
        let message = fields.0.shift_remove("message").unwrap_or_default();
        let mut line = json!({"time": time, "level": level.as_str().to_lowercase(), "node": self.node, "machine": machine,
                              "target": target, "message": message});
        for (name, value) in fields.0 {
            if line[&name].is_null() {
                line[&name] = value;
            }
        }
        line.to_string()
    }

    fn text_line(&self, time: &str, level: Level, target: &str, mut fields: Fields) -> String {
        let machine = fields.0.shift_remove("machine").map(|value| format!("/{}", plain(&value))).unwrap_or_default();
        let message = fields.0.shift_remove("message").map(|value| plain(&value)).unwrap_or_default();
        let level_text = match (self.colour, level) {
            (true, Level::ERROR) => format!("\x1b[1;31m{level:>5}\x1b[0m"),
            (true, Level::WARN) => format!("\x1b[33m{level:>5}\x1b[0m"),
            _ => format!("{level:>5}"),
        };
        let mut line = format!("{time} {level_text} {}{machine} {target}: {message}", self.node);
        for (name, value) in fields.0 {
            let _ = write!(line, " {name}={}", plain(&value));
        }
        line
    }
}

/// A value in a line of text: keys and names from outside cannot begin a line of their own.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(char::is_control) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Sink;

        fn make_writer(&'a self) -> Sink {
            self.clone()
        }
    }

    fn logged(json: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let lines = Lines { node: "node-1".into(), json, colour: false };
        let layer = tracing_subscriber::fmt::layer().event_format(lines).with_writer(sink.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_names_node_and_machine_and_keeps_numbers() {
        let line = logged(true, || tracing::warn!(machine = "order", seq = 7, node = "forged", "took {}", "long"));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["node"], "node-1");
        assert_eq!(
            (&value["machine"], &value["seq"], &value["message"]),
            (&json!("order"), &json!(7), &json!("took long"))
        );
        assert_eq!(value["level"], "warn");
    }

    #[test]
    fn a_text_line_stays_one_line_whatever_a_key_holds() {
        let line = logged(false, || tracing::info!(machine = "order", key = "a\nERROR forged", "created"));
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(" INFO node-1/order ") && line.contains("created"), "{line}");
    }
}
