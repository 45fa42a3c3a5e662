//! Floor 6: what an assessment and a run are worth to others: checklists, results, a page to read. One file a format.
//!
//! A report is rendered from [`Evidence`], which is read from the assessment document and the audit log and from nothing
//! else: the same documents give the same bytes, whenever and by whomever they are rendered. No report says that a rule
//! passed which was not assessed. Whatever comes from an image is inert in every format.

mod ckl;
mod cklb;
mod controls;
mod csv;
mod evidence;
mod hdf;
mod html;
mod junit;
mod markdown;
mod oscal;
mod provenance;
mod sarif;
mod text;
mod xccdf;
mod xml;

use std::fmt;
use std::str::FromStr;

use crate::formats::json;

pub use evidence::{Evidence, Unreadable};

/// A format of report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A page for people.
    Html,
    /// The checklist of STIG Viewer 3 (JSON).
    Cklb,
    /// The checklist of STIG Viewer 2 (XML).
    Ckl,
    /// XCCDF 1.2 with results.
    Xccdf,
    /// Heimdall Data Format, version 1.
    Hdf,
    /// OSCAL assessment results.
    Oscal,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// A table.
    Csv,
    /// A summary.
    Markdown,
    /// An in-toto statement with SLSA provenance. It tells of a run, so a mere assessment has none.
    Provenance,
}

/// Which results a SARIF document holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Results {
    /// Those of open rules, which is what code scanning expects.
    #[default]
    Open,
    /// Those of all rules.
    All,
}

/// Returns the id of a benchmark as a part of a file's name; its number, if the id is none.
fn file_word(id: &str, number: usize) -> String {
    let is_plain = !id.is_empty() && id.len() <= 100 && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if is_plain { id.to_ascii_lowercase() } else { number.to_string() }
}

/// All formats: the word, the format, and where a bundle holds it.
const FORMATS: [(&str, Format, &str); 11] = [
    ("html", Format::Html, "reports/report.html"),
    ("cklb", Format::Cklb, "reports/checklist.cklb"),
    ("ckl", Format::Ckl, "reports/checklist.ckl"),
    ("xccdf", Format::Xccdf, "reports/results.xccdf.xml"),
    ("hdf", Format::Hdf, "reports/results.hdf.json"),
    ("oscal", Format::Oscal, "reports/assessment-results.oscal.json"),
    ("sarif", Format::Sarif, "reports/results.sarif"),
    ("junit", Format::Junit, "reports/results.junit.xml"),
    ("csv", Format::Csv, "reports/findings.csv"),
    ("markdown", Format::Markdown, "reports/summary.md"),
    ("provenance", Format::Provenance, "provenance.json"),
];

impl Format {
    /// Returns every format, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().map(|(_, format, _)| *format)
    }

    /// Returns where a bundle holds it.
    pub fn path(self) -> &'static str {
        self.row().2
    }

    /// Renders the evidence into the files of a bundle: one, or with XCCDF one for each benchmark, since a document of
    /// that format is about one; none, if the format tells of something that the evidence does not hold.
    pub fn files(self, evidence: &Evidence, sarif: Results) -> Vec<(String, Vec<u8>)> {
        if self != Self::Xccdf {
            return self.render(evidence, sarif).map(|report| (self.path().to_owned(), report)).into_iter().collect();
        }
        let parts = evidence.parts();
        let place = |(number, part): (usize, &Evidence)| match number {
            0 => self.path().to_owned(),
            _ => format!("reports/results.{}.xccdf.xml", file_word(&part.benchmark.id, number)),
        };
        let places: Vec<String> = parts.iter().enumerate().map(place).collect();
        places.into_iter().zip(parts.iter().map(xccdf::render)).collect()
    }

    /// Renders the evidence as one document; `None` if the format tells of something that the evidence does not hold.
    fn render(self, evidence: &Evidence, sarif: Results) -> Option<Vec<u8>> {
        Some(match self {
            Self::Html => html::render(evidence).into_bytes(),
            Self::Cklb => json::file(&cklb::document(evidence)),
            Self::Ckl => ckl::render(evidence),
            Self::Xccdf => xccdf::render(evidence),
            Self::Hdf => json::file(&hdf::document(evidence)),
            Self::Oscal => json::file(&oscal::document(evidence)),
            Self::Sarif => json::file(&sarif::document(evidence, sarif)),
            Self::Junit => junit::render(evidence),
            Self::Csv => csv::render(evidence).into_bytes(),
            Self::Markdown => markdown::render(evidence).into_bytes(),
            Self::Provenance => json::file(&provenance::document(evidence)?),
        })
    }

    fn row(self) -> (&'static str, Self, &'static str) {
        *FORMATS.iter().find(|(_, format, _)| *format == self).expect("every format has its row")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().0)
    }
}

/// The text names no [`Format`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        FORMATS.iter().find(|(word, ..)| *word == text).map(|(_, format, _)| *format).ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::evidence::sample;
    use super::*;

    #[test]
    fn a_format_is_known_by_its_word() {
        for format in Format::all() {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("pdf".parse::<Format>(), Err(UnknownFormat));
    }

    #[test]
    fn the_same_evidence_gives_the_same_bytes() {
        for format in Format::all() {
            assert_eq!(
                format.render(&sample::harden("x"), Results::All),
                format.render(&sample::harden("x"), Results::All),
                "{format}"
            );
        }
    }

    #[test]
    fn nothing_that_comes_from_an_image_is_live_in_a_report() {
        let long = "A".repeat(1 << 20);
        let hostile = [
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "</td></tr></table><h1>A",
            "&lt;&amp;",
            "\u{1b}[31mred\u{7}",
            "a\0b\u{8}\u{b}\u{c}\u{fffe}\u{ffff}",
            "=cmd|' /C calc'!A0",
            "+1",
            "-1+1",
            "@SUM(1)",
            "\r\n\r\n=1+1",
            "]]>",
            "<!-- -->",
            "|a|b|",
            "`x` [a](javascript:alert(1))",
            "\u{202e}gnp.exe",
            "{{7*7}}",
            "</style><style>*{display:none}",
            "'; DROP TABLE findings; --",
            long.as_str(),
        ];
        for text in hostile {
            let evidence = sample::harden(text);
            let shown: String = text.chars().take(40).collect();
            for format in Format::all() {
                let bytes = format.render(&evidence, Results::All).expect("a run has every report");
                assert!(bytes.len() < 400_000, "{format} of {shown} has {} bytes", bytes.len());
                let rendered = String::from_utf8(bytes).expect("a report is UTF-8");
                for raw in ["\u{1b}", "\0", "\u{8}", "\u{fffe}", "\u{202e}"] {
                    assert!(!rendered.contains(raw), "{format}: {raw:?} of {shown}");
                }
                if matches!(format, Format::Html | Format::Markdown) {
                    for live in ["<script>alert", "<img src=x", "<h1>A", "</style><style>"] {
                        assert!(!rendered.contains(live), "{format}: {live:?} of {shown}");
                    }
                }
                // Between back ticks nothing is a link.
                let prose: String = rendered.replace("\\`", "").split('`').step_by(2).collect();
                assert!(format != Format::Markdown || !prose.contains("[a](javascript"), "{shown}");
                match format {
                    Format::Ckl | Format::Xccdf | Format::Junit => xml::tests::well_formed(&rendered),
                    Format::Csv => {
                        for cell in csv::tests::cells(&rendered).into_iter().flatten() {
                            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
                        }
                    }
                    _ if is_json(format) => drop(serde_json::from_str::<serde_json::Value>(&rendered).expect("JSON")),
                    _ => {}
                }
            }
        }
    }

    fn is_json(format: Format) -> bool {
        matches!(format, Format::Cklb | Format::Hdf | Format::Oscal | Format::Sarif | Format::Provenance)
    }
}
