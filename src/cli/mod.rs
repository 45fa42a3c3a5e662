//! Floor 7: the command line. One verb, one file; `ui` is the only place that prints.
//!
//! Data goes to stdout, status to stderr. Exit codes: 0 done and nothing open at or above `--fail-on`, 1 done with
//! findings open (or a bundle that does not verify), 2 usage, 3 refused, 4 failed.

mod cat;
mod check;
mod component;
mod convert;
mod diff;
mod explain;
mod generate;
mod harden;
mod inspect;
mod ls;
mod options;
mod pipeline;
mod preflight;
mod put;
mod recipe;
mod reg;
mod report;
mod rules;
mod scan;
mod schema;
mod signals;
mod signing;
mod ui;
mod undo;
mod verify;
mod volume;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use coldforge_base::{Failure, Kind};
use ui::Ui;

/// Harden Windows disk images without booting them
///
/// coldforge opens an image (raw, VHD, VHDX, VMDK), finds the Windows in it, and applies a DISA STIG to its registry hives.
/// It writes a hardened image and a checksummed audit log; the source is written to only by `harden --in-place`. The verbs
/// below `rules` are for hands-on work: they write into the file that is named, or with -o into a new one.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,

    /// Print one JSON document on stdout instead of text
    #[arg(long, global = true)]
    json: bool,

    /// Say nothing on stderr but errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, nothing open at or above --fail-on · 1 done, findings open · 2 usage · 3 refused (with a code such \
as E-VOLUME-DIRTY) · 4 failed · 130 stopped by Ctrl-C (143 by SIGTERM): no temporary file is left, and \
what was already done is said

Examples:
  coldforge inspect base.vhd                 what the image holds, and what would stand against editing it
  coldforge scan base.vhd                    assess it, change nothing
  coldforge preflight base.vhd               would AWS take it, would it start there, could anybody log on
  coldforge harden base.vhd -o hardened      write a bundle: hardened image, audit log, import files
  coldforge run recipe.toml                  harden, test and release the images of a recipe
  coldforge verify hardened --source base.vhd   prove that bundle
  coldforge reg get base.vhd 'HKLM\\SYSTEM\\Select'   look into the registry of the image
  coldforge put base.vhd new.cmd /Windows/Setup/Scripts/new.cmd   put a file into it";

#[derive(Debug, Subcommand)]
enum Verb {
    Inspect(inspect::Arguments),
    Scan(Box<scan::Arguments>),
    Harden(Box<harden::Arguments>),
    Preflight(preflight::Arguments),
    Verify(verify::Arguments),
    Report(report::Arguments),
    Rules(rules::Arguments),
    Component(component::Arguments),
    Recipe(recipe::Arguments),
    Run(recipe::Run),
    Pipeline(pipeline::Arguments),
    Reg(reg::Arguments),
    Check(check::Arguments),
    Ls(ls::Arguments),
    Cat(cat::Arguments),
    Put(put::Put),
    #[command(name = "mkdir")]
    MakeDirectory(put::MakeDirectory),
    #[command(name = "rm")]
    Remove(put::Remove),
    Convert(convert::Arguments),
    Diff(diff::Arguments),
    Undo(undo::Arguments),
    Explain(explain::Arguments),
    Schema(schema::Arguments),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// What a verb says about its own success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// Done, and nothing is left to do.
    Done,
    /// Done, and findings are open or claims do not hold.
    Open,
    /// A part could not be looked into, and the document says why.
    Refused,
    /// A part failed, and the document says why.
    Failed,
}

/// The answer of a verb.
type Result<T> = std::result::Result<T, Box<dyn Failure>>;

/// Parses the command line, runs one verb and returns the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    let ui = Ui::new(arguments.json, arguments.quiet);
    signals::watch();
    let verdict = match &arguments.verb {
        Verb::Inspect(arguments) => inspect::run(arguments, &ui),
        Verb::Scan(arguments) => scan::run(arguments, &ui),
        Verb::Harden(arguments) => harden::run(arguments, &ui),
        Verb::Preflight(arguments) => preflight::run(arguments, &ui),
        Verb::Verify(arguments) => verify::run(arguments, &ui),
        Verb::Report(arguments) => report::run(arguments, &ui),
        Verb::Rules(arguments) => rules::run(arguments, &ui),
        Verb::Component(arguments) => component::run(arguments, &ui),
        Verb::Recipe(arguments) => recipe::look(arguments, &ui),
        Verb::Run(arguments) => recipe::run(arguments, &ui),
        Verb::Pipeline(arguments) => pipeline::run(arguments, &ui),
        Verb::Reg(arguments) => reg::run(arguments, &ui),
        Verb::Check(arguments) => check::run(arguments, &ui),
        Verb::Ls(arguments) => ls::run(arguments, &ui),
        Verb::Cat(arguments) => cat::run(arguments, &ui),
        Verb::Put(arguments) => put::put(arguments, &ui),
        Verb::MakeDirectory(arguments) => put::make_directory(arguments, &ui),
        Verb::Remove(arguments) => put::remove(arguments, &ui),
        Verb::Convert(arguments) => convert::run(arguments, &ui),
        Verb::Diff(arguments) => diff::run(arguments, &ui),
        Verb::Undo(arguments) => undo::run(arguments, &ui),
        Verb::Explain(arguments) => explain::run(arguments, &ui),
        Verb::Schema(arguments) => schema::run(arguments, &ui),
        Verb::Completions(arguments) => generate::completions(arguments, &ui),
        Verb::Man(arguments) => generate::man(arguments, &ui),
    };
    signals::heed();
    let verdict = match ui.broken() {
        Some(broken) => Err(boxed(broken)),
        None => verdict,
    };
    match verdict {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Open) => ExitCode::from(1),
        Ok(Verdict::Refused) => ExitCode::from(3),
        Ok(Verdict::Failed) => ExitCode::from(4),
        Err(error) => {
            ui.failure(&*error);
            ExitCode::from(exit_code(error.kind()))
        }
    }
}

/// Returns the exit code of a failure.
fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Usage => 2,
        Kind::Refused | Kind::Unsupported => 3,
        Kind::Corrupt | Kind::Io | Kind::Limit | Kind::NotFound => 4,
    }
}

/// Says what clap says of the command line (help and version are of that kind too), and with `--json` also as a
/// document, since a program may be waiting for one.
fn misused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.render().to_string();
        let message = message.trim_start_matches("error: ").trim_end();
        Ui::new(true, true).document(&serde_json::json!({
            "schema": "coldforge/error/1",
            "kind": Kind::Usage,
            "code": null,
            "message": message,
            "hint": "run `coldforge help` for the commands and their options",
        }));
    }
    let _ = error.print(); // there is nowhere else to say it
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Boxes a floor's error for the command line.
fn boxed<E: Failure>(error: E) -> Box<dyn Failure> {
    Box::new(error)
}
