//! The terminal: the only place that prints. stdout is data, stderr is status.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

use crate::formats::json::{self, is_obeyed};
use coldforge_base::Failure;
use coldforge_base::progress::Progress;

/// Work that is done sooner shows no progress.
const PATIENCE: Duration = Duration::from_millis(250);

/// Where a verb's words go.
#[derive(Debug)]
pub(super) struct Ui {
    /// Whether stdout carries one JSON document.
    pub(super) json: bool,
    quiet: bool,
    bar: Mutex<Bar>,
    /// Why stdout did not take everything.
    broken: Mutex<Option<io::Error>>,
}

#[derive(Debug)]
struct Bar {
    begun: Instant,
    shown: Option<ProgressBar>,
}

impl Ui {
    /// Returns a terminal for one run.
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let bar = Mutex::new(Bar { begun: Instant::now(), shown: None });
        Self { json, quiet, bar, broken: Mutex::new(None) }
    }

    /// Prints text on stdout. Whatever it was made of, nothing in it is obeyed by a terminal.
    pub(super) fn data(&self, text: &str) {
        self.bytes(lines(text).as_bytes());
    }

    /// Writes bytes to stdout as they are, and tells whether more are wanted.
    pub(super) fn bytes(&self, bytes: &[u8]) -> bool {
        self.clear();
        let written = io::stdout().lock().write_all(bytes).and_then(|()| io::stdout().flush());
        // A reader that went away (`| head`) wants no more. Anything else leaves a report that is cut.
        match written {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::BrokenPipe
                    && let Ok(mut broken) = self.broken.lock()
                {
                    *broken = Some(error);
                }
                false
            }
        }
    }

    /// Returns why stdout did not take everything, if it did not.
    pub(super) fn broken(&self) -> Option<BrokenOutput> {
        self.broken.lock().ok()?.take().map(|source| BrokenOutput { source })
    }

    /// Prints one JSON document on stdout.
    pub(super) fn document(&self, document: &impl Serialize) {
        self.bytes(&json::file(document));
    }

    /// Prints a line of status on stderr.
    pub(super) fn status(&self, line: &str) {
        if !self.quiet {
            self.clear();
            let _ = writeln!(io::stderr().lock(), "{}", lines(line));
        }
    }

    /// Prints why a verb failed: its chain of causes, then what to do.
    pub(super) fn failure(&self, error: &dyn Failure) {
        let text = chain(error);
        if self.json {
            let document = json!({
                "schema": "coldforge/error/1",
                "kind": error.kind(),
                "code": error.code(),
                "message": text,
                "place": error.place(),
                "hint": error.advice(),
            });
            self.document(&document);
        }
        self.complaint(error);
    }

    /// Prints what is wrong with a part of the work on stderr; the rest of it goes on, and its document tells of it.
    pub(super) fn complaint(&self, error: &dyn Failure) {
        self.clear();
        let text = chain(error);
        let code = error.code().map(|code| format!("[{code}] ")).unwrap_or_default();
        let (red, plain) = if color() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let message = format!("{red}error:{plain} {code}{}\n\nhint: {}\n", lines(&text), error.advice());
        let _ = io::stderr().lock().write_all(message.as_bytes());
    }

    fn clear(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(shown) = bar.shown.take()
        {
            shown.finish_and_clear();
        }
    }
}

/// stdout did not take everything.
#[derive(Debug, Error, Failure)]
#[error("the output could not be written")]
#[failure(io, hint = "check where the output goes: what was printed is cut")]
pub(super) struct BrokenOutput {
    source: io::Error,
}

/// Returns an error's sentence with those of its causes.
fn chain(error: &dyn Failure) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let sentence = source.to_string();
        if !text.ends_with(&sentence) {
            text = format!("{text}: {sentence}");
        }
        cause = source.source();
    }
    text
}

/// Tells whether stderr takes colour.
fn color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Progress for Ui {
    fn start(&self, stage: &'static str, total: u64) {
        if self.quiet || !io::stderr().is_terminal() {
            return;
        }
        if let Ok(mut bar) = self.bar.lock() {
            if let Some(shown) = bar.shown.take() {
                shown.finish_and_clear();
            }
            let template = if total == 0 {
                "{spinner} {msg}"
            } else {
                "{msg:20} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left"
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let shown = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
            shown.set_style(style);
            shown.set_message(stage);
            shown.enable_steady_tick(PATIENCE / 2);
            let waiting = shown.clone();
            let rest = PATIENCE.saturating_sub(bar.begun.elapsed());
            bar.shown = Some(shown);
            // Work without steps says nothing by itself, so somebody else must look at the clock for it.
            std::thread::spawn(move || {
                std::thread::sleep(rest);
                if !waiting.is_finished() {
                    waiting.set_draw_target(ProgressDrawTarget::stderr());
                }
            });
        }
    }

    fn advance(&self, by: u64) {
        if let Ok(bar) = self.bar.lock()
            && let Some(shown) = &bar.shown
        {
            shown.inc(by);
        }
    }

    fn finish(&self) {
        self.clear();
    }
}

/// Lays rows out in columns, each as wide as its widest cell; the last one runs free.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Says a number of bytes as a person would.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = count as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} bytes") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

/// Makes text from an image fit for a terminal: what is obeyed there instead of shown is spelled out, line ends as well.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if is_obeyed(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Makes text fit for a terminal, as [`plain`] does, and keeps its lines and columns.
fn lines(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|part| match part.char_indices().next_back() {
            Some((at, end @ ('\n' | '\t'))) => format!("{}{end}", plain(&part[..at])),
            _ => plain(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_an_image_never_reach_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\r\n"), "a\\u{1b}[31mb\\r\\n");
        assert_eq!(lines("a\tb\x1b\r\n\n\u{202e}c"), "a\tb\\u{1b}\\r\n\n\\u{202e}c");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(columns(&rows), "a    bb\nccc  d\n");
    }

    #[test]
    fn sizes_are_said_as_a_person_would() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(4 << 30), "4.0 GiB");
    }
}
