//! A page for people: one file that needs nothing else, to read, to search and to print.
//!
//! Every text goes through [`escaped`]; the page's policy forbids it to load or to send anything, and to run any script
//! but its own.

use std::collections::BTreeSet;

use super::Format;
use super::evidence::{Evidence, Finding, Status, found, shown};
use super::text::plain;
use crate::audit::{ImageRecord, Log, PreflightCheck, PreflightDocument, Verdict};
use crate::policy::Severity;
use coldforge_base::digest::{Digest, base64};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

const SEVERITIES: [Severity; 3] = [Severity::High, Severity::Medium, Severity::Low];
const STATUSES: [Status; 4] = [Status::Pass, Status::Open, Status::NotApplicable, Status::NotReviewed];

/// Returns the page.
pub(super) fn render(evidence: &Evidence) -> String {
    let hash = |text: &str| base64(&Digest::of(text.as_bytes()).0);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let title = format!("{}: {}", evidence.benchmark, evidence.image);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&title)
    );
    page.push_str(&head(evidence));
    page.push_str(&scores(evidence));
    page.push_str(&scope(evidence));
    if let Some(log) = &evidence.log {
        page.push_str(&warnings(log));
    }
    page.push_str(&rules(evidence));
    page.push_str(&waivers(evidence));
    if let Some(log) = &evidence.log {
        page.push_str(&left(evidence, log));
        page.push_str(&changes(log));
        page.push_str(&images(log));
    }
    page.push_str(&evidence.preflight.as_ref().map(preflight).unwrap_or_default());
    page.push_str(&format!(
        "<p class=\"soft\">Made by {} {} from the assessment document and the audit log. A rule that was not assessed is \
         never counted as passed.</p>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        escaped(&evidence.tool.name),
        escaped(&evidence.tool.version)
    ));
    page
}

fn head(evidence: &Evidence) -> String {
    let when = evidence.started.as_deref().map_or_else(String::new, |when| format!(" · {}", escaped(when)));
    let [pass, open, ..] = evidence.counts(None);
    let verdict = match (pass, open) {
        (0, 0) => "No rule was assessed.".to_owned(),
        (_, 0) => format!("All {pass} rules that were assessed hold."),
        _ => format!("{open} of {} rules that were assessed are open.", pass + open),
    };
    format!(
        "<header><div><h1>{}</h1><p class=\"soft\">{} · {} · <code>{}</code>{when}</p><p><strong>{verdict}</strong></p></div>\
         <button id=\"theme\" class=\"scripted\" type=\"button\" hidden>Light or dark</button></header>\n",
        escaped(&evidence.benchmark.to_string()),
        escaped(&evidence.product),
        escaped(evidence.role_words()),
        escaped(&evidence.image),
    )
}

fn scores(evidence: &Evidence) -> String {
    let mut html = "<section aria-label=\"Score\"><div class=\"cards\">\n".to_owned();
    for severity in SEVERITIES {
        let now = evidence.counts(Some(severity));
        let mut bars = Vec::new();
        bars.extend(evidence.counts_before(severity).map(|counts| ("before", counts)));
        bars.push(("now", now));
        let [pass, open, _, not_reviewed] = now;
        let score = match (100 * pass).checked_div(pass + open) {
            Some(percent) => format!("{percent} %"),
            None => "-".to_owned(),
        };
        html.push_str(&format!(
            "<div class=\"card\"><h3>{}</h3><div class=\"big\">{score}</div><div class=\"soft\">{pass} of {} assessed \
             rules hold; {not_reviewed} not reviewed</div>{}</div>\n",
            severity.category(),
            pass + open,
            chart(severity, &bars)
        ));
    }
    html.push_str("</div><ul class=\"legend\">");
    for (status, class) in STATUSES.into_iter().zip(["pass", "open", "na", "nr"]) {
        html.push_str(&format!("<li><i class=\"b-{class}\"></i>{}</li>", status.words()));
    }
    html.push_str("</ul></section>\n");
    html
}

/// Draws one bar for each row of counts.
fn chart(severity: Severity, rows: &[(&str, [usize; 4])]) -> String {
    const WIDTH: usize = 300;
    const LABEL: usize = 44;
    let height = rows.len() * 20;
    let said: Vec<String> = rows
        .iter()
        .map(|(name, [pass, open, na, nr])| {
            format!("{name}: {pass} not a finding, {open} open, {na} not applicable, {nr} not reviewed")
        })
        .collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}: {}\">",
        severity.category(),
        said.join("; ")
    );
    for (row, (name, counts)) in rows.iter().enumerate() {
        let top = row * 20;
        svg.push_str(&format!("<text x=\"0\" y=\"{}\">{name}</text>", top + 13));
        let total: usize = counts.iter().sum();
        let mut before = 0;
        for (count, class) in counts.iter().zip(["pass", "open", "na", "nr"]) {
            let place = |count: usize| LABEL + ((WIDTH - LABEL) * count).checked_div(total).unwrap_or(0);
            let (from, to) = (place(before), place(before + count));
            if to > from {
                svg.push_str(&format!(
                    "<rect class=\"s-{class}\" x=\"{from}\" y=\"{}\" width=\"{}\" height=\"12\"/>",
                    top + 3,
                    to - from
                ));
            }
            before += count;
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Says what the result covers, what it leaves out, and what a benchmark file lacks.
fn scope(evidence: &Evidence) -> String {
    if evidence.scope.is_empty() {
        return String::new();
    }
    let items: String = evidence.scope.iter().map(|said| format!("<li>{}</li>\n", escaped(said))).collect();
    format!("<section><h2>What this covers</h2>\n<ul>\n{items}</ul></section>\n")
}

fn warnings(log: &Log) -> String {
    log.header.warnings.iter().map(|warning| format!("<p class=\"note\">{}</p>\n", escaped(warning))).collect()
}

fn rules(evidence: &Evidence) -> String {
    let kinds: BTreeSet<String> = evidence.findings.iter().map(|finding| finding.kind.to_string()).collect();
    let option = |value: &str, text: &str| format!("<option value=\"{}\">{}</option>", escaped(value), escaped(text));
    let select = |id: &str, label: &str, options: String| {
        format!("<label>{label}<select id=\"{id}\"><option value=\"\">all</option>{options}</select></label>")
    };
    let mut statuses: String = STATUSES.iter().map(|status| option(status.word(), status.words())).collect();
    if evidence.log.is_some() {
        statuses.push_str(&option("changed", "Changed"));
    }
    let mut html = format!(
        "<section aria-labelledby=\"rules-title\"><h2 id=\"rules-title\">Rules</h2>\n<div class=\"filters scripted\" hidden>\
         <label class=\"wide\">Search<input id=\"search\" type=\"search\" placeholder=\"id, title, key, value\"></label>{}{}{}\
         <span id=\"count\" role=\"status\"></span></div>\n<ul class=\"rules\" id=\"rules\">\n",
        select(
            "severity",
            "Severity",
            SEVERITIES.iter().map(|severity| option(severity.as_str(), severity.category())).collect()
        ),
        select("status", "Status", statuses),
        select("kind", "Kind", kinds.iter().map(|kind| option(kind, &kind.replace('_', " "))).collect()),
    );
    // What asks for something to be done stands first.
    let mut ordered: Vec<&Finding> = evidence.findings.iter().collect();
    let rank = |finding: &Finding| match finding.status {
        Status::Open => 0,
        Status::NotReviewed => 1,
        Status::Pass => 2,
        Status::NotApplicable => 3,
    };
    ordered.sort_by_key(|finding| (rank(finding), std::cmp::Reverse(finding.severity)));
    for finding in ordered {
        html.push_str(&rule(evidence, finding));
    }
    html.push_str("</ul><p id=\"none\" class=\"soft\" hidden>No rule is like that.</p></section>\n");
    html
}

fn rule(evidence: &Evidence, finding: &Finding) -> String {
    let changed = evidence.is_changed(finding);
    let mut html = format!(
        "<li data-severity=\"{}\" data-status=\"{}{}\" data-kind=\"{}\"><details><summary><span class=\"badge {}\">{}</span>\
         <span class=\"cat soft\">{}</span><span class=\"mono\">{}</span><span class=\"title\">{}{}</span></summary>\
         <div class=\"body\"><dl>",
        finding.severity,
        finding.status.word(),
        if changed { " changed" } else { "" },
        escaped(&finding.kind.to_string()),
        finding.status.word(),
        finding.status.words(),
        finding.severity.category(),
        escaped(&finding.stig_id),
        escaped(&finding.title),
        if changed { " <span class=\"soft\">(changed)</span>" } else { "" },
    );
    let mut pair = |name: &str, text: Option<&str>, mono: bool| {
        if let Some(text) = text {
            let class = if mono { " class=\"mono\"" } else { "" };
            html.push_str(&format!("<dt>{name}</dt><dd{class}>{}</dd>", escaped(text)));
        }
    };
    pair("Ids", Some(&format!("{} · {}", finding.vuln_id, finding.rule_id)), true);
    pair("Setting", finding.setting.as_ref().map(ToString::to_string).as_deref(), true);
    pair("Found", found(finding).as_deref(), true);
    pair("Required", finding.required.as_deref(), true);
    pair("File", finding.at.as_ref().map(|at| at.file.as_str()), true);
    pair("Why", finding.reason.as_deref(), false);
    pair("Left open", evidence.held(finding), false);
    pair("Waiver", evidence.waiver(finding).as_deref(), false);
    for change in evidence.changes(finding) {
        let (before, after) = (shown(change.before.as_ref()), shown(change.after.as_ref()));
        pair("Changed", Some(&format!("{}: {before} → {after}", change.setting)), true);
    }
    let ccis = evidence.texts(finding).ccis.join(", ");
    pair("CCI", Some(ccis.as_str()).filter(|ccis| !ccis.is_empty()), true);
    html.push_str("</dl></div></details></li>\n");
    html
}

fn waivers(evidence: &Evidence) -> String {
    let waived: Vec<(&Finding, String)> =
        evidence.findings.iter().filter_map(|finding| Some((finding, evidence.waiver(finding)?))).collect();
    if waived.is_empty() {
        return String::new();
    }
    let mut html = format!("<section><h2>Waivers</h2>{}", table_head(&["Rule", "Title", "Waiver"]));
    for (finding, waiver) in waived {
        html.push_str(&row(&[
            ("Rule", &finding.stig_id, true),
            ("Title", &finding.title, false),
            ("Waiver", &waiver, false),
        ]));
    }
    html.push_str("</tbody></table></div></section>\n");
    html
}

fn left(evidence: &Evidence, log: &Log) -> String {
    let lists = [
        ("Held back on purpose", &log.trailer.held_back),
        ("Open, and not to be closed offline", &log.trailer.left_open),
    ];
    let mut html = String::new();
    for (title, list) in lists {
        if list.is_empty() {
            continue;
        }
        html.push_str(&format!("<section><h2>{title}</h2>{}", table_head(&["Rule", "Title", "Why"])));
        // A rule with several settings is held for each of them, often for one reason.
        let mut told = BTreeSet::new();
        for held in list.iter().filter(|held| told.insert((&held.rule, &held.reason))) {
            let title = evidence.findings.iter().find(|finding| finding.stig_id == held.rule);
            html.push_str(&row(&[
                ("Rule", &held.rule, true),
                ("Title", title.map_or("", |finding| &finding.title), false),
                ("Why", &held.reason, false),
            ]));
        }
        html.push_str("</tbody></table></div></section>\n");
    }
    html
}

fn changes(log: &Log) -> String {
    let title = format!("<section><h2>Changes ({})</h2>", log.changes.len());
    if log.changes.is_empty() {
        return format!("{title}<p>Nothing had to be changed.</p></section>\n");
    }
    let mut html = format!("{title}{}", table_head(&["Rules", "Setting", "Before", "After", "File"]));
    for change in log.changes.iter().map(|change| &change.record) {
        html.push_str(&row(&[
            ("Rules", &change.rules.join(" "), true),
            ("Setting", &change.setting.to_string(), true),
            ("Before", &shown(change.before.as_ref()), true),
            ("After", &shown(change.after.as_ref()), true),
            ("File", &change.file, true),
        ]));
    }
    html.push_str("</tbody></table></div></section>\n");
    html
}

/// Tells what Amazon would say; checks that pass are counted only.
fn preflight(preflight: &PreflightDocument<'_>) -> String {
    let totals = preflight.totals;
    let mut html = format!(
        "<section><h2>Ready for AWS ({})</h2><p>{} checks pass, {} warn, {} fail, {} cannot be told from the image.</p>",
        preflight.route, totals.pass, totals.warn, totals.fail, totals.unknown
    );
    let told: Vec<&PreflightCheck> = preflight.checks.iter().filter(|check| check.verdict != Verdict::Pass).collect();
    if !told.is_empty() {
        html.push_str(&table_head(&["Check", "Verdict", "Title", "Found", "What to do"]));
        for check in told {
            html.push_str(&row(&[
                ("Check", &check.id, true),
                ("Verdict", &check.verdict.to_string(), false),
                ("Title", &check.title, false),
                ("Found", &check.found, false),
                ("What to do", &check.hint, false),
            ]));
        }
        html.push_str("</tbody></table></div>");
    }
    html.push_str("</section>\n");
    html
}

fn images(log: &Log) -> String {
    let mut html = format!("<section><h2>Image</h2>{}", table_head(&["", "File", "Format", "Bytes", "Digest"]));
    for (name, image @ ImageRecord { name: file, format, file_bytes, .. }) in
        [("source", &log.header.source), ("hardened", &log.trailer.output)]
    {
        let (kind, digest) = image.digest();
        html.push_str(&row(&[
            ("", name, false),
            ("File", file, true),
            ("Format", format, false),
            ("Bytes", &file_bytes.to_string(), true),
            ("Digest", &format!("{kind} {digest}"), true),
        ]));
    }
    html.push_str("</tbody></table></div>\n<p class=\"soft\">The same in other formats: ");
    let links = Format::all().filter(|format| *format != Format::Html).map(|format| {
        let path =
            format.path().strip_prefix("reports/").map_or_else(|| format!("../{}", format.path()), str::to_owned);
        format!("<a href=\"{path}\">{format}</a>")
    });
    let links: Vec<String> = links.chain(["<a href=\"../audit.jsonl\">audit log</a>".to_owned()]).collect();
    html.push_str(&format!("{}. Log digest <code>{}</code>.</p></section>\n", links.join(", "), log.sha256));
    html
}

fn table_head(columns: &[&str]) -> String {
    let cells: String = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>")).collect();
    format!("<div class=\"table\"><table class=\"stack\"><thead><tr>{cells}</tr></thead><tbody>\n")
}

fn row(cells: &[(&str, &str, bool)]) -> String {
    let cell = |(label, text, mono): &(&str, &str, bool)| {
        let label = if label.is_empty() { String::new() } else { format!(" data-label=\"{label}\"") };
        format!("<td{label}{}>{}</td>", if *mono { " class=\"mono\"" } else { "" }, escaped(text))
    };
    format!("<tr>{}</tr>\n", cells.iter().map(cell).collect::<String>())
}

/// Returns a text that is nothing but text in an element or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut html = String::new();
    for c in plain(text).chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
