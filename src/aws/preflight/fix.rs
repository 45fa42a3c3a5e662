//! The changes that `--fix` makes: registry values that can be reverted and that no boot depends on.
//!
//! Not here: boot configuration, driver services, accounts, rights, and pending servicing. A fix is planned, logged and
//! verified as a rule is.

use super::access::{self, FIREWALL, FIREWALL_POLICY, INTERFACES, NETWORK, PROFILE, ROUTES, TERMINAL_POLICY};
use super::catalog::checks;
use super::check::Check;
use super::facts::{Facts, Fix};
use super::software::{DENIALS, INSTALLER, INSTALLING, POWERSHELL, RESTRICTIONS};
use crate::audit::Verdict;
use crate::formats::firewall_rule::FirewallRule;
use crate::windows::setting::{Setting, Value, ValueType};
use coldforge_base::{Failure, Refusal, utf16};

/// The word for all fixes.
const SAFE: &str = "safe";

/// A word of `--fix` that is not the name of a fix.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, Failure)]
#[error("`{word}` names no fix")]
#[failure(
    usage,
    hint = "name checks of P11, P14, P25, P26, P27, P29, P30, P36, P37, P43, P45, P47, or `safe` for all of them"
)]
pub struct UnknownFix {
    /// The word.
    pub word: String,
}

type Make = fn(&Facts<'_>, &mut Steps) -> Result<(), Refusal>;

const FIXES: [(&str, Make); 12] = [
    ("P11", fast_startup),
    ("P14", paging),
    ("P25", autologon),
    ("P26", remote_desktop),
    ("P27", firewall),
    ("P29", services),
    ("P30", addresses),
    ("P36", clock),
    ("P37", device_installation),
    ("P43", scripts),
    ("P45", activation),
    ("P47", disks),
];

/// Checks that each of these words names a fix, or all of them (`safe`).
///
/// # Errors
/// [`UnknownFix`] for the first that does not.
pub fn check_words(words: &[String]) -> Result<(), UnknownFix> {
    let is_known = |word: &str| word == SAFE || FIXES.iter().any(|(id, _)| word.eq_ignore_ascii_case(id));
    match words.iter().find(|word| !is_known(word)) {
        Some(word) => Err(UnknownFix { word: word.clone() }),
        None => Ok(()),
    }
}

/// Returns what the named fixes set on a machine. A check that passes needs none; one whose values cannot be read gets
/// none, and says itself why. The checks that have fixes say the same on every route.
///
/// # Errors
/// [`UnknownFix`].
pub fn fixes(facts: &Facts<'_>, words: &[String]) -> Result<Vec<Fix>, UnknownFix> {
    check_words(words)?;
    let mut made = Vec::new();
    for (id, make) in FIXES {
        let is_wanted = words.iter().any(|word| word == SAFE || word.eq_ignore_ascii_case(id));
        let is_needed = || checks().into_iter().any(|check| check.id == id && !passes(check, facts));
        if is_wanted && is_needed() {
            made.extend(steps(facts, id, make));
        }
    }
    Ok(made)
}

/// Returns whether a check that does not pass would pass if its fix were made.
pub(super) fn sets_right(facts: &Facts<'_>, check: &Check) -> bool {
    let fix = FIXES.iter().find(|(id, _)| *id == check.id);
    fix.is_some_and(|(id, make)| {
        let steps = steps(facts, id, *make);
        !steps.is_empty() && passes(check, &facts.with(steps))
    })
}

fn passes(check: &Check, facts: &Facts<'_>) -> bool {
    (check.run)(facts).is_ok_and(|found| found.verdict == Verdict::Pass)
}

/// Returns what a fix sets; nothing if the values that it hangs on cannot be read.
fn steps(facts: &Facts<'_>, check: &'static str, make: Make) -> Vec<Fix> {
    let mut steps = Steps::default();
    match make(facts, &mut steps) {
        Ok(()) => steps.0.into_iter().map(|(setting, to)| Fix { check, setting, to }).collect(),
        Err(_) => Vec::new(),
    }
}

/// What one fix sets.
#[derive(Default)]
struct Steps(Vec<(Setting, Option<Value>)>);

impl Steps {
    fn current(&mut self, key: &str, name: &str, to: Option<Value>) {
        self.push(format!(r"HKLM\SYSTEM\CurrentControlSet\{key}"), name, to);
    }

    fn software(&mut self, key: &str, name: &str, to: Option<Value>) {
        self.push(format!(r"HKLM\SOFTWARE\{key}"), name, to);
    }

    fn push(&mut self, key: String, name: &str, to: Option<Value>) {
        self.0.push((Setting::Registry { key, name: name.to_owned() }, to));
    }
}

/// Returns a REG_MULTI_SZ of these texts.
fn texts(texts: &[&str]) -> Value {
    let mut data: Vec<u8> = texts.iter().flat_map(|text| utf16::encode_with_nul(text)).collect();
    data.extend([0, 0]);
    Value::data(ValueType::MULTI_SZ, data)
}

fn fast_startup(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    let fast = facts.current(r"Control\Session Manager\Power", "HiberbootEnabled")?;
    if fast.dword()? == Some(1) {
        steps.current(r"Control\Session Manager\Power", "HiberbootEnabled", Some(Value::dword(0)));
        steps.current(r"Control\Power", "HibernateEnabled", Some(Value::dword(0)));
    }
    Ok(())
}

fn paging(_: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    let files = texts(&[r"C:\pagefile.sys 4096 4096"]);
    steps.current(r"Control\Session Manager\Memory Management", "PagingFiles", Some(files));
    Ok(())
}

fn autologon(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    let key = r"Microsoft\Windows NT\CurrentVersion\Winlogon";
    steps.software(key, "AutoAdminLogon", Some(Value::sz("0")));
    for name in ["DefaultPassword", "AutoLogonCount"] {
        if facts.software(key, name)?.value.is_some() {
            steps.software(key, name, None);
        }
    }
    Ok(())
}

fn remote_desktop(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    steps.current(r"Control\Terminal Server", "fDenyTSConnections", Some(Value::dword(0)));
    if facts.software(TERMINAL_POLICY, "fDenyTSConnections")?.value.is_some() {
        steps.software(TERMINAL_POLICY, "fDenyTSConnections", Some(Value::dword(0)));
    }
    for service in ["TermService", "SessionEnv", "UmRdpService"] {
        if facts.start(service)? == Some(4) {
            steps.current(&format!(r"Services\{service}"), "Start", Some(Value::dword(3)));
        }
    }
    Ok(())
}

/// Turns the rules of Windows itself on: locally, or in the place of group policy where local rules do not count.
fn firewall(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    const PORT: u32 = 3389;
    let counts = access::local_rules_count(facts)?;
    for (name, data) in facts.current_values(&format!(r"{FIREWALL}\FirewallRules"))? {
        let Some(text) = data.as_text() else { continue };
        let is_own = name.to_ascii_lowercase().starts_with("remotedesktop-usermode-in-");
        let tcp = FirewallRule::parse(&text, PORT, PROFILE);
        let udp = FirewallRule::parse(&text.replace("|Protocol=17|", "|Protocol=6|"), PORT, PROFILE);
        let fits = |rule: &FirewallRule| {
            rule.is_allow && rule.is_ours && rule.fits && !rule.is_limited && !rule.is_conditional
        };
        if !(is_own && (fits(&tcp) || fits(&udp))) {
            continue;
        }
        let active = Value::sz(&text.replace("|Active=FALSE|", "|Active=TRUE|"));
        match counts {
            true => steps.current(&format!(r"{FIREWALL}\FirewallRules"), &name, Some(active)),
            false => steps.software(&format!(r"{FIREWALL_POLICY}\FirewallRules"), &name, Some(active)),
        }
    }
    Ok(())
}

fn services(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    for (service, usual) in NETWORK {
        if facts.start(service)? == Some(4) {
            steps.current(&format!(r"Services\{service}"), "Start", Some(Value::dword(usual)));
        }
    }
    Ok(())
}

fn addresses(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    for interface in facts.current_keys(INTERFACES)? {
        let key = format!(r"{INTERFACES}\{interface}");
        let Some(dhcp) = facts.current(&key, "EnableDHCP")?.dword()? else { continue };
        if dhcp == 0 {
            steps.current(&key, "EnableDHCP", Some(Value::dword(1)));
            for name in ["IPAddress", "SubnetMask", "DefaultGateway"] {
                if facts.current(&key, name)?.value.is_some() {
                    steps.current(&key, name, None);
                }
            }
        }
        if facts.current(&key, "NameServer")?.text()?.is_some_and(|text| !text.is_empty()) {
            steps.current(&key, "NameServer", Some(Value::sz("")));
        }
    }
    for (name, _) in facts.current_values(ROUTES)? {
        if name.starts_with("0.0.0.0,") {
            steps.current(ROUTES, &name, None);
        }
    }
    Ok(())
}

fn clock(_: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    steps.current(r"Control\TimeZoneInformation", "RealTimeIsUniversal", Some(Value::dword(1)));
    Ok(())
}

fn device_installation(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    for name in DENIALS.into_iter().chain(["DenyRemovableDevices"]) {
        if facts.software(RESTRICTIONS, name)?.dword()? == Some(1) {
            steps.software(RESTRICTIONS, name, Some(Value::dword(0)));
        }
    }
    Ok(())
}

fn scripts(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    if facts.software(POWERSHELL, "EnableScripts")?.dword()? == Some(0) {
        steps.software(POWERSHELL, "EnableScripts", None);
    }
    let policy = facts.software(POWERSHELL, "ExecutionPolicy")?.text()?;
    if policy.is_some_and(|policy| ["AllSigned", "Restricted"].contains(&policy.as_str())) {
        steps.software(POWERSHELL, "ExecutionPolicy", None);
    }
    if facts.software(INSTALLER, "DisableMSI")?.dword()?.is_some_and(|number| number != 0) {
        steps.software(INSTALLER, "DisableMSI", None);
    }
    for (service, usual) in INSTALLING {
        if facts.start(service)? == Some(4) {
            steps.current(&format!(r"Services\{service}"), "Start", Some(Value::dword(usual)));
        }
    }
    Ok(())
}

fn activation(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    let key = r"Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform";
    for name in ["KeyManagementServiceName", "KeyManagementServicePort"] {
        if facts.software(key, name)?.value.is_some() {
            steps.software(key, name, None);
        }
    }
    Ok(())
}

fn disks(facts: &Facts<'_>, steps: &mut Steps) -> Result<(), Refusal> {
    let policy = facts.current(r"Services\partmgr\Parameters", "SanPolicy")?;
    if policy.dword()? != Some(1) {
        steps.current(r"Services\partmgr\Parameters", "SanPolicy", Some(Value::dword(1)));
    }
    Ok(())
}
