//! The arguments of the verbs that need no daemon.

use crate::faults::FaultsArg;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Files with a definition each; - is stdin. One may name the machine of another as its child, in whatever order they are given
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Take warnings for errors
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// The definition
    #[arg(required_unless_present = "batch", value_name = "MACHINE.json")]
    pub(crate) machine: Option<PathBuf>,
    /// Events, one JSON object on each line; {"type":"@advance","ms":500} lets time pass; {"type":"@retry"} fires the timer again that a stuck machine holds, {"type":"@skip"} drops it; blank lines are skipped [default: stdin]
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Many runs: {"machine":...,"events":[...]} on each line gives a line {"snapshots":[...]} or {"error":...}, blank ones are skipped; - is stdin
    #[arg(long, conflicts_with_all = ["machine", "events"], value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,
    /// The machine's input: JSON
    #[arg(long, conflicts_with = "batch", value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// The definition of a machine that this one invokes; may be given again
    #[arg(long, conflicts_with = "batch", value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// What is expected: an object on each line, for the start and for each event. What it names must be so; a difference is shown, and
    /// the exit code is 1. `-o json` writes such lines
    #[arg(long, conflicts_with = "batch", value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
    /// What becomes of an expression without a value, whatever the definition says
    #[arg(long, conflicts_with = "batch", value_enum, value_name = "WORD")]
    pub(crate) faults: Option<FaultsArg>,
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The folder to write into, which is made; files that are there are not replaced
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The definition; - is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Who is to read it
    #[arg(long, value_enum, default_value_t, value_name = "WORD")]
    pub(crate) format: ExportTo,
    /// The definition of a machine that this one invokes; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
}

/// Who reads an exported definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportTo {
    /// XState 6: createMachineFromConfig, with an evaluator for CEL
    #[default]
    Xstate6,
    /// XState 5: createMachine, once its expressions are made into functions
    Xstate5,
    /// SCXML, with the datamodel of ECMAScript
    Scxml,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    pub(crate) from: ImportFrom,
}

/// What a definition is made of.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportFrom {
    /// XState's JSON; a JavaScript or TypeScript file that exports a machine, by node and the npm package statemesh-xstate
    Xstate {
        /// The document; - is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        live: LiveArgs,
    },
    /// An SCXML document that needs no ECMAScript but comparisons and arithmetic
    Scxml {
        /// The document; - is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What of a program is meant: the npm package takes these.
#[derive(Args, Debug, Default)]
pub(crate) struct LiveArgs {
    /// Which export of the file; of a function, the machine that it makes
    #[arg(long, value_name = "EXPORT")]
    pub(crate) name: Option<String>,
    /// The version of XState that a JSON document was written for; a machine knows its own
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(4..=5))]
    pub(crate) from: Option<u8>,
    /// The machine's name in the mesh, if not its own
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Not the machine itself, but one that it invokes or spawns
    #[arg(long, value_name = "NAME")]
    pub(crate) child: Option<String>,
    /// An actor that is a machine of the mesh, though the file does not say so; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DrawArgs {
    /// The definition; - is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The language of the drawing; svg and png need the program dot of Graphviz
    #[arg(long, value_enum, default_value_t, value_name = "WORD")]
    pub(crate) format: Drawing,
    /// The definition of a machine that this one invokes; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// Mark where an instance is: a state such as a.b, or a state value in JSON; may be given again for parallel regions
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<String>,
}

/// The language of a drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drawing {
    /// Mermaid, which many pages show as it is
    #[default]
    Mermaid,
    /// Graphviz' language
    Dot,
    /// A picture that scales, by Graphviz' program dot
    Svg,
    /// A picture of points, by Graphviz' program dot
    Png,
}
