//! `coldforge completions` and `coldforge man`: what a shell and a pager need, made from the command line itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::ui::Ui;
use super::{Result, Verdict, boxed};
use coldforge_base::fs;

/// Print the completions of a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coldforge completions bash > ~/.local/share/bash-completion/completions/coldforge
  coldforge completions zsh > ~/.zfunc/_coldforge
  coldforge completions fish > ~/.config/fish/completions/coldforge.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual pages into a folder, one a command
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  coldforge man -o man1     then: man -l man1/coldforge-harden.1")]
pub(super) struct Man {
    /// The folder, which does not exist yet or is empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(super) fn completions(arguments: &Completions, ui: &Ui) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "coldforge", &mut script);
    ui.bytes(&script);
    Ok(Verdict::Done)
}

pub(super) fn man(arguments: &Man, ui: &Ui) -> Result<Verdict> {
    let mut command = super::Arguments::command();
    command.build();
    let mut files = Vec::new();
    pages(&command, "coldforge", &mut files).map_err(fs::failed("write", &arguments.output)).map_err(boxed)?;
    let count = files.len();
    fs::write_folder(&arguments.output, &files).map_err(boxed)?;
    ui.status(&format!("{count} pages in {}", arguments.output.display()));
    Ok(Verdict::Done)
}

/// Renders the page of a command, and those of the commands below it.
fn pages(command: &clap::Command, name: &str, files: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let titled = command.clone().bin_name(name.replace('-', " ")).display_name(name);
    let mut page = Vec::new();
    // A page without a day is the same whenever it is made.
    Page::new(titled).date("").render(&mut page)?;
    files.push((format!("{name}.1"), page));
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    for below in below {
        pages(below, &format!("{name}-{}", below.get_name()), files)?;
    }
    Ok(())
}
