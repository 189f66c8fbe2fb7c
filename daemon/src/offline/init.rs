//! `init`: a project to begin with, which works as it is.

use super::args::InitArgs;
use crate::failure::{Exit, Failure};
use crate::output::{print, say};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

const FILES: [(&str, u32, &str); 4] = [
    ("machine.json", 0o644, include_str!("project/machine.json")),
    ("events.jsonl", 0o644, include_str!("project/events.jsonl")),
    ("expected.jsonl", 0o644, include_str!("project/expected.jsonl")),
    ("test.sh", 0o755, include_str!("project/test.sh")),
];

/// Writes the project's files. None is replaced.
pub(crate) fn init(args: &InitArgs) -> Result<(), Failure> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    let there: Vec<_> = FILES.iter().map(|(name, ..)| folder.join(name)).filter(|path| path.exists()).collect();
    if let Some(path) = there.first() {
        let message = format!("{} is there already", path.display());
        return Err(Failure::new(Exit::Refused, "exists", message).hint("name another folder: statemesh init DIR"));
    }
    for (name, mode, text) in FILES {
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::file(&path, &error))?;
        print(&format!("{}\n", path.display()))?;
    }
    say!(
        "
Change machine.json, then:
  {at}/test.sh                                    checks it, and runs events.jsonl against it
  statemesh simulate {at}/machine.json            to type events yourself
  statemesh up --machines {at}                    a mesh on this machine that has it",
        at = folder.display()
    );
    Ok(())
}
