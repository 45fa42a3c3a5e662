//! `coldforge rules`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::ui::{Ui, columns};
use super::{Result, Verdict, boxed};
use crate::policy::{self, Benchmark, Rule};

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
    },
    /// Show one rule: what it demands, and how it is assessed
    Show {
        /// The rule, by V-, SV- or STIG id
        #[arg(value_name = "RULE")]
        rule: String,
    },
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    match &arguments.verb {
        Verb::List { stig: None } => list_catalogs(ui)?,
        Verb::List { stig: Some(stig) } => list_rules(stig, ui)?,
        Verb::Show { rule } => show(rule, ui)?,
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
