//! Log lines on stderr: text for a person, JSON for a program. Each names its node, and its machine if it is about one.
//! No thread that logs waits for the reader of stderr ([`crate::log_queue`]).

use crate::config::{LogFormat, Logs};
use crate::failure::{Exit, Failure};
use crate::log_queue::LogQueue;
use serde_json::{Map, Value, json};
use statemesh_expr::Timestamp;
use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What this process has logged and not written yet, from the moment on in which it logs at all.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// From now on, what this process logs is written to stderr.
pub(crate) fn start(logs: &Logs, node: &str) -> Result<(), Failure> {
    let is_terminal = std::io::stderr().is_terminal();
    let json = match logs.format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = Arc::new(Lines { node: node.to_owned(), json, colour: is_terminal && !no_colour });
    let filter: Targets = logs.filter.parse().map_err(|error| Failure::usage(format!("log: {error}")))?;
    let queue = QUEUE.get_or_init(LogQueue::default);
    let own = Arc::clone(&lines);
    std::thread::Builder::new()
        .name("statemesh-log".to_owned())
        .spawn(move || queue.write_to(std::io::stderr(), |missing| own.left_out(missing)))
        .map_err(|error| Failure::new(Exit::Start, "log", format!("no thread for the log: {error}")))?;
    flush_before_a_panic_is_told();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(SharedLines(lines))
        .with_writer(move || queue)
        // It would tell stderr that stderr is closed, and panic.
        .log_internal_errors(false)
        .with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(|error| Failure::usage(format!("log: {error}")))
}

/// To be called before the process ends, or writes to stderr itself: waits a while until its log is written. Says whether it is; if
/// not, stderr is not read, and a write to it would block.
pub(crate) fn flush() -> bool {
    QUEUE.get().is_none_or(LogQueue::flush)
}

/// The message of a panic goes to stderr behind what was logged before. It is left out if stderr is not read: the thread would block
/// there, and neither unwind nor release what it holds.
fn flush_before_a_panic_is_told() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if flush() {
            tell(panic);
        }
    }));
}

/// A time as log lines have it.
pub(crate) fn time(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).ok().and_then(|seconds| Timestamp::new(seconds, 0));
    let whole = seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), since.subsec_micros())
}

fn now() -> String {
    time(SystemTime::now())
}

/// The form of the lines.
struct Lines {
    node: String,
    json: bool,
    colour: bool,
}

/// The same form for all who write lines.
struct SharedLines(Arc<Lines>);

impl<S, N> FormatEvent<S, N> for SharedLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let time = now();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        writeln!(writer, "{}", self.0.line(&time, *metadata.level(), metadata.target(), fields))
    }
}

impl Lines {
    fn line(&self, time: &str, level: Level, target: &str, fields: Fields) -> String {
        match self.json {
            true => self.json_line(time, level, target, fields),
            false => self.text_line(time, level, target, fields),
        }
    }

    /// The line that stands where so many are missing.
    fn left_out(&self, missing: u64) -> String {
        let mut fields = Fields::default();
        fields.0.insert("message".to_owned(), json!("lines are missing here: stderr was not read fast enough"));
        fields.0.insert("left_out".to_owned(), json!(missing));
        let line = self.line(&now(), Level::WARN, module_path!(), fields);
        format!("{line}\n")
    }

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
        let lines = Arc::new(Lines { node: "node-1".into(), json, colour: false });
        let layer = tracing_subscriber::fmt::layer().event_format(SharedLines(lines)).with_writer(sink.clone());
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
    fn the_line_that_says_how_many_are_missing_looks_like_the_others() {
        let line = Lines { node: "node-1".into(), json: true, colour: false }.left_out(7);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["node"], &value["level"], &value["left_out"]),
            (&json!("node-1"), &json!("warn"), &json!(7))
        );
        assert!(line.ends_with('\n'), "{line}");
    }

    #[test]
    fn a_text_line_stays_one_line_whatever_a_key_holds() {
        let line = logged(false, || tracing::info!(machine = "order", key = "a\nERROR forged", "created"));
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(" INFO node-1/order ") && line.contains("created"), "{line}");
    }
}
