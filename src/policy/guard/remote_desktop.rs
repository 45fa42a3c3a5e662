//! Whether a plan closes Remote Desktop: its own switches, its listener, and the firewall of the network that a machine
//! meets in the cloud.

use std::collections::BTreeSet;

use super::harm::HeldStep;
use super::planned::{Planned, effective};
use crate::formats::firewall_rule::FirewallRule;
use crate::policy::plan::step::Step;
use crate::windows::setting::{Data, Readings, Setting, Value};

const TERMINAL: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server";
const STATION: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server\WinStations\RDP-Tcp";
const TERMINAL_POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services";
const FIREWALL: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";
const FIREWALL_POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall";
const SCHANNEL: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL";
const CIPHER_SUITES: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Cryptography\Configuration\SSL\00010002";
const LOCAL_SUITES: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Cryptography\Configuration\Local\SSL\00010002";
/// Values that are read as numbers, and may mean anything where they are none.
const NUMBERS: [(&str, &str); 16] = [
    (TERMINAL_POLICY, "fDenyTSConnections"),
    (TERMINAL_POLICY, "MaxConnectionTime"),
    (TERMINAL_POLICY, "MaxIdleTime"),
    (TERMINAL_POLICY, "MaxInstanceCount"),
    (TERMINAL, "fDenyTSConnections"),
    (TERMINAL, "fLogonDisabled"),
    (TERMINAL, "TSEnabled"),
    (TERMINAL, "TSServerDrainMode"),
    (STATION, "fEnableWinStation"),
    (STATION, "fLogonDisabled"),
    (STATION, "LanAdapter"),
    (STATION, "MaxConnectionTime"),
    (STATION, "MaxIdleTime"),
    (STATION, "MaxInstanceCount"),
    (STATION, "PortNumber"),
    (FIREWALL_PUBLIC, "DoNotAllowExceptions"),
];
const FIREWALL_PUBLIC: &str =
    r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\PublicProfile";
const IPSEC_POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\IPSec\Policy\Local";
/// A minute in the milliseconds in which sessions are limited.
const MINUTE: u32 = 60_000;
/// The port of Remote Desktop.
const PORT: u32 = 3389;

/// Takes the steps out of a plan that close Remote Desktop in a way in which it is not closed now.
pub(super) fn hold(steps: &mut Vec<Step>, machine: &dyn Readings) -> Vec<HeldStep> {
    let mut concerned: Vec<usize> = (0..steps.len()).filter(|at| concerns(&steps[*at], machine)).collect();
    if concerned.is_empty() {
        return Vec::new();
    }
    // A rule that lets somebody in is taken before the switch that makes other rules count no longer.
    concerned.sort_by_key(|at| !is_rule(&steps[*at]));
    let now = closures(&Planned::new(machine, []));
    let mut planned = Planned::new(machine, []);
    let mut held: Vec<(usize, String)> = Vec::new();
    for at in concerned {
        planned.take(&steps[at]);
        if let Some(closure) = closures(&planned).into_iter().find(|closure| !now.contains(closure)) {
            planned.take_back(&steps[at]);
            held.push((at, format!("Remote Desktop is closed: {closure}")));
        }
    }
    held.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut taken: Vec<HeldStep> =
        held.into_iter().map(|(at, reason)| HeldStep { step: steps.remove(at), reason }).collect();
    taken.reverse();
    taken
}

/// Returns the ways in which Remote Desktop is closed.
fn closures(view: &Planned<'_>) -> BTreeSet<String> {
    let mut closures = BTreeSet::new();
    let policy = view.dword(TERMINAL_POLICY, "fDenyTSConnections");
    // Absent, it was never turned on.
    if policy.or_else(|| view.dword(TERMINAL, "fDenyTSConnections")) != Some(0) {
        closures.insert("connections are denied".to_owned());
    }
    for (key, name) in NUMBERS {
        if view.value(key, name).is_some_and(|value| value.as_dword().is_none()) {
            closures.insert(format!("{name} has a type that Windows does not read"));
        }
    }
    let is_off = view.dword(STATION, "fEnableWinStation") == Some(0) || view.dword(TERMINAL, "TSEnabled") == Some(0);
    if is_off || [STATION, TERMINAL].iter().any(|key| view.dword(key, "fLogonDisabled").is_some_and(|off| off != 0)) {
        closures.insert("its listener takes no connection".to_owned());
    }
    if view.dword(TERMINAL_POLICY, "MaxInstanceCount") == Some(0) || view.dword(STATION, "MaxInstanceCount") == Some(0)
    {
        closures.insert("no session is allowed".to_owned());
    }
    if view.dword(TERMINAL, "TSServerDrainMode").is_some_and(|mode| mode != 0) {
        closures.insert("new logons are refused".to_owned());
    }
    if view.dword(STATION, "LanAdapter").is_some_and(|adapter| adapter != 0) {
        closures.insert("it listens at one network adapter, which another machine does not have".to_owned());
    }
    let is_short = |key: &str| {
        let limits = ["MaxConnectionTime", "MaxIdleTime"];
        limits.iter().any(|limit| view.dword(key, limit).is_some_and(|time| (1..MINUTE).contains(&time)))
    };
    if is_short(STATION) || is_short(TERMINAL_POLICY) {
        closures.insert("each session ends within a minute".to_owned());
    }
    closures.extend(encryption(view).map(str::to_owned));
    closures.extend(secured(view).map(str::to_owned));
    let port = view.dword(STATION, "PortNumber").unwrap_or(PORT);
    if port != PORT {
        closures.insert(format!("it listens on port {port}, which nothing in the cloud lets in"));
    }
    let mut profiles = vec![("PublicProfile", "Public", "public")];
    if view.identity().domain_joined == Some(true) {
        profiles.push(("DomainProfile", "Domain", "domain"));
    }
    for (key, profile, word) in profiles {
        closures.extend(firewall(view, (key, profile), port).map(|closure| format!("{closure} on the {word} profile")));
    }
    closures
}

/// Returns how the firewall closes the port in a profile, if it does.
fn firewall(view: &Planned<'_>, (key, profile): (&str, &str), port: u32) -> Option<&'static str> {
    let setting = |name: &str| {
        let policy = view.dword(&format!(r"{FIREWALL_POLICY}\{key}"), name);
        policy.or_else(|| view.dword(&format!(r"{FIREWALL}\{key}"), name))
    };
    if setting("EnableFirewall") == Some(0) {
        return None;
    }
    if setting("DoNotAllowExceptions") == Some(1) {
        return Some("the firewall allows no exceptions");
    }
    let local_counts = view.dword(&format!(r"{FIREWALL_POLICY}\{key}"), "AllowLocalPolicyMerge") != Some(0);
    let mut rules = view.values_of(&format!(r"{FIREWALL_POLICY}\FirewallRules"));
    if local_counts {
        rules.extend(view.values_of(&format!(r"{FIREWALL}\FirewallRules")));
        rules.extend(view.values_of(&format!(r"{FIREWALL}\Mdm\FirewallRules")));
    }
    let hardening = ["Configurable", "Static"]
        .into_iter()
        .flat_map(|kind| view.values_of(&format!(r"{FIREWALL}\RestrictedServices\{kind}\System")));
    let parsed = |(_, data): &(String, Data)| Some(FirewallRule::parse(&data.as_text()?, port, profile));
    let counts = |rule: &FirewallRule| rule.is_active && rule.is_ours && rule.fits && !rule.is_conditional;
    let rules: Vec<FirewallRule> = rules.iter().filter_map(parsed).filter(counts).collect();
    if rules.iter().any(|rule| !rule.is_allow && rule.is_broad) {
        return Some("a rule of the firewall blocks it");
    }
    // What a service may do is limited by rules of its own, of which Windows brings none for this one.
    let of_service = |data: &Data| data.as_text().is_some_and(|text| text.to_lowercase().contains("svc=termservice"));
    let hardening: Vec<_> = hardening.filter(|(_, data)| of_service(data)).collect();
    if hardening.iter().filter_map(parsed).filter(counts).any(|rule| !rule.is_allow && rule.is_broad) {
        return Some("a rule of the firewall for the service blocks it");
    }
    // What is limited to some addresses lets those in.
    if rules.iter().any(|rule| rule.is_allow && !rule.is_secured && !rule.is_loopback)
        || setting("DefaultInboundAction") == Some(0)
    {
        return None;
    }
    Some("no rule of the firewall lets it in")
}

/// Returns why the connection cannot be encrypted, if so.
fn encryption(view: &Planned<'_>) -> Option<&'static str> {
    let is_off = |part: &str| view.dword(&format!(r"{SCHANNEL}\{part}"), "Enabled") == Some(0);
    if is_off(r"Hashes\SHA256") {
        return Some("TLS 1.2 has no hash without SHA-256");
    }
    if is_off(r"Ciphers\AES 128/128") && is_off(r"Ciphers\AES 256/256") {
        return Some("TLS has no cipher without AES");
    }
    if is_off(r"KeyExchangeAlgorithms\PKCS") && is_off(r"KeyExchangeAlgorithms\ECDH") {
        return Some("TLS has no key exchange without RSA and ECDH");
    }
    let is_known = |suite: &str| {
        let suite = suite.trim().to_uppercase();
        let begins = ["TLS_AES_", "TLS_CHACHA20_", "TLS_DHE_", "TLS_ECDHE_", "TLS_RSA_"];
        begins.iter().any(|head| suite.starts_with(head)) && suite.contains("_SHA")
    };
    let is_empty = |key: &str| {
        let suites = view.value(key, "Functions");
        let listed = suites
            .as_ref()
            .and_then(Value::as_data)
            .map(|data| data.as_texts().or_else(|| data.as_text().map(|text| vec![text])).unwrap_or_default());
        listed.is_some_and(|lists| !lists.iter().any(|list| list.split(',').any(is_known)))
    };
    (is_empty(CIPHER_SUITES) || is_empty(LOCAL_SUITES)).then_some("no cipher suite of TLS is allowed")
}

/// Returns why only connections secured by IPsec are taken, if so.
fn secured(view: &Planned<'_>) -> Option<&'static str> {
    let is_asked = |text: &str| {
        let has = |part: &str| text.split('|').any(|own| own.eq_ignore_ascii_case(part));
        has("Active=TRUE") && (has("Action=SecureServer") || has("Action=Secure"))
    };
    let rules = [FIREWALL, FIREWALL_POLICY].into_iter().flat_map(|key| view.values_of(&format!(r"{key}\ConSecRules")));
    if rules.filter_map(|(_, data)| data.as_text()).any(|text| is_asked(&text)) {
        return Some("a rule asks for connections that are secured by IPsec");
    }
    let policy = view.value(IPSEC_POLICY, "ActivePolicy").and_then(|value| value.as_text());
    policy.is_some_and(|policy| !policy.trim().is_empty()).then_some("a policy of IPsec is in force")
}

/// Tells whether a step sets something that is looked at here.
fn concerns(step: &Step, machine: &dyn Readings) -> bool {
    let keys =
        [TERMINAL, TERMINAL_POLICY, FIREWALL, FIREWALL_POLICY, SCHANNEL, CIPHER_SUITES, LOCAL_SUITES, IPSEC_POLICY]
            .map(|key| in_current(&key.to_uppercase()));
    effective(&step.setting, machine).iter().any(|setting| match setting {
        Setting::Registry { key, .. } => {
            let key = in_current(&key.to_uppercase());
            keys.iter().any(|known| key.starts_with(known.as_str()))
        }
        _ => false,
    })
}

/// Returns a key in upper case, whatever control set it lies in.
fn in_current(key: &str) -> String {
    let Some(rest) = key.strip_prefix(r"HKLM\SYSTEM\") else { return key.to_owned() };
    let (set, below) = rest.split_once('\\').unwrap_or((rest, ""));
    let is_set = set == "CURRENTCONTROLSET" || set.starts_with("CONTROLSET");
    if is_set { format!(r"SET\{below}") } else { key.to_owned() }
}

fn is_rule(step: &Step) -> bool {
    let key = match &step.setting {
        Setting::Registry { key, .. } | Setting::LocalPolicy { key, .. } => key,
        _ => return false,
    };
    key.to_uppercase().ends_with(r"\FIREWALLRULES") && step.to.is_some()
}
