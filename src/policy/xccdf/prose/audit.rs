//! Subcategories of the audit policy: `Object Access >> Removable Storage - Success`, and `If "Audit Registry" is not
//! set to "Failure"`.

use super::{AuditDemand, Expectation, quoted};

/// The subcategories as `auditpol /list /subcategory:*` prints them in English.
const SUBCATEGORIES: [&str; 59] = [
    "Security State Change",
    "Security System Extension",
    "System Integrity",
    "IPsec Driver",
    "Other System Events",
    "Logon",
    "Logoff",
    "Account Lockout",
    "IPsec Main Mode",
    "IPsec Quick Mode",
    "IPsec Extended Mode",
    "Special Logon",
    "Other Logon/Logoff Events",
    "Network Policy Server",
    "User / Device Claims",
    "Group Membership",
    "File System",
    "Registry",
    "Kernel Object",
    "SAM",
    "Certification Services",
    "Application Generated",
    "Handle Manipulation",
    "File Share",
    "Filtering Platform Packet Drop",
    "Filtering Platform Connection",
    "Other Object Access Events",
    "Detailed File Share",
    "Removable Storage",
    "Central Policy Staging",
    "Sensitive Privilege Use",
    "Non Sensitive Privilege Use",
    "Other Privilege Use Events",
    "Process Creation",
    "Process Termination",
    "DPAPI Activity",
    "RPC Events",
    "Plug and Play Events",
    "Token Right Adjusted Events",
    "Audit Policy Change",
    "Authentication Policy Change",
    "Authorization Policy Change",
    "MPSSVC Rule-Level Policy Change",
    "Filtering Platform Policy Change",
    "Other Policy Change Events",
    "User Account Management",
    "Computer Account Management",
    "Security Group Management",
    "Distribution Group Management",
    "Application Group Management",
    "Other Account Management Events",
    "Directory Service Access",
    "Directory Service Changes",
    "Directory Service Replication",
    "Detailed Directory Service Replication",
    "Credential Validation",
    "Kerberos Service Ticket Operations",
    "Kerberos Authentication Service",
    "Other Account Logon Events",
];

/// Reads every subcategory that a check text names.
pub(super) fn read(text: &str) -> Option<Vec<Expectation>> {
    let asked = text.contains("does not audit the following");
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("If \"Audit ").filter(|_| line.contains("is not set to")) {
            let [name, kind] = quoted(line)[..] else { return None };
            let rest = rest.strip_prefix(name.trim_start_matches("Audit "))?;
            (rest.starts_with("\" is not set to") && line.contains("this is a finding")).then_some(())?;
            found.push(demand(name, kind)?);
        } else if let Some((path, kind)) = line.rsplit_once(" - ").filter(|(path, _)| asked && path.contains(" >> ")) {
            found.push(demand(path.rsplit(" >> ").next()?, kind)?);
        }
    }
    (!found.is_empty()).then_some(found)
}

fn demand(name: &str, kind: &str) -> Option<Expectation> {
    let named = |name: &str| SUBCATEGORIES.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()));
    // "Audit Policy Change" is a subcategory's own name; the policy editor puts "Audit" before every one.
    let subcategory = named(name).or_else(|| named(name.trim().strip_prefix("Audit ")?))?;
    let (success, failure) = match kind.trim().trim_end_matches('.').to_lowercase().as_str() {
        "success" => (true, false),
        "failure" => (false, true),
        "success and failure" | "success, failure" => (true, true),
        _ => return None,
    };
    Some(Expectation::Audit(AuditDemand { subcategory, success, failure }))
}
