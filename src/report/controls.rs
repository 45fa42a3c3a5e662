//! The security controls of NIST SP 800-53 (revision 5) that DISA's control correlation identifiers (CCI) are parts of.
//!
//! The table is DISA's public list of CCIs, turned round: a control, a tab, and the numbers of its CCIs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("controls.tsv");

/// Returns the controls of a list of CCIs, each once, in their order; what is no known CCI has none.
pub(super) fn controls(ccis: &[String]) -> Vec<&'static str> {
    static BY_NUMBER: LazyLock<BTreeMap<u32, Vec<&'static str>>> = LazyLock::new(|| {
        let mut table: BTreeMap<u32, Vec<&'static str>> = BTreeMap::new();
        for (control, numbers) in TABLE.lines().filter_map(|line| line.split_once('\t')) {
            for number in numbers.split(' ').filter_map(|number| number.parse().ok()) {
                table.entry(number).or_default().push(control);
            }
        }
        table
    });
    let mut found: Vec<&'static str> = Vec::new();
    let number = |cci: &String| cci.strip_prefix("CCI-").filter(|digits| digits.len() == 6)?.parse::<u32>().ok();
    for number in ccis.iter().filter_map(number) {
        for control in BY_NUMBER.get(&number).into_iter().flatten() {
            if !found.contains(control) {
                found.push(control);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::catalogs;

    #[test]
    fn every_line_of_the_table_is_a_control_with_numbers() {
        for line in TABLE.lines() {
            let (control, numbers) = line.split_once('\t').unwrap();
            let (family, rest) = control.split_once('-').unwrap();
            assert!(family.len() == 2 && rest.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            assert!(
                !control.ends_with(' ') && numbers.split(' ').all(|number| number.parse::<u32>().is_ok()),
                "{line}"
            );
        }
    }

    #[test]
    fn every_rule_of_the_built_in_benchmarks_belongs_to_a_control() {
        for rule in catalogs().into_iter().flat_map(|catalog| &catalog.rules) {
            assert!(!controls(&rule.ccis).is_empty(), "{} {:?}", rule.stig_id, rule.ccis);
        }
        let ccis = ["CCI-000381", "CCI-000366", "CCI-000381", "CCI-9", "x"].map(str::to_owned);
        assert_eq!(controls(&ccis), ["CM-7 a", "CM-6 b"]);
    }
}
