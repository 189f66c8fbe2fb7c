//! `import xstate` of what is not data: a JavaScript or TypeScript file, or JSON with code in it. Node reads it, by the package
//! `statemesh-xstate` (`clients/xstate`), which has to be installed beside the file: the file's own XState runs there.

use super::args::LiveArgs;
use crate::failure::{Exit, Failure};
use crate::output::{print, say_text};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SCRIPT: &str = "node_modules/statemesh-xstate/bin/statemesh-xstate.mjs";
const CODE: [&str; 8] = ["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx"];

/// Whether a file is a program.
pub(super) fn is_code(file: &Path) -> bool {
    file.extension().and_then(OsStr::to_str).is_some_and(|extension| CODE.contains(&extension))
}

/// Whether a JSON text has JavaScript in it, as Stately's export writes it.
pub(super) fn has_code(text: &str) -> bool {
    text.contains("\"{{") || text.contains("\"inline:")
}

/// Prints the definition that the package makes of the file, or of a text that was read already.
pub(super) fn import(file: &Path, text: Option<String>, args: &LiveArgs) -> Result<(), Failure> {
    let script = script(file)?;
    let mut node = Command::new("node");
    node.arg(script).arg(if text.is_some() { Path::new("-") } else { file });
    let options = [("--name", &args.name), ("--id", &args.id), ("--child", &args.child)];
    for (option, value) in options.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?))) {
        node.args([option, value]);
    }
    if let Some(version) = args.from {
        node.args(["--from", &version.to_string()]);
    }
    for name in &args.machine {
        node.args(["--machine", name]);
    }
    let output = output_of(node, text).map_err(|error| {
        Failure::new(Exit::File, "no_node", format!("cannot run node: {error}")).hint("install Node.js 20 or newer")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    // A file that ends the process by ways of its own leaves nothing behind.
    if !output.status.success() || output.stdout.is_empty() {
        const FILE: i32 = Exit::File as i32;
        let exit = if output.status.code() == Some(FILE) { Exit::File } else { Exit::Refused };
        let message = format!("{}: not imported: {}", file.display(), said.trim());
        return Err(Failure::new(exit, "not_imported", message.trim_end_matches(": ")));
    }
    say_text(&said);
    print(&String::from_utf8_lossy(&output.stdout))
}

/// What a program says that is given this text.
fn output_of(mut program: Command, text: Option<String>) -> std::io::Result<Output> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = program.spawn()?;
    let mut input = program.stdin.take();
    // Both at once: each side would wait for the other where a pipe is full. Where it did not read all, what it says tells more.
    let writer = std::thread::spawn(move || {
        let (Some(input), Some(text)) = (&mut input, text) else { return };
        let _ = input.write_all(text.as_bytes());
    });
    let output = program.wait_with_output();
    let _ = writer.join();
    output
}

/// The package's program, in the nearest `node_modules` above the file that has it, or above where we are.
fn script(file: &Path) -> Result<PathBuf, Failure> {
    let above = |path: &Path| std::path::absolute(path).ok();
    let beside = above(file).and_then(|path| path.parent().map(Path::to_owned));
    let folders = [beside, above(Path::new("."))];
    let found = folders.iter().flatten().flat_map(|folder| folder.ancestors().map(|folder| folder.join(SCRIPT)));
    found.into_iter().find(|script| script.is_file()).ok_or_else(|| {
        let message = format!("{}: the npm package statemesh-xstate is not installed beside it", file.display());
        let hint = concat!(
            "npm install --save-dev --install-links PATH/TO/statemesh/clients/xstate, of a clone of ",
            env!("CARGO_PKG_REPOSITORY")
        );
        Failure::new(Exit::File, "no_package", message).hint(hint)
    })
}
