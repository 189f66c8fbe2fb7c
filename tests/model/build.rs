//! Copies of the core with one mistake each, so that its proofs can be seen to fail. They are made of the text as it is, so that what ships
//! has no switch for them; a text that is not found once ends the build.

#![allow(clippy::expect_used, reason = "a build that cannot be made ends")]

use std::path::{Path, PathBuf};
use std::{env, fs};

include!("src/mistakes.rs");

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_MISTAKES").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=src/mistakes.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let core = root.join("../../mesh/src/replication");
    println!("cargo::rerun-if-changed={}", core.display());
    let mut modules = String::new();
    let mut all = String::new();
    for mistake in MISTAKES {
        let folder = out.join(mistake.name);
        copy(&core, &folder, mistake);
        let own = |name: &str| format!("#[path = {:?}] pub mod {name};", root.join("src").join(format!("{name}.rs")));
        modules += &format!(
            "#[allow(warnings, clippy::all)] pub mod {} {{ #[path = {:?}] pub mod replication; {} {} {} {} {} }}\n",
            mistake.name,
            folder.join("mod.rs"),
            own("check"),
            own("node"),
            own("start"),
            own("model"),
            own("world"),
        );
        all +=
            &format!("({:?}, {}::model::violation, {}::world::violation),\n", mistake.name, mistake.name, mistake.name);
    }
    let table = "type Model = fn(&crate::bounds::Bounds, usize) -> Option<(usize, String)>;
type Seed = fn(u64) -> Option<String>;
pub(crate) const ALL: &[(&str, Model, Seed)]";
    fs::write(out.join("mistakes.rs"), format!("{modules}{table} = &[{all}];")).expect("OUT_DIR can be written");
}

fn copy(core: &Path, folder: &Path, mistake: &Mistake) {
    fs::create_dir_all(folder).expect("OUT_DIR can be written");
    let mut made = 0;
    for file in fs::read_dir(core).expect("the core is there").flatten().map(|entry| entry.path()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut text =
            fs::read_to_string(&file).expect("a source file is a text").replace("#[cfg(test)]\nmod tests;\n", "");
        if let Some(tests) = text.find("#[cfg(test)]\nmod tests {") {
            text.truncate(tests);
        }
        for (of, from, to) in mistake.edits.iter().filter(|(of, ..)| *of == name) {
            assert_eq!(text.matches(from).count(), 1, "{}: {of} has this not once: {from}", mistake.name);
            text = text.replace(from, to);
            made += 1;
        }
        fs::write(folder.join(name), text).expect("OUT_DIR can be written");
    }
    assert_eq!(made, mistake.edits.len(), "{}: a file is not there", mistake.name);
}
