//! Password, lockout and Kerberos policy, passwords of every account, and the security options that a security template carries.

use super::{AccountDemand, Bound, Expectation, OptionDemand, quoted};

/// Fields of `[System Access]` that are numbers.
const FIELDS: [&str; 9] = [
    "ClearTextPassword",
    "LockoutBadCount",
    "LockoutDuration",
    "MaximumPasswordAge",
    "MinimumPasswordAge",
    "MinimumPasswordLength",
    "PasswordComplexity",
    "PasswordHistorySize",
    "ResetLockoutCount",
];
/// Fields of `[System Access]` that are security options, and their names in the policy editor.
const OPTIONS: [(&str, &str); 4] = [
    ("EnableGuestAccount", "Accounts: Guest account status"),
    ("LSAAnonymousNameLookup", "Network access: Allow anonymous SID/Name translation"),
    ("NewAdministratorName", "Accounts: Rename administrator account"),
    ("NewGuestName", "Accounts: Rename guest account"),
];
const KERBEROS: [&str; 5] = [
    "Enforce user logon restrictions",
    "Maximum lifetime for service ticket",
    "Maximum lifetime for user ticket",
    "Maximum lifetime for user ticket renewal",
    "Maximum tolerance for computer clock synchronization",
];

/// Reads the one field that a check text is about.
pub(super) fn read(text: &str) -> Option<Vec<Expectation>> {
    let findings: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("If ") && line.contains("this is a finding"))
        .collect();
    let about = |name: &str| findings.iter().copied().find(|line| quoted(line).contains(&name));
    if let Some((field, line)) = FIELDS.into_iter().find_map(|field| Some((field, about(field)?))) {
        return Some(vec![Expectation::AccountPolicy { field: field.to_owned(), bound: bound(field, line)? }]);
    }
    for (option, title) in OPTIONS {
        if let Some(line) = about(option).or_else(|| about(title)) {
            return Some(vec![Expectation::SecurityOption { option: option.to_owned(), demand: wanted(line)? }]);
        }
    }
    let every = |property: &str| {
        let said = format!("If any enabled user accounts are returned with a \"{property}\" status of \"False\"");
        findings.iter().any(|line| line.starts_with(&said))
    };
    if every("PasswordRequired") {
        return Some(vec![Expectation::EveryAccount(AccountDemand::PasswordRequired)]);
    }
    if every("PasswordExpires") {
        return Some(vec![Expectation::EveryAccount(AccountDemand::PasswordExpires)]);
    }
    if !text.contains("Kerberos Policy") {
        return None;
    }
    let (field, line) = KERBEROS.into_iter().find_map(|field| Some((field, about(field)?)))?;
    Some(vec![Expectation::Kerberos { field: field.to_owned(), bound: bound(field, line)? }])
}

/// Reads for which numbers a field is a finding, and returns which are none.
fn bound(field: &str, line: &str) -> Option<Bound> {
    let (_, said) = line.split_once(&format!("\"{field}\""))?;
    let numbers: Vec<u32> = quoted(said).into_iter().filter_map(|number| number.parse().ok()).collect();
    let zero_too = said.contains("equals \"0\"") || said.contains("equal to \"0\"") || said.contains("is \"0\" or");
    match numbers[..] {
        [least, 0] if said.contains("less than") && said.contains("(excluding \"0\")") => {
            Some(Bound::AtLeastOrZero(least))
        }
        [least] if said.contains("is less than") => Some(Bound::AtLeast(least)),
        [0, most] | [most, 0] if zero_too && said.contains("greater than") && most > 0 => Some(Bound::Range(1, most)),
        [most] if said.contains("is greater than") => Some(Bound::AtMost(most)),
        [0] if said.contains("equals") => Some(Bound::AtLeast(1)),
        [1] if said.contains("equals") && ["ClearTextPassword"].contains(&field) => Some(Bound::Equals(0)),
        [] if said.contains("is not set to \"Enabled\"") => Some(Bound::Equals(1)),
        _ => None,
    }
}

fn wanted(line: &str) -> Option<OptionDemand> {
    if line.contains("equals \"1\"") || line.contains("is not set to \"Disabled\"") {
        return Some(OptionDemand::Disabled);
    }
    let other = line.contains("is not something other than") || line.contains("is not set to a value other than");
    other.then(|| quoted(line).last().map(|name| OptionDemand::Not((*name).to_owned())))?
}
