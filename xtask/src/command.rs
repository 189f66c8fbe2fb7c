//! Running a command: its output is shown as it comes and kept for counting, and its time is limited.

use crate::failure::Failure;
use crate::workspace::Workspace;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Lines kept of one command's output, the last ones: what is counted stands at the end.
const LINES_MAX: usize = 200_000;
/// A process that a command left behind may hold its output open for this long after the command ended.
const LEFT_BEHIND: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None: it was ended because its time was over.
    pub(crate) status: Option<ExitStatus>,
    /// Its lines, stdout and stderr as they came.
    pub(crate) lines: Vec<String>,
}

impl Ended {
    /// It ended by itself, with 0.
    pub(crate) fn well(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// How it ended, for a person.
    pub(crate) fn how(&self) -> String {
        self.status.map_or_else(|| "its time was over".to_owned(), |status| status.to_string())
    }
}

/// A command in the checkout, with the placeholders of its words filled in.
pub(crate) fn prepare(workspace: &Workspace, words: &[&str], env: &[(&str, &str)]) -> Result<Command, Failure> {
    let (program, arguments) = words.split_first().ok_or_else(|| Failure::Found("an empty command".to_owned()))?;
    let mut command = Command::new(workspace.fill(program));
    command.current_dir(&workspace.root);
    command.args(arguments.iter().map(|word| workspace.fill(word)));
    command.envs(env.iter().map(|(name, value)| (*name, workspace.fill(value))));
    Ok(command)
}

/// Runs a command to its end with the terminal's own input and output.
pub(crate) fn plain(workspace: &Workspace, words: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let status = prepare(workspace, &words, &[])?.status().map_err(Failure::program(words.join(" ")))?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { name: words.join(" "), how: status.to_string() }) }
}

/// Runs a command for at most `limit`.
pub(crate) fn run(mut command: Command, limit: Duration) -> Result<Ended, Failure> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Failure::program(shown.as_str()))?;
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender);
    }
    wait(&mut child, &receiver, Instant::now() + limit).map_err(Failure::program(shown))
}

fn forward(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
}

fn wait(child: &mut Child, output: &Receiver<String>, deadline: Instant) -> std::io::Result<Ended> {
    let mut lines = Vec::new();
    let mut closed = false;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match output.recv_timeout(POLL) {
            Ok(line) => {
                println!("{line}");
                keep(&mut lines, line);
                if Instant::now() < deadline {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                closed = true;
                std::thread::sleep(POLL);
            }
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        match ended {
            Some((status, at)) if closed || at.elapsed() > LEFT_BEHIND => {
                return Ok(Ended { status: Some(status), lines });
            }
            None if Instant::now() > deadline => {
                end_with_descendants(child.id());
                child.wait()?;
                return Ok(Ended { status: None, lines });
            }
            _ => {}
        }
    }
}

fn keep(lines: &mut Vec<String>, line: String) {
    if lines.len() == LINES_MAX {
        lines.drain(..LINES_MAX / 2);
    }
    lines.push(line);
}

/// Ends a process and all that it started, by id. They stay in this terminal's process group, so that Ctrl-C reaches them
/// too; that is why the tree is walked here.
fn end_with_descendants(pid: u32) {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(id) = all.get(next).copied() {
        all.extend(children.remove(&id).unwrap_or_default());
        next += 1;
    }
    let ids = all.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg("-KILL").args(ids).stderr(Stdio::null()).status();
}

/// The parent's id in a line of proc(5)'s `stat`: the second field after the name, which is in parentheses.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_come_back() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10)).unwrap();
        let mut lines = ended.lines.clone();
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
        assert!(!ended.well() && ended.how().contains('3'), "{}", ended.how());
    }

    #[test]
    fn a_command_whose_time_is_over_is_ended_with_its_children() {
        let limit = Duration::from_secs(2);
        let ended = run(shell("sh -c 'echo $$; exec sleep 300' & wait"), limit).unwrap();
        assert!(ended.status.is_none(), "{}", ended.how());
        let stat = format!("/proc/{}/stat", ended.lines[0]);
        // The kernel ends it when it likes; a process without a parent that waits for it stays as a zombie.
        let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let until = Instant::now() + Duration::from_secs(10);
        while !is_gone() && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(is_gone(), "the sleeper is still there");
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("42 (a) b) ) S 7 42 42 0"), Some(7));
        assert_eq!(parent_of(""), None);
    }
}
