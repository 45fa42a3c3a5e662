//! Policies that a check text names only as the policy editor does. Which value such a policy writes stands in its
//! template (`.admx`), so each has a row here.

use super::{Bound, Expectation, ValueRequirement};

/// Name in the editor, key, value that "Enabled" writes.
const POLICIES: [(&str, &str, &str, u32); 1] = [(
    "Allow name-based strong mappings for certificates",
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System\KDC\Parameters",
    "UseStrongNameMatches",
    1,
)];

/// Reads the policy that must be enabled.
pub(super) fn read(text: &str) -> Option<Vec<Expectation>> {
    let wanted = |name: &str| text.contains(&format!("If \"{name}\" is not \"Enabled\", this is a finding"));
    let (_, key, name, number) = POLICIES.into_iter().find(|(name, ..)| wanted(name))?;
    let demand = ValueRequirement { bound: Bound::Equals(number), absent_passes: false, free: false, slip: false };
    let (key, name) = (key.to_owned(), name.to_owned());
    Some(vec![Expectation::Registry { key, name, kind: "REG_DWORD".to_owned(), demand }])
}
