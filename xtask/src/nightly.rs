//! `cargo xtask nightly`: what is too long for every day, in pieces that may run one at a time, and the page about them.
//!
//! What a piece came to is kept in the target folder. The page is made of all that is kept of the code as it is now, so a person
//! may run the seeds apart, over days, and the rest later.

use crate::failure::Failure;
use crate::fuzz;
use crate::hunt;
use crate::need::{self, Need};
use crate::part::Part;
use crate::parts;
use crate::revision;
use crate::sim;
use crate::workspace::Workspace;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Seeds of a night.
const SEEDS: u64 = 10_000;
/// Minutes for each fuzz target.
const MINUTES: u64 = 10;

/// A piece of the night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// Seeds of whole daemons, each twice.
    Seeds,
    /// Daemons that are broken on purpose.
    Mutants,
    /// Every fuzz target, for long.
    Fuzz,
    /// Parts of the tests that are left to the night.
    Parts,
}

impl Piece {
    const ALL: [Self; 4] = [Self::Seeds, Self::Mutants, Self::Fuzz, Self::Parts];

    fn name(self) -> &'static str {
        match self {
            Self::Seeds => "seeds",
            Self::Mutants => "mutants",
            Self::Fuzz => "fuzz",
            Self::Parts => "parts",
        }
    }

    /// Its heading, and what the page says of it before its result.
    fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Seeds => (
                "Seeds",
                "Each seed is a mesh of whole daemons with clients and faults, in virtual time, and judged ([tests](../../tests/README.md)).",
            ),
            Self::Mutants => (
                "Mutants",
                "Daemons that are broken on purpose, by a change of one place each, and which scenario or seed notices it first.",
            ),
            Self::Fuzz => ("Fuzzing", "What comes from outside as mutated bytes ([fuzz](../../fuzz/README.md))."),
            Self::Parts => ("Parts of the tests that are left to the night", "`cargo xtask test` runs the others."),
        }
    }
}

/// What is wanted of a night.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Night {
    pieces: Vec<Piece>,
    seeds: u64,
    minutes: u64,
}

impl Night {
    /// Reads the words of the command line.
    pub(crate) fn read(words: &[String]) -> Result<Self, Failure> {
        let mut night = Self { pieces: Vec::new(), seeds: SEEDS, minutes: MINUTES };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let number = words.next().and_then(|word| word.parse().ok());
                number.ok_or_else(|| Failure::NoNumber { option: word.clone() })
            };
            match word.as_str() {
                "--seeds" => night.seeds = number()?,
                "--minutes" => night.minutes = number()?,
                name => {
                    let piece = Piece::ALL.into_iter().find(|piece| piece.name() == name);
                    let all = Piece::ALL.map(Piece::name).join(", ");
                    let unknown = || Failure::Unknown { kind: "piece of a night", name: name.to_owned(), known: all };
                    night.pieces.push(piece.ok_or_else(unknown)?);
                }
            }
        }
        if night.pieces.is_empty() {
            night.pieces = Piece::ALL.to_vec();
        }
        Ok(night)
    }

    /// What its pieces need.
    pub(crate) fn needs(&self) -> &'static [crate::need::Need] {
        if self.pieces.contains(&Piece::Fuzz) { parts::FUZZ_NEEDS } else { &[] }
    }
}

/// Runs its pieces, keeps what each came to, and writes the page of all that is kept of this code.
pub(crate) fn run(workspace: &Workspace, night: &Night) -> Result<(), Failure> {
    let shelf = Shelf::new(workspace)?;
    let mut failed = Vec::new();
    for piece in &night.pieces {
        println!("=== {} of {}", piece.name(), shelf.commit);
        let (text, well) = match piece {
            Piece::Seeds => seeds(workspace, &shelf, night.seeds),
            Piece::Mutants => mutants(workspace, &shelf),
            Piece::Fuzz => fuzzing(workspace, night.minutes),
            Piece::Parts => left_parts(workspace),
        };
        if !well {
            failed.push(piece.name());
        }
        shelf.keep(*piece, &text)?;
        shelf.write_page(workspace)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Found(format!("what failed tonight: {}", failed.join(", ")))) }
}

/// Gives the text for the page, and whether all was well.
fn seeds(workspace: &Workspace, shelf: &Shelf, count: u64) -> (String, bool) {
    let page = shelf.folder.join("seeds.page");
    let book = shelf.started("seeds", "json");
    let (count, page_name, book) = (count.to_string(), page.display().to_string(), book.display().to_string());
    let words = ["--seeds", &count, "--replay-all", "--page", &page_name, "--book", &book].map(str::to_owned);
    let ran = sim::run(workspace, &words);
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| format!("They did not run: {error}."));
    (text, ran.is_ok())
}

fn mutants(workspace: &Workspace, shelf: &Shelf) -> (String, bool) {
    let hunt = match hunt::run(workspace, &[], Some(&shelf.started("mutants", "txt"))) {
        Ok(hunt) => hunt,
        Err(error) => return (format!("They did not run: {error}."), false),
    };
    let missed = hunt.missed().len();
    let (all, minutes) = (hunt.rows.len(), hunt.took.as_secs_f64() / 60.0);
    let mut text =
        format!("{} of {all} are caught; {minutes:.0} minutes.\n\n| broken | caught |\n|---|---|\n", all - missed);
    for (name, caught) in &hunt.rows {
        let how = caught.as_deref().map_or("**not caught**", |how| how.strip_prefix("caught ").unwrap_or(how));
        text += &format!("| {name} | {} |\n", how.replace('|', "\\|"));
    }
    (text, missed == 0)
}

fn fuzzing(workspace: &Workspace, minutes: u64) -> (String, bool) {
    match fuzz::run(workspace, &[], Duration::from_secs(60 * minutes)) {
        Ok(count) => {
            let targets = count.passed + count.failed;
            (
                format!("{targets} targets for {minutes} minutes each, {} with findings.", count.failed),
                count.failed == 0,
            )
        }
        Err(error) => (format!("It did not run: {error}."), false),
    }
}

fn left_parts(workspace: &Workspace) -> (String, bool) {
    let nightly = parts::PARTS.iter().filter(|part| part.nightly.is_some());
    let has_cluster = need::is_there(workspace, &Need::Cluster);
    let (run, left): (Vec<&Part>, Vec<&Part>) =
        nightly.partition(|part| has_cluster || !part.needs.contains(&Need::Cluster));
    let names = |parts: &[&Part]| parts.iter().map(|part| part.name.to_owned()).collect::<Vec<_>>();
    let (run, left) = (names(&run), names(&left).join(", "));
    let well = crate::test(workspace, &run) == ExitCode::SUCCESS;
    let mut text = format!("{}: {}.", run.join(", "), if well { "passed" } else { "failed" });
    if !left.is_empty() {
        text += &format!(" Left out, as there was no cluster: {left}.");
    }
    (text, well)
}

/// Where results are kept, and of which code they are now.
struct Shelf {
    folder: PathBuf,
    commit: String,
}

impl Shelf {
    fn new(workspace: &Workspace) -> Result<Self, Failure> {
        let folder = workspace.target.join("nightly-results");
        std::fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
        Ok(Self { folder, commit: revision::code(workspace) })
    }

    fn path(&self, piece: Piece) -> PathBuf {
        self.folder.join(piece.name()).with_extension("md")
    }

    /// Where a piece that may be ended and go on keeps how far it came with this code.
    fn started(&self, piece: &str, form: &str) -> PathBuf {
        let path = self.folder.join(format!("{piece}-{}.{form}", self.commit));
        // What is not committed is another code each time.
        if self.commit.ends_with(revision::CHANGED) {
            let _ = std::fs::remove_file(&path);
        }
        path
    }

    /// The first line says of which code and day it is.
    fn keep(&self, piece: Piece, text: &str) -> Result<(), Failure> {
        let path = self.path(piece);
        let text = format!("{} {}\n{}\n", self.commit, revision::date(), text.trim_end());
        std::fs::write(&path, text).map_err(Failure::file(&path))
    }

    /// The day and the text of a piece, if it was run of this code.
    fn kept(&self, piece: Piece) -> Option<(String, String)> {
        let text = std::fs::read_to_string(self.path(piece)).ok()?;
        let (head, text) = text.split_once('\n')?;
        let (commit, date) = head.split_once(' ')?;
        (commit == self.commit).then(|| (date.to_owned(), text.to_owned()))
    }

    fn page(&self) -> String {
        let mut page =
            format!("# The night's long run\n\nWritten by `cargo xtask nightly`, of commit {}.\n", self.commit);
        for piece in Piece::ALL {
            let (heading, about) = piece.about();
            let (when, text) = self.kept(piece).map_or_else(
                || (String::new(), format!("Not run of this code yet: `cargo xtask nightly {}`.\n", piece.name())),
                |(date, text)| (format!(" Run on {date}."), text),
            );
            page += &format!("\n## {heading}\n\n{about}{when}\n\n{text}");
        }
        page
    }

    fn write_page(&self, workspace: &Workspace) -> Result<(), Failure> {
        let path = workspace.root.join("docs/reference/nightly.md");
        std::fs::write(&path, self.page()).map_err(Failure::file(&path))?;
        println!("written: {}", path.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_night_is_all_pieces_or_those_that_are_named() {
        let all = Night::read(&[]).unwrap();
        assert_eq!((all.pieces.len(), all.seeds, all.minutes), (4, SEEDS, MINUTES));
        let some = Night::read(&words("mutants fuzz --minutes 3")).unwrap();
        assert_eq!(some, Night { pieces: vec![Piece::Mutants, Piece::Fuzz], seeds: SEEDS, minutes: 3 });
        assert!(Night::read(&words("--seeds many")).unwrap_err().to_string().contains("needs a number"));
        assert!(Night::read(&words("moons")).unwrap_err().to_string().contains("seeds, mutants, fuzz, parts"));
    }

    #[test]
    fn the_page_takes_up_what_was_run_of_the_same_code_only() {
        let folder = std::env::temp_dir().join(format!("statemesh-night-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let before = Shelf { folder: folder.clone(), commit: "aaa".to_owned() };
        before.keep(Piece::Fuzz, "of old").unwrap();
        let shelf = Shelf { folder: folder.clone(), commit: "bbb".to_owned() };
        shelf.keep(Piece::Seeds, "all well").unwrap();
        let page = shelf.page();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(page.contains("all well") && page.contains("of commit bbb") && !page.contains("of old"), "{page}");
        assert!(page.contains("Not run of this code yet: `cargo xtask nightly fuzz`"), "{page}");
    }
}
