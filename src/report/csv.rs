//! A table of all rules (RFC 4180), for spreadsheets.

use super::evidence::{Evidence, found};
use super::text::plain;

const HEAD: [&str; 14] = [
    "vuln_id", "rule_id", "stig_id", "severity", "category", "kind", "title", "status", "changed", "setting", "found",
    "required", "file", "reason",
];

/// Returns one line for each rule.
pub(super) fn render(evidence: &Evidence) -> String {
    let mut text = row(HEAD.map(str::to_owned));
    for finding in &evidence.findings {
        text.push_str(&row([
            finding.vuln_id.clone(),
            finding.rule_id.clone(),
            finding.stig_id.clone(),
            finding.severity.to_string(),
            finding.severity.category().to_owned(),
            finding.kind.to_string(),
            finding.title.clone(),
            finding.status.word().to_owned(),
            if evidence.is_changed(finding) { "yes" } else { "no" }.to_owned(),
            finding.setting.as_ref().map(ToString::to_string).unwrap_or_default(),
            found(finding).unwrap_or_default(),
            finding.required.clone().unwrap_or_default(),
            finding.at.as_ref().map(|at| at.file.clone()).unwrap_or_default(),
            finding.reason.clone().unwrap_or_default(),
        ]));
    }
    // Behind the rules: what they cover, as rows that name no rule.
    for said in &evidence.scope {
        let mut cells: [String; HEAD.len()] = Default::default();
        cells[5] = "scope".to_owned();
        cells[6] = said.clone();
        text.push_str(&row(cells));
    }
    text
}

fn row<const N: usize>(cells: [String; N]) -> String {
    format!("{}\r\n", cells.map(|cell| quoted(&cell)).join(","))
}

/// Returns a cell. A spreadsheet takes a text that begins with one of these signs for a formula: an apostrophe before it
/// keeps it a text.
fn quoted(cell: &str) -> String {
    let cell = plain(cell);
    let formula = cell.trim_start().starts_with(['=', '+', '-', '@']) || cell.starts_with(['\t', '\n']);
    let cell = if formula { format!("'{cell}") } else { cell };
    if cell.contains(['"', ',', '\n', '\t']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::evidence::sample;
    use super::*;

    /// Reads a table.
    pub(in super::super) fn cells(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell, mut inside) = (Vec::new(), Vec::new(), String::new(), false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if inside && chars.peek() == Some(&'"') => {
                    chars.next();
                    cell.push('"');
                }
                '"' => inside = !inside,
                ',' if !inside => row.push(std::mem::take(&mut cell)),
                '\r' if !inside => {}
                '\n' if !inside => {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                c => cell.push(c),
            }
        }
        rows
    }

    #[test]
    fn every_rule_has_a_row_of_all_columns() {
        let evidence = sample::harden("a \"quoted\", text\nwith = lines");
        let rows = cells(&render(&evidence));
        assert_eq!(rows.len(), evidence.findings.len() + 2, "the head, the rules, and what they cover");
        assert!(rows.iter().all(|row| row.len() == HEAD.len()));
        assert_eq!(rows[1][10], "REG_SZ a \"quoted\", text\nwith = lines");
        assert_eq!(quoted("=1"), "'=1");
    }
}
