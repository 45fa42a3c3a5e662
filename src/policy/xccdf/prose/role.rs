//! For which machines a rule is: the sentences that make it "not applicable" elsewhere, and the role in its STIG id.

use crate::policy::rule::{Condition, RuleScope};

/// For which machines a rule is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applies {
    /// The role.
    pub role: RuleScope,
    /// What else must hold.
    pub conditions: Vec<Condition>,
}

/// Reads for which machines a rule is.
pub fn applies(stig_id: &str, check: &str) -> Applies {
    let text =
        super::plain(check).to_lowercase().replace("stand-alone", "standalone").replace("stand alone", "standalone");
    let role = if stig_id.contains("-DC-") {
        RuleScope::DomainController
    } else if stig_id.contains("-MS-") {
        RuleScope::MemberServer
    } else {
        RuleScope::Both
    };
    let not_here = |sentence: &&str| {
        [" na", "not applicable"]
            .iter()
            .any(|words| sentence.trim_end().ends_with(words) || sentence.contains(&format!("{words} for")))
            || sentence.contains("not applicable for")
            || sentence.contains("is na for")
    };
    let sentences: Vec<&str> = text.split(['.', '\n', ';']).filter(not_here).collect();
    let about = |words: &str| sentences.iter().any(|sentence| sentence.contains(words));
    let mut conditions = Vec::new();
    if about("standalone or nondomain-joined systems") && !text.contains("applies to member servers and standalone") {
        conditions.push(Condition::DomainJoined);
    }
    if role == RuleScope::Both && about("domain controllers") {
        conditions.push(Condition::NotOnDc);
    }
    if about("server core") || about("windows core") {
        conditions.push(Condition::NotOnServerCore);
    }
    Applies { role, conditions }
}
