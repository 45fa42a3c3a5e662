//! `coldforge rules`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::options::benchmark;
use super::ui::{Ui, columns, plain};
use super::{Result, Verdict, boxed};
use crate::policy::source::{self, Fault, Source};
use crate::policy::xccdf::{self, Imported, Origin};
use crate::policy::{self, Benchmark, Catalog, Reach, Rule, RuleKind};

/// Look into the catalog of rules
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the STIGs, or the rules of one
    List {
        /// The STIG, such as ws2022; without it the STIGs themselves are listed
        #[arg(value_name = "STIG")]
        stig: Option<String>,

        /// The same as an option
        #[arg(long = "stig", value_name = "STIG", conflicts_with = "stig")]
        named: Option<String>,
    },
    /// Show one rule: what it demands, and how it is assessed
    Show {
        /// The rule, by V-, SV- or STIG id
        #[arg(value_name = "RULE")]
        rule: String,
    },
    /// Read a benchmark as DISA publishes it, or a policy as --policy takes it, and tell what of it is understood
    Import {
        /// The XCCDF file, or the zip that it comes in; or the policy
        #[arg(value_name = "FILE|DIR")]
        file: PathBuf,

        /// List the rules that are not assessed, each with the reason and how a person checks it
        #[arg(long)]
        explain: bool,
    },
    /// Print the JSON Schema of the rules that --policy reads as TOML
    Schema,
    /// Count the rules of each kind that are applied, only checked, or not reviewed
    Coverage {
        /// Write the table as Markdown
        #[arg(long)]
        markdown: bool,
    },
    /// Compare two releases: rules that were added, removed, or demand something else
    Diff {
        /// The older release: a benchmark file, or the id of a built-in STIG
        #[arg(value_name = "FROM")]
        from: String,

        /// The newer release, likewise
        #[arg(value_name = "TO")]
        to: String,
    },
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    match &arguments.verb {
        Verb::List { stig, named } => match stig.as_ref().or(named.as_ref()) {
            None => list_catalogs(ui)?,
            Some(stig) => list_rules(stig, ui)?,
        },
        Verb::Show { rule } => show(rule, ui)?,
        Verb::Import { file, explain } => import(file, *explain, ui)?,
        Verb::Schema => ui.data(source::SCHEMA),
        Verb::Coverage { markdown } => coverage(*markdown, ui),
        Verb::Diff { from, to } => diff(from, to, ui)?,
    }
    Ok(Verdict::Done)
}

fn list_catalogs(ui: &Ui) -> Result<()> {
    let catalogs = policy::catalogs();
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/catalogs/1",
            "catalogs": catalogs.iter().map(|catalog| json!({
                "benchmark": Benchmark::of(catalog),
                "rules": catalog.rules.len(),
            })).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let mut rows = vec![["stig", "title", "rules", "assessed"].map(str::to_owned).to_vec()];
    rows.extend(catalogs.iter().map(|catalog| {
        let assessed = catalog.rules.iter().filter(|rule| !rule.checks.is_empty()).count();
        vec![
            catalog.id.clone(),
            Benchmark::of(catalog).to_string(),
            catalog.rules.len().to_string(),
            assessed.to_string(),
        ]
    }));
    ui.data(&columns(&rows));
    Ok(())
}

/// Counts what is applied, only checked and not reviewed, by catalog and kind.
fn coverage(markdown: bool, ui: &Ui) {
    let catalogs = policy::catalogs();
    let kinds: BTreeSet<RuleKind> = catalogs.iter().flat_map(|catalog| &catalog.rules).map(|rule| rule.kind).collect();
    let counts = |catalog: &Catalog, kind: Option<RuleKind>| {
        [Reach::Applied, Reach::Checked, Reach::NotReviewed].map(|reach| {
            let of = |rule: &&Rule| rule.reach() == reach && kind.is_none_or(|kind| rule.kind == kind);
            catalog.rules.iter().filter(of).count()
        })
    };
    if ui.json {
        let one = |[applied, checked, not_reviewed]: [usize; 3]| json!({ "applied": applied, "checked": checked, "not_reviewed": not_reviewed });
        let kinds_of = |catalog: &Catalog| -> serde_json::Map<String, serde_json::Value> {
            kinds.iter().map(|kind| (kind.to_string(), one(counts(catalog, Some(*kind))))).collect()
        };
        ui.document(&json!({
            "schema": "coldforge/coverage/1",
            "catalogs": catalogs.iter().map(|catalog| json!({
                "benchmark": Benchmark::of(catalog),
                "all": one(counts(catalog, None)),
                "kinds": kinds_of(catalog),
            })).collect::<Vec<_>>(),
        }));
        return;
    }
    let cell = |counts: [usize; 3]| match counts {
        [0, 0, 0] => "-".to_owned(),
        counts => counts.map(|count| count.to_string()).join(" / "),
    };
    let heads = catalogs.iter().map(|catalog| format!("{} V{}R{}", catalog.id, catalog.version, catalog.release));
    let mut rows = vec![std::iter::once("kind".to_owned()).chain(heads).collect::<Vec<_>>()];
    for kind in kinds.iter().copied().map(Some).chain([None]) {
        let name = kind.map_or_else(|| "all".to_owned(), |kind| kind.to_string());
        rows.push(std::iter::once(name).chain(catalogs.iter().map(|catalog| cell(counts(catalog, kind)))).collect());
    }
    if !markdown {
        ui.data(&columns(&rows));
        return;
    }
    rows.insert(1, rows.first().map(|head| vec!["---".to_owned(); head.len()]).unwrap_or_default());
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            if row.first().is_some_and(|cell| cell == "---") {
                format!("|{}|", row.join("|"))
            } else {
                format!("| {} |", row.join(" | "))
            }
        })
        .collect();
    ui.data(&(lines.join("\n") + "\n"));
}

fn list_rules(stig: &str, ui: &Ui) -> Result<()> {
    let catalog = policy::Catalog::named(stig).map_err(boxed)?;
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/rules/1",
            "benchmark": Benchmark::of(catalog),
            "rules": catalog.rules,
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = catalog
        .rules
        .iter()
        .map(|rule| {
            let assessed = if rule.checks.is_empty() { "-" } else { "assessed" };
            vec![
                rule.stig_id.clone(),
                rule.vuln_id.clone(),
                rule.severity.category().to_owned(),
                rule.kind.to_string(),
                assessed.to_owned(),
                rule.title.clone(),
            ]
        })
        .collect();
    ui.data(&columns(&rows));
    Ok(())
}

fn show(id: &str, ui: &Ui) -> Result<()> {
    let (catalog, rule) = policy::find_rule(id).map_err(boxed)?;
    if ui.json {
        ui.document(&json!({"schema": "coldforge/rule/1", "benchmark": Benchmark::of(catalog), "rule": rule}));
        return Ok(());
    }
    ui.data(&describe(&Benchmark::of(catalog).to_string(), rule));
    Ok(())
}

fn describe(benchmark: &str, rule: &Rule) -> String {
    let mut text = format!("{}  {}  {}\n{}\n\n", rule.stig_id, rule.vuln_id, rule.rule_id, rule.title);
    text.push_str(&format!(
        "benchmark  {benchmark}\nseverity   {}\nkind       {}\n",
        rule.severity.category(),
        rule.kind
    ));
    if !rule.ccis.is_empty() {
        text.push_str(&format!("CCI        {}\n", rule.ccis.join(", ")));
    }
    for check in &rule.checks {
        text.push_str(&format!("\n{}\n  required  {}\n  written   {}\n", check.setting, check.require, check.remedy));
    }
    if let Some(note) = &rule.organization {
        text.push_str(&format!("\nThe organization decides: {note}\n"));
    }
    if let Some(caveat) = &rule.caveat {
        text.push_str(&format!("\nNote: {caveat}\n"));
    }
    if let Some(reason) = &rule.not_reviewed {
        text.push_str(&format!("\nNot assessed: {reason}\n"));
    }
    if let Some(risk) = &rule.import_risk {
        text.push_str(&format!("\nImport risk ({}): {}\n", risk.advice, risk.reason));
    }
    text
}

fn import(file: &Path, explain: bool, ui: &Ui) -> Result<()> {
    if let Some(source) = policy_in(file)? {
        return import_policy(&source, explain, ui);
    }
    let refused = |error: xccdf::Error| boxed(policy::Error::from(Box::new(error)));
    let document = xccdf::read(&benchmark(file)?).map_err(refused)?;
    let Imported { catalog, origins } = Imported::of(&document);
    let count = |wanted: Origin| origins.iter().filter(|origin| **origin == wanted).count();
    let (agreed, prose) = (count(Origin::Agreed), count(Origin::Prose));
    let (built_in, none) = (count(Origin::BuiltIn), count(Origin::None));
    if ui.json {
        let rules: Vec<_> =
            catalog.rules.iter().zip(&origins).map(|(rule, origin)| json!({"origin": origin, "rule": rule})).collect();
        ui.document(&json!({
            "schema": "coldforge/import/1",
            "benchmark": Benchmark::of(&catalog),
            "sha256": catalog.sha256,
            "totals": {"agreed": agreed, "prose": prose, "built_in": built_in, "none": none},
            "rules": rules,
        }));
        return Ok(());
    }
    let mut text = format!(
        "{} of {}, {} rules\n  {agreed:5}  understood, and demand what the built-in catalog demands\n  {prose:5}  understood, \
         and new or different\n  {built_in:5}  not understood, and taken from the built-in rule of the same revision\n  {none:5}  \
         not assessed\n",
        plain(&Benchmark::of(&catalog).to_string()),
        catalog.date,
        catalog.rules.len(),
    );
    if explain {
        for (rule, _) in catalog.rules.iter().zip(&origins).filter(|(_, origin)| **origin == Origin::None) {
            let reason = rule.not_reviewed.as_deref().unwrap_or_default();
            text.push_str(&format!(
                "\n{}  {}  {}\n  {reason}\n",
                rule.stig_id,
                rule.severity.category(),
                plain(&rule.title)
            ));
            let check =
                document.rules.iter().find(|entry| entry.rule_id == rule.rule_id).map(|entry| entry.check.as_str());
            for line in check.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
                text.push_str(&format!("    {}\n", plain(line.trim())));
            }
        }
    }
    ui.data(&text);
    Ok(())
}

/// Returns the policy that a path leads to; `None` if a benchmark may lie there.
fn policy_in(path: &Path) -> Result<Option<Source>> {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    if extension == "xml" {
        return Ok(None);
    }
    match Source::from_path(path) {
        Err(policy::Error::Policy { source, .. }) if extension == "zip" && matches!(*source, Fault::Unknown) => {
            Ok(None)
        }
        source => source.map(Some).map_err(boxed),
    }
}

/// Tells what of a policy is understood.
fn import_policy(source: &Source, explain: bool, ui: &Ui) -> Result<()> {
    let catalog = Catalog::of_policy(source).map_err(boxed)?;
    source::agree(std::slice::from_ref(&catalog)).map_err(boxed)?;
    let left: Vec<&Rule> = catalog.rules.iter().filter(|rule| rule.not_reviewed.is_some()).collect();
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/import/1",
            "benchmark": Benchmark::of(&catalog),
            "sha256": catalog.sha256,
            "totals": {"understood": catalog.rules.len().saturating_sub(left.len()), "none": left.len()},
            "rules": catalog.rules.iter().map(|rule| json!({"rule": rule})).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let mut text = format!(
        "{}, {} rules\n  {:5}  understood\n  {:5}  not assessed\n",
        plain(&catalog.title),
        catalog.rules.len(),
        catalog.rules.len().saturating_sub(left.len()),
        left.len(),
    );
    for rule in left.into_iter().filter(|_| explain) {
        let reason = rule.not_reviewed.as_deref().unwrap_or_default();
        text.push_str(&format!("\n{}\n  {}\n  {}\n", plain(&rule.stig_id), plain(&rule.title), plain(reason)));
    }
    ui.data(&text);
    Ok(())
}

/// Returns the catalog of a benchmark file, or the built-in one of an id.
fn release(name: &str) -> Result<Cow<'static, Catalog>> {
    let path = Path::new(name);
    if path.is_file() {
        return Catalog::of_benchmark(&benchmark(path)?).map(Cow::Owned).map_err(boxed);
    }
    Catalog::named(name).map(Cow::Borrowed).map_err(boxed)
}

fn diff(from: &str, to: &str, ui: &Ui) -> Result<()> {
    let (from, to) = (release(from)?, release(to)?);
    let of = |catalog: &'_ Catalog, rule: &Rule| catalog.rules.iter().any(|other| other.vuln_id == rule.vuln_id);
    let added: Vec<&Rule> = to.rules.iter().filter(|rule| !of(&from, rule)).collect();
    let removed: Vec<&Rule> = from.rules.iter().filter(|rule| !of(&to, rule)).collect();
    let changed: Vec<(&Rule, Vec<[String; 3]>)> = to
        .rules
        .iter()
        .filter_map(|new| Some((new, from.rules.iter().find(|old| old.vuln_id == new.vuln_id)?)))
        .map(|(new, old)| (new, changes(old, new)))
        .filter(|(_, changes)| !changes.is_empty())
        .collect();
    if ui.json {
        let ids = |rules: &[&Rule]| rules.iter().map(|rule| rule.stig_id.clone()).collect::<Vec<_>>();
        let changed: Vec<_> = changed
            .iter()
            .map(|(rule, changes)| {
                let of: Vec<_> =
                    changes.iter().map(|[what, from, to]| json!({"what": what, "from": from, "to": to})).collect();
                json!({"rule": rule.stig_id, "changes": of})
            })
            .collect();
        ui.document(&json!({
            "schema": "coldforge/rules-diff/1",
            "from": Benchmark::of(&from),
            "to": Benchmark::of(&to),
            "added": ids(&added),
            "removed": ids(&removed),
            "changed": changed,
        }));
        return Ok(());
    }
    let mut text = format!("from  {}\nto    {}\n", Benchmark::of(&from), Benchmark::of(&to));
    for (mark, rules) in [("added", &added), ("removed", &removed)] {
        for rule in rules {
            text.push_str(&format!("\n{mark}  {}  {}  {}", rule.stig_id, rule.severity.category(), plain(&rule.title)));
        }
    }
    for (rule, changes) in &changed {
        text.push_str(&format!("\nchanged  {}", rule.stig_id));
        for [what, from, to] in changes {
            text.push_str(&format!("\n    {what}: {} -> {}", plain(from), plain(to)));
        }
    }
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        text.push_str("\nNothing differs.");
    }
    text.push('\n');
    ui.data(&text);
    Ok(())
}

/// Returns what differs between two releases of a rule: what, the old and the new.
fn changes(old: &Rule, new: &Rule) -> Vec<[String; 3]> {
    let demands = |rule: &Rule| {
        let said = rule.checks.iter().map(|check| format!("{} is {}", check.setting, check.require));
        match rule.checks.is_empty() {
            true => "not assessed".to_owned(),
            false => said.collect::<Vec<_>>().join("; "),
        }
    };
    [
        ["STIG id".to_owned(), old.stig_id.clone(), new.stig_id.clone()],
        ["severity".to_owned(), old.severity.to_string(), new.severity.to_string()],
        ["revision".to_owned(), old.rule_id.clone(), new.rule_id.clone()],
        ["demand".to_owned(), demands(old), demands(new)],
    ]
    .into_iter()
    .filter(|[_, old, new]| old != new)
    .collect()
}
