//! `import xstate` of what is not data: a JavaScript or TypeScript file, or JSON with code in it. Node reads it, by the package
//! `statemesh-xstate` (`clients/xstate`), which has to be installed beside the file: the file's own XState runs there.

use super::args::LiveArgs;
use crate::failure::{Exit, Failure};
use crate::output::print;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Prints the definition that the package makes of the file.
pub(super) fn import(file: &Path, args: &LiveArgs) -> Result<(), Failure> {
    let script = script(file)?;
    let mut node = Command::new("node");
    node.arg(script).arg(file);
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
    let output = node.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| {
        Failure::new(Exit::File, "no_node", format!("cannot run node: {error}")).hint("install Node.js 20 or newer")
    })?;
    if !output.status.success() {
        return Err(Failure::new(Exit::Refused, "not_imported", format!("{}: not imported", file.display())));
    }
    print(&String::from_utf8_lossy(&output.stdout))
}

/// The package's program, in the nearest `node_modules` above the file that has it, or above where we are.
fn script(file: &Path) -> Result<PathBuf, Failure> {
    let above = |path: &Path| std::path::absolute(path).ok();
    let beside = above(file).and_then(|path| path.parent().map(Path::to_owned));
    let folders = [beside, above(Path::new("."))];
    let found = folders.iter().flatten().flat_map(|folder| folder.ancestors().map(|folder| folder.join(SCRIPT)));
    found.into_iter().find(|script| script.is_file()).ok_or_else(|| {
        let message = format!("{}: the npm package statemesh-xstate is not installed beside it", file.display());
        let hint = "npm install --save-dev PATH/TO/statemesh/clients/xstate";
        Failure::new(Exit::File, "no_package", message).hint(hint)
    })
}
