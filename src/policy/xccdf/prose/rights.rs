//! Who may hold a privilege or logon right: the part of a check text for Server Core, which names constants and SIDs.

use super::{Expectation, Holders, Principal, Scope, quoted};

/// Reads the demands on one right.
pub(super) fn read(text: &str) -> Option<Vec<Expectation>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let (at, right) = lines.iter().enumerate().find_map(|(at, line)| {
        let right = quoted(line).into_iter().find(|word| constant(word))?;
        (line.contains("finding") && line.contains("SID")).then_some((at, right))
    })?;
    let (sentence, behind) = (lines[at].to_lowercase(), &lines[at.saturating_add(1)..]);
    let demand = |scope, holders| Expectation::UserRight { right: right.to_owned(), scope, holders };

    if sentence.starts_with("if any sids are granted") {
        return Some(vec![demand(Scope::Every, nobody())]);
    }
    let groups = principals(behind)?;
    let of = |scope| groups.iter().filter(|(of, _)| *of == scope).map(|(_, who)| who.clone()).collect::<Vec<_>>();
    if sentence.starts_with("if any sids other than the following are granted") {
        let (these, all) = (of(Scope::Every), groups.len());
        if these.is_empty() || these.len() != all {
            return None;
        }
        return Some(vec![demand(Scope::Every, Holders::Only { these, tolerated: tolerated(text) })]);
    }
    if !sentence.starts_with("if the following sid") || !sentence.contains("not defined for") || groups.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    if sentence.contains("on domain-joined systems") {
        let (who, all) = (of(Scope::Every), groups.len());
        if who.len() != all {
            return None;
        }
        found.push(demand(Scope::Joined, Holders::Include(who)));
    } else {
        for scope in [Scope::Every, Scope::Joined] {
            let who = of(scope);
            if !who.is_empty() {
                found.push(demand(scope, Holders::Include(who)));
            }
        }
    }
    // Older texts say it in their first half alone, which names the right as the policy editor does.
    let defined = ["If any SIDs are defined", "If any accounts or groups are defined"];
    let elsewhere =
        |line: &&str| defined.iter().any(|said| line.starts_with(said)) && line.contains("nondomain-joined");
    if lines.iter().any(elsewhere) {
        found.push(demand(Scope::Standalone, nobody()));
    }
    Some(found)
}

fn nobody() -> Holders {
    Holders::Only { these: Vec::new(), tolerated: Vec::new() }
}

/// Reads who may hold a right beside those that are listed, such as the virtual machines of Hyper-V.
fn tolerated(text: &str) -> Vec<Principal> {
    let sentences = text.split(". ").flat_map(|part| part.split(".\n"));
    let named =
        sentences.filter_map(|sentence| sentence.split_once("(this may be displayed as")?.1.split_once(", SID "));
    named.filter_map(|(_, sid)| principal(sid)).filter(|_| text.contains("This is not a finding")).collect()
}

fn constant(word: &str) -> bool {
    let named = word.starts_with("Se") && (word.ends_with("Privilege") || word.ends_with("Right"));
    named && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Reads the SIDs that are listed, each with the machines that its heading names.
fn principals(lines: &[&str]) -> Option<Vec<(Scope, Principal)>> {
    let mut scope = Scope::Every;
    let mut found: Vec<(Scope, Principal)> = Vec::new();
    let mut choice = false;
    for line in lines {
        let lower = line.to_lowercase();
        let listed = line.trim_start_matches(['-', '*', ' ']);
        if lower.starts_with("domain systems only") {
            scope = Scope::Joined;
        } else if lower.starts_with("all systems") {
            scope = Scope::Every;
        } else if lower == "or" {
            choice = true;
        } else if listed.starts_with("S-1-") {
            let who = line_of(listed)?;
            match found.last_mut() {
                Some((of, last)) if choice && *of == scope => {
                    let first = last.clone();
                    *last = Principal::AnyOf(vec![first, who]);
                }
                _ => found.push((scope, who)),
            }
            choice = false;
        }
    }
    Some(found)
}

/// Reads `S-1-5-32-544 (Administrators)`, or several with "or" between them.
fn line_of(line: &str) -> Option<Principal> {
    let mut choices = line.split(" or S-1-").enumerate().map(|(at, part)| match at {
        0 => principal(part),
        _ => principal(&format!("S-1-{part}")),
    });
    let first = choices.next()??;
    let rest: Vec<Principal> = choices.collect::<Option<_>>()?;
    Some(if rest.is_empty() { first } else { Principal::AnyOf(std::iter::once(first).chain(rest).collect()) })
}

fn principal(text: &str) -> Option<Principal> {
    let relative = |prefix: &str| {
        let rest = text.strip_prefix(prefix)?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    };
    if let Some(rid) = relative("S-1-5-root domain-").or_else(|| relative("S-1-5-rootdomain-")) {
        return Some(Principal::RootDomain(rid));
    }
    if let Some(rid) = relative("S-1-5-domain-") {
        return Some(Principal::Domain(rid));
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '-' || c == 'S')).unwrap_or(text.len());
    let sid = text[..end].trim_end_matches('-');
    let parts = sid.strip_prefix("S-1-")?;
    parts.split('-').all(|part| part.parse::<u64>().is_ok()).then(|| Principal::Sid(sid.to_owned()))
}
