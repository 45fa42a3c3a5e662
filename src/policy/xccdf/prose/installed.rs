//! What must or must not be installed: features of Windows, certificates.

use super::{Expectation, after};

/// Reads the feature that must not be installed.
pub(super) fn features(text: &str) -> Option<Vec<Expectation>> {
    if !text.contains("If \"Installed State\" is \"Installed\", this is a finding") {
        return None;
    }
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("Get-WindowsFeature").map(|(_, rest)| rest))
        .filter_map(|rest| rest.split_once("Where Name -eq ").or_else(|| rest.split_once("-Name ")))
        .map(|(_, name)| name.trim().trim_end_matches('.').trim_matches('"'))
        .collect();
    match names[..] {
        [name] if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            Some(vec![Expectation::FeatureAbsent { name: name.to_owned() }])
        }
        _ => None,
    }
}

/// Reads the certificates that must be in a store, from the part for PowerShell.
pub(super) fn certificates(text: &str) -> Option<Vec<Expectation>> {
    let (_, store) = text.split_once("Cert:Localmachine\\")?;
    let store = match store.split(|c: char| !c.is_ascii_alphabetic()).next()? {
        "root" => "Root",
        "disallowed" => "Disallowed",
        _ => return None,
    };
    let (_, listed) = text.split_once("information is not displayed, this is")?;
    // The second half repeats the list for the graphical console, with slips of its own.
    let listed = listed.split("Alternately").next().unwrap_or(listed);
    let (mut found, mut subject) = (Vec::new(), None);
    for line in listed.lines().map(str::trim) {
        if let Some(said) = after(line, "Subject:") {
            if subject.replace(said.trim().to_owned()).is_some() {
                return None;
            }
        } else if let Some(said) = after(line, "Thumbprint").and_then(|rest| rest.trim_start().strip_prefix(':')) {
            let thumbprint = said.trim().to_uppercase();
            if thumbprint.len() != 40 || !thumbprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            found.push(Expectation::Certificate { store: store.to_owned(), subject: subject.take()?, thumbprint });
        }
    }
    subject.is_none().then_some(found)
}
