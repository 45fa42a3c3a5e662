//! `coldforge explain CODE`: what a code means, and what to do.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

use super::ui::{Ui, columns};
use super::{Result, Verdict, boxed};
use crate::policy::nearest;
use crate::{component, edit, formats, harden, imagebuilder, policy, windows};
use coldforge_base::Failure;
use coldforge_base::failure::Code;

/// Explain a code of an error or a warning
///
/// Every refusal has a stable code (E-VOLUME-DIRTY), and so has every warning (W-SHADOW-COPIES). Without a code all are
/// listed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  coldforge explain E-VOLUME-DIRTY     what it means, what to do
  coldforge explain                    every code in one line
  coldforge explain --json             the table as a document")]
pub(super) struct Arguments {
    /// The code, in upper or lower case
    code: Option<String>,
}

/// No error has the code.
#[derive(Debug, Error, Failure)]
#[failure(not_found, hint = "run `coldforge explain` for the list of codes")]
#[error("there is no code `{code}`{}", nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default())]
struct UnknownCode {
    code: String,
    nearest: Option<&'static str>,
}

/// One code with everything that can cause it.
#[derive(Clone, Debug, Serialize)]
struct Explained {
    code: &'static str,
    /// The exit codes that a run ends with; none of a warning.
    exit_codes: Vec<u8>,
    causes: Vec<Cause>,
}

/// One of the things that a code is used for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Cause {
    meaning: &'static str,
    hint: &'static str,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let all = table();
    let shown: Vec<&Explained> = match &arguments.code {
        None => all.iter().collect(),
        Some(code) => {
            let wanted = code.to_ascii_uppercase();
            let found = all.iter().find(|explained| explained.code == wanted);
            let codes = || all.iter().map(|explained| explained.code);
            let unknown = || boxed(UnknownCode { code: code.clone(), nearest: nearest(&wanted, codes()) });
            vec![found.ok_or_else(unknown)?]
        }
    };
    if ui.json {
        ui.document(&json!({ "schema": "coldforge/codes/1", "codes": shown }));
    } else if arguments.code.is_some() {
        shown.iter().for_each(|explained| ui.data(&explained.text()));
    } else {
        let rows: Vec<Vec<String>> =
            shown.iter().map(|explained| vec![explained.code.to_owned(), explained.summary().to_owned()]).collect();
        ui.data(&columns(&rows));
    }
    Ok(Verdict::Done)
}

impl Explained {
    fn summary(&self) -> &'static str {
        self.causes.first().map_or("", |cause| cause.meaning)
    }

    fn ends(&self) -> String {
        match self.exit_codes.as_slice() {
            [] => "a warning; the run goes on".to_owned(),
            [code] => format!("exit code {code}"),
            codes => format!("exit code {}", codes.iter().map(u8::to_string).collect::<Vec<_>>().join(" or ")),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} ({})\n", self.code, self.ends());
        for Cause { meaning, hint } in &self.causes {
            text.push_str(&format!("\n{meaning}\n"));
            if !hint.is_empty() {
                text.push_str(&format!("hint: {hint}\n"));
            }
        }
        text
    }
}

/// Returns every code, in alphabetical order.
fn table() -> Vec<Explained> {
    let mut all: BTreeMap<&'static str, Explained> = BTreeMap::new();
    for Code { code, kind, meaning, hint } in tables() {
        let explained =
            all.entry(code).or_insert_with(|| Explained { code, exit_codes: Vec::new(), causes: Vec::new() });
        if let Some(exit_code) =
            kind.map(super::exit_code).filter(|exit_code| !explained.exit_codes.contains(exit_code))
        {
            explained.exit_codes.push(exit_code);
        }
        let cause = Cause { meaning, hint };
        if !explained.causes.contains(&cause) {
            explained.causes.push(cause);
        }
    }
    all.into_values().collect()
}

/// Warnings that the rooms write into the list of what was noticed.
const WARNINGS: &[Code] = &[
    Code::warning(
        "W-AUTOSTART",
        "A component writes something that Windows runs by itself.",
        "look at the step that is named; --scripts fail refuses such components",
    ),
    Code::warning(
        "W-BENCHMARK-OLDER",
        "The benchmark file is of an older release than the built-in one.",
        "get the current release from DISA, or leave the file out",
    ),
    Code::warning(
        "W-BENCHMARK-RULES",
        "The benchmark file lacks rules of the built-in release.",
        "compare the two with `coldforge rules diff`",
    ),
    Code::warning(
        "W-BENCHMARK-SEVERITY",
        "Rules have a lower severity in the benchmark file than in the built-in release.",
        "compare the two with `coldforge rules diff`",
    ),
    Code::warning(
        "W-CONTROL-SET",
        "The next start loads another control set than the last one used; both are edited.",
        "",
    ),
    Code::warning(
        "W-CONTROL-SET-FAILED",
        "A control set once failed to start.",
        "start the machine once, and look why",
    ),
    Code::warning(
        "W-DOMAIN-UNKNOWN",
        "The SECURITY hive cannot be read, so it is not known whether the machine belongs to a domain.",
        "run `coldforge check` on the image",
    ),
    Code::warning(
        "W-HISTORY",
        "A run could not be entered into the history of its pipeline.",
        "check that the history file can be written",
    ),
    Code::warning(
        "W-HISTORY-COPIED",
        "A history has runs of recipes in another folder; nothing is done because of them.",
        "remove the copied history if these runs do not matter here",
    ),
    Code::warning(
        "W-HIVE-DIRTY-ACCEPTED",
        "A hive was dirty and had no usable log; it was taken as it is, because --accept-dirty-hive was given.",
        "",
    ),
    Code::warning("W-HIVE-RECOVERED", "A hive was dirty and was recovered from its log, as Windows does it.", ""),
    Code::warning(
        "W-HIVE-REFCOUNTS",
        "A hive has security descriptors with wrong reference counts.",
        "--accept-refcounts takes the hive and sets the counts right",
    ),
    Code::warning(
        "W-NOTIFY",
        "Somebody who should have been notified of a run was not.",
        "check the entry of the recipe",
    ),
    Code::warning(
        "W-PREFLIGHT",
        "Checks of the preflight fail, and the run went on.",
        "run `coldforge preflight` for what to do about each",
    ),
    Code::warning(
        "W-REG-NAME",
        "A name cannot be written as text; it is left out of the export.",
        "look at it with `coldforge reg get --json`",
    ),
    Code::warning(
        "W-SECRET",
        "A parameter of a component looks like a secret, and the audit log records every value.",
        "give a value that may be read by everybody who reads the log",
    ),
    Code::warning("W-STIG-FORCED", "A STIG of another Windows was assessed, because --force-stig was given.", ""),
    Code::warning(
        "W-UNSETTLED",
        "An earlier run wrote to the image and did not end; its undo journal still lies beside it.",
        "run `coldforge undo IMAGE` to take that run back, or `coldforge undo --forget IMAGE` to keep it",
    ),
];

/// Returns the tables of all errors, refusals and warnings.
fn tables() -> impl Iterator<Item = &'static Code> {
    let rooms = [windows::CODES, policy::CODES, formats::CODES];
    let own: [&[Code]; 12] = [
        coldforge_base::confined::Error::CODES,
        coldforge_base::sddl::Error::CODES,
        coldforge_disk::Error::CODES,
        coldforge_disk::partition::Error::CODES,
        coldforge_disk::partition::CODES,
        coldforge_ntfs::Error::CODES,
        coldforge_ntfs::CODES,
        coldforge_regf::Error::CODES,
        component::Error::CODES,
        edit::Error::CODES,
        harden::Error::CODES,
        WARNINGS,
    ];
    let builder: [&[Code]; 3] =
        [imagebuilder::PipelineFault::CODES, imagebuilder::HistoryError::CODES, imagebuilder::recipe::Fault::CODES];
    rooms.into_iter().flatten().copied().chain(own).chain(builder).flatten()
}

/// Returns the table of codes as a page of the documentation.
#[cfg(test)]
fn page() -> String {
    let mut text = "# Codes of errors and warnings\n\nGenerated from the code: `coldforge explain CODE` says the same. Exit code 3: \
                    the input is understood or recognised, and going on would be unsafe; nothing was written. Exit code 4: damaged \
                    input, or the operating system failed. Exit code 2: the command asks for something impossible.\n"
        .to_owned();
    for explained in table() {
        text.push_str(&format!("\n## {}\n\n{}.\n", explained.code, capitalized(&explained.ends())));
        for Cause { meaning, hint } in &explained.causes {
            text.push_str(&format!("\n- {}", crate::formats::markdown::with_code(meaning)));
            if !hint.is_empty() {
                text.push_str(&format!("\n  Hint: {}.", crate::formats::markdown::with_code(hint)));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_it_means() {
        let all = table();
        assert!(all.len() > 150, "{}", all.len());
        for explained in all {
            for cause in &explained.causes {
                assert!(
                    cause.meaning.len() > 10 && cause.meaning.ends_with('.'),
                    "{}: {}",
                    explained.code,
                    cause.meaning
                );
            }
        }
    }

    #[test]
    fn every_code_in_the_source_is_explained() {
        let known: Vec<&str> = table().iter().map(|explained| explained.code).collect();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![root.join("src"), root.join("crates")];
        let mut missing = std::collections::BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let is_test = ["tests", "tests.rs", "fake_machine.rs", "target", "crates/derive"]
                    .iter()
                    .any(|name| path.ends_with(name));
                if path.is_dir() && !is_test {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                    missing.extend(codes_in(code).filter(|code| !known.contains(code)).map(str::to_owned));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// Returns the codes that stand at the beginning of a literal.
    fn codes_in(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').filter_map(|literal| {
            let end = literal
                .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-'))
                .unwrap_or(literal.len());
            let code = &literal[..end];
            let is_code = code.len() > 4 && (code.starts_with("E-") || code.starts_with("W-")) && !code.ends_with('-');
            (is_code && (end == literal.len() || literal[end..].starts_with(':'))).then_some(code)
        })
    }

    #[test]
    fn the_page_of_codes_is_what_the_code_gives() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let stands = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stands == page(), "docs/errors.md is not up to date: run UPDATE_DOCS=1 cargo test --lib explain");
    }
}
