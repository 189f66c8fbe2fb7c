//! The image's one file, the released binary without debugging information, and the way onto a test cluster's nodes.

use crate::command;
use crate::failure::Failure;
use crate::need::Need;
use crate::parts;
use crate::workspace::Workspace;

/// The image's name on a test cluster.
const NAME: &str = "localhost/statemesh:test";
/// Names a folder with a command `image NAME:TAG ENTRYPOINT-JSON FILE:DST...` that puts an image onto every node.
const CLUSTER: &str = "STATEMESH_TEST_CLUSTER";
/// Larger is a mistake: the download of an image must not take long while a node is down.
const BYTES_MAX: u64 = 30_000_000;

/// What it is made of and with.
pub(crate) const NEEDS: &[Need] = &[parts::STRIP, Need::Daemon];

/// Writes `target/image/statemesh`; with a test cluster, its nodes get it as [`NAME`].
pub(crate) fn make(workspace: &Workspace) -> Result<(), Failure> {
    let binary = workspace.target.join("image/statemesh");
    let shown = binary.display().to_string();
    let run =
        |words: &[&str]| command::plain(workspace, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    std::fs::create_dir_all(workspace.target.join("image")).map_err(Failure::file(&binary))?;
    run(&["strip", "-o", &shown, "{statemesh}"])?;
    let bytes = std::fs::metadata(&binary).map_err(Failure::file(&binary))?.len();
    println!("{shown}: {:.1} MB", bytes as f64 / 1e6);
    if bytes > BYTES_MAX {
        return Err(Failure::Found(format!("{shown} has {bytes} bytes, more than {BYTES_MAX}")));
    }
    let Ok(cluster) = std::env::var(CLUSTER) else {
        println!("{CLUSTER} names no test cluster: with a container engine, `docker build .` makes the image");
        return Ok(());
    };
    let file = format!("{shown}:/usr/local/bin/statemesh");
    run(&[&format!("{cluster}/image"), NAME, r#"["/usr/local/bin/statemesh"]"#, &file])
}
