//! `coldforge reg`: hands-on work on a hive file, or on the registry inside an image.

mod change;
mod look;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ui::Ui;
use super::{Result, Verdict};
use coldforge_disk::Format;
use coldforge_regf::Accept;

/// Read and edit a hive file, or the registry inside an image
///
/// TARGET is a hive file (SOFTWARE, NTUSER.DAT ...), whose keys are named from its root, or an image, whose keys begin
/// with HKLM\SOFTWARE, HKLM\SYSTEM, HKLM\SAM, HKLM\SECURITY or HKU\.DEFAULT. A dirty hive is recovered from its .LOG1
/// and .LOG2 as Windows does; a hive file's are those beside it.
///
/// What writes verifies the whole hive before and after, and writes all of it or nothing.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = r#"Examples:
  coldforge reg get base.vhd 'HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion' ProductName
  coldforge reg get SOFTWARE 'Microsoft\Windows NT\CurrentVersion'
  coldforge reg set SYSTEM 'ControlSet001\Control\Lsa' LmCompatibilityLevel 5 --type REG_DWORD
  coldforge reg export SOFTWARE 'Microsoft\Windows' > windows.reg
  coldforge reg import SOFTWARE windows.reg
  coldforge reg check base.vhd
  coldforge reg diff before/SYSTEM after/SYSTEM"#;

#[derive(Debug, Subcommand)]
enum Verb {
    Get(look::Get),
    Set(change::Set),
    Delete(change::Delete),
    Export(look::Export),
    Import(change::Import),
    Check(look::Check),
    Diff(look::Diff),
    Replay(change::Replay),
}

/// What is worked on.
#[derive(Args, Debug)]
struct Source {
    /// A hive file, or a disk image
    #[arg(value_name = "TARGET")]
    target: PathBuf,

    #[command(flatten)]
    reading: Reading,
}

/// How a target is read.
#[derive(Args, Debug)]
struct Reading {
    /// Read the target as an image in this container instead of recognising it by its first bytes
    #[arg(long, value_name = "FORMAT", value_parser = super::options::format)]
    input_format: Option<Format>,

    /// Take a dirty hive that has no usable transaction log as it lies there, instead of refusing it
    #[arg(long)]
    accept_dirty_hive: bool,

    /// Take a hive whose only errors are wrong reference counts of security descriptors; an edit sets these right
    #[arg(long)]
    accept_refcounts: bool,
}

impl Reading {
    fn accept(&self) -> Accept {
        Accept { dirty: self.accept_dirty_hive, refcounts: self.accept_refcounts }
    }
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    match &arguments.verb {
        Verb::Get(arguments) => look::get(arguments, ui),
        Verb::Set(arguments) => change::set(arguments, ui),
        Verb::Delete(arguments) => change::delete(arguments, ui),
        Verb::Export(arguments) => look::export(arguments, ui),
        Verb::Import(arguments) => change::import(arguments, ui),
        Verb::Check(arguments) => look::check(arguments, ui),
        Verb::Diff(arguments) => look::diff(arguments, ui),
        Verb::Replay(arguments) => change::replay(arguments, ui),
    }
}
