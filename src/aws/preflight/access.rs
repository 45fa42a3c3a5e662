//! Checks that somebody can log on to the started machine: Remote Desktop, firewall, rights, network, accounts.

use std::collections::BTreeSet;

use super::check::Check;
use super::facts::Facts;
use super::outcome::{Answer, Outcome, fail, pass, unknown, warn, worst};
use crate::audit::Route;
use crate::audit::Verdict;
use crate::formats::firewall_rule::FirewallRule;
use crate::windows::LocalAccount;
use crate::windows::sam::accounts::Flag;
use crate::windows::setting::Role;
use coldforge_base::Refusal;

/// Where the rules and profiles of the local firewall are.
pub(super) const FIREWALL: &str = r"Services\SharedAccess\Parameters\FirewallPolicy";
/// Where those of group policy are.
pub(super) const FIREWALL_POLICY: &str = r"Policies\Microsoft\WindowsFirewall";
pub(super) const TERMINAL_POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";
pub(super) const INTERFACES: &str = r"Services\Tcpip\Parameters\Interfaces";
pub(super) const ROUTES: &str = r"Services\Tcpip\Parameters\PersistentRoutes";
const NETWORK_CLASS: &str = r"Control\Class\{4d36e972-e325-11ce-bfc1-08002be10318}";
/// The firewall's profile of a network that Windows has not met before.
pub(super) const PROFILE: &str = "Public";
/// The port of remote desktop.
const PORT: u32 = 3389;

/// The services that the network needs, and how Windows starts them; without one of the first five there is no address.
pub(super) const NETWORK: [(&str, u32); 10] = [
    ("Dhcp", 2),
    ("Tcpip", 0),
    ("AFD", 1),
    ("nsi", 2),
    ("nsiproxy", 1),
    ("NlaSvc", 2),
    ("netprofm", 3),
    ("RpcSs", 2),
    ("BFE", 2),
    ("mpssvc", 2),
];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P26",
        title: "Remote desktop is on",
        requires: "remote desktop enabled, on its own port, with its services startable",
        prevents: "an instance that nobody can reach",
        hint: "enable remote desktop in Windows",
        run: remote_desktop,
    },
    Check {
        id: "P27",
        title: "The firewall lets remote desktop in",
        requires: "an active rule for the port of remote desktop on the public profile, which a new network has",
        prevents: "an instance that nobody can reach",
        hint: "enable the rules of remote desktop for all profiles",
        run: firewall,
    },
    Check {
        id: "P28",
        title: "Somebody may log on by remote desktop",
        requires: "an enabled local account that holds the right to log on by remote desktop and is not denied it",
        prevents: "an instance that lets nobody in",
        hint: "grant `Allow log on through Remote Desktop Services` to Administrators",
        run: right,
    },
    Check {
        id: "P29",
        title: "The services of the network can start",
        requires: "DHCP client, TCP/IP and what they stand on, startable",
        prevents: "FirstBootFailure: the instance did not get an address (DHCP)",
        hint: "restore the start type in Windows",
        run: services,
    },
    Check {
        id: "P30",
        title: "Addresses come from DHCP",
        requires: "no static address, name server or default route",
        prevents: "FirstBootFailure: the instance cannot be reached; on the snapshot route it keeps its old address",
        hint: "switch the adapter to DHCP in Windows",
        run: addresses,
    },
    Check {
        id: "P31",
        title: "There is one network adapter",
        requires: "one physical adapter: the import makes one",
        prevents: "settings that stay with an adapter that is gone",
        hint: "remove the other adapters in the device manager (show hidden devices)",
        run: adapters,
    },
    Check {
        id: "P35",
        title: "Accounts have passwords, and an administrator can log on",
        requires: "passwords on all enabled accounts, and one enabled local administrator",
        prevents: "an instance that nobody can log on to, or anybody",
        hint: "set passwords in Windows, and enable one administrator",
        run: accounts,
    },
];

fn remote_desktop(facts: &Facts<'_>) -> Answer {
    let policy = facts.software(TERMINAL_POLICY, "fDenyTSConnections")?;
    let local = facts.current(r"Control\Terminal Server", "fDenyTSConnections")?;
    let effective = if policy.dword()?.is_some() { policy } else { local };
    let mut parts = vec![match effective.dword()? {
        Some(0) => pass("on").at(effective.at),
        Some(_) => fail("connections are denied").at(effective.at),
        None => fail("it was never turned on").at(effective.at),
    }];
    let station = r"Control\Terminal Server\WinStations\RDP-Tcp";
    let place = facts.place(station);
    if !facts.has_current(station)? {
        parts.push(fail("the listener is absent").at(place));
        return Ok(worst(parts));
    }
    let port = facts.current(station, "PortNumber")?;
    if port.dword()? != Some(PORT) {
        parts.push(warn(format!("it listens on port {:?}", port.dword()?)).at(port.at));
    }
    let listener = facts.current(station, "fEnableWinStation")?;
    if listener.dword()? == Some(0) {
        parts.push(fail("the listener is off").at(listener.at));
    }
    for service in ["TermService", "SessionEnv", "UmRdpService"] {
        match facts.start(service)? {
            Some(4) => parts.push(fail(format!("the service {service} is disabled")).at(facts.start_at(service))),
            None => parts.push(fail(format!("the service {service} is absent")).at(facts.start_at(service))),
            Some(_) => {}
        }
    }
    Ok(worst(parts))
}

/// Returns whether local rules apply in addition to those of group policy.
pub(super) fn local_rules_count(facts: &Facts<'_>) -> Result<bool, Refusal> {
    let merge = facts.software(&format!(r"{FIREWALL_POLICY}\PublicProfile"), "AllowLocalPolicyMerge")?;
    Ok(merge.dword()? != Some(0))
}

fn firewall(facts: &Facts<'_>) -> Answer {
    let profile = |name: &str| -> Result<(Option<u32>, String), Refusal> {
        let policy = facts.software(&format!(r"{FIREWALL_POLICY}\PublicProfile"), name)?;
        let local = facts.current(&format!(r"{FIREWALL}\PublicProfile"), name)?;
        let found = if policy.dword()?.is_some() { policy } else { local };
        Ok((found.dword()?, found.at))
    };
    let (on, place) = profile("EnableFirewall")?;
    if on == Some(0) {
        return Ok(pass("the firewall is off on the public profile").at(place));
    }
    let (closed, closed_at) = profile("DoNotAllowExceptions")?;
    if closed == Some(1) {
        return Ok(fail("the public profile allows no exceptions").at(closed_at));
    }
    let port = facts.current(r"Control\Terminal Server\WinStations\RDP-Tcp", "PortNumber")?.dword()?.unwrap_or(PORT);
    let mut sources = vec![(
        format!(r"HKLM\SOFTWARE\{FIREWALL_POLICY}\FirewallRules"),
        facts.software_values(&format!(r"{FIREWALL_POLICY}\FirewallRules"))?,
    )];
    let counts = local_rules_count(facts)?;
    if counts {
        sources.push((
            facts.place(&format!(r"{FIREWALL}\FirewallRules")),
            facts.current_values(&format!(r"{FIREWALL}\FirewallRules"))?,
        ));
    }
    let has_rules = sources.iter().any(|(_, rules)| !rules.is_empty());
    let (mut allowed, mut doubtful, mut blocked) = (Vec::new(), Vec::new(), Vec::new());
    for (key, rules) in &sources {
        for (name, data) in rules {
            let Some(text) = data.as_text() else { continue };
            let rule = FirewallRule::parse(&text, port, PROFILE);
            if !(rule.is_active && rule.is_ours) {
                continue;
            }
            let place = format!("{key}!{name}");
            match effect(&rule) {
                Some(outcome) if outcome.verdict == Verdict::Pass => allowed.push(outcome.at(place)),
                Some(outcome) if outcome.verdict == Verdict::Fail => blocked.push(outcome.at(place)),
                Some(outcome) => doubtful.push(outcome.at(place)),
                None => {}
            }
        }
    }
    if !blocked.is_empty() {
        return Ok(worst(blocked));
    }
    if let Some(first) = allowed.into_iter().next() {
        return Ok(first);
    }
    if !doubtful.is_empty() {
        return Ok(worst(doubtful));
    }
    let (inbound, inbound_at) = profile("DefaultInboundAction")?;
    Ok(match (inbound, has_rules) {
        (Some(0), _) => pass("the public profile lets everything in").at(inbound_at),
        (_, true) => fail("no active rule lets it in on the public profile"),
        (_, false) => fail("there are no rules at all"),
    }
    .at(sources.last().map(|(key, _)| key.clone()).unwrap_or_default()))
}

/// Returns what an active rule does to the port of Remote Desktop: pass if it allows everybody, fail if it blocks it, warn
/// or unknown if that depends; `None` if the rule does not matter.
fn effect(rule: &FirewallRule) -> Option<Outcome> {
    Some(match (rule.is_allow, rule.fits, rule.is_limited) {
        (false, false, _) => return None,
        (false, true, _) if rule.is_conditional => warn("an active rule blocks it under some conditions"),
        (false, true, true) if !rule.is_broad => warn("an active rule keeps some addresses out"),
        (false, true, _) => fail("an active rule blocks the port"),
        (true, false, _) => unknown("an active rule names another program"),
        (true, true, _) if rule.is_secured => warn("an active rule lets only secured connections in"),
        (true, true, _) if rule.is_loopback => return None,
        (true, true, _) if rule.is_conditional => warn("an active rule lets it in under some conditions"),
        (true, true, true) => warn("an active rule lets only some addresses in"),
        (true, true, false) => pass("an active rule lets it in"),
    })
}

/// Returns the SIDs that an account has in its token when it logs on from far away, as far as the image tells.
fn token(person: &LocalAccount, machine: &coldforge_base::sid::Sid) -> BTreeSet<String> {
    let mut sids: BTreeSet<String> =
        ["S-1-1-0", "S-1-5-11", "S-1-5-14", "S-1-5-4", "S-1-2-0", "S-1-5-113"].map(str::to_owned).into();
    sids.extend(machine.child(person.account.rid).map(|sid| sid.to_string()));
    sids.extend(person.groups.iter().map(|rid| format!("S-1-5-32-{rid}")));
    if person.groups.contains(&544) {
        sids.insert("S-1-5-114".to_owned());
    }
    sids
}

fn right(facts: &Facts<'_>) -> Answer {
    let identity = facts.evidence.identity()?;
    let Some(machine) = identity.machine_sid else { return Ok(unknown("SECURITY does not tell the machine's SID")) };
    let holders = |right: &str| -> Result<BTreeSet<String>, Refusal> {
        Ok(facts.evidence.holders(right)?.iter().map(ToString::to_string).collect())
    };
    let allowed = holders("SeRemoteInteractiveLogonRight")?;
    let denied = holders("SeDenyRemoteInteractiveLogonRight")?;
    let network = (holders("SeNetworkLogonRight")?, holders("SeDenyNetworkLogonRight")?);
    let people = facts.evidence.people()?;
    let may = |person: &&LocalAccount| {
        let token = token(person, &machine);
        person.account.is(Flag::Enabled) && !token.is_disjoint(&allowed) && token.is_disjoint(&denied)
    };
    let who: Vec<&LocalAccount> = people.iter().filter(may).collect();
    let place = r"HKLM\SECURITY\Policy\Accounts";
    let by_network = who.iter().any(|person| {
        let token = token(person, &machine);
        !token.is_disjoint(&network.0) && token.is_disjoint(&network.1)
    });
    let names: Vec<&str> = who.iter().map(|person| person.account.name.as_str()).collect();
    Ok(match (names.is_empty(), by_network) {
        (true, _) if identity.role == Role::DomainController => unknown("accounts of a domain are not in the image"),
        (true, _) => fail("no enabled local account may log on by remote desktop"),
        (false, false) => warn(format!(
            "{} may, but not over the network, which network level authentication needs",
            names.join(", ")
        )),
        (false, true) => pass(names.join(", ")),
    }
    .at(place))
}

fn services(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    for (number, (service, usual)) in NETWORK.iter().enumerate() {
        let found = match facts.start(service)? {
            Some(4) => format!("{service} is disabled (usually {usual})"),
            None => format!("{service} is absent"),
            Some(_) => continue,
        };
        parts.push(if number < 5 { fail(found) } else { warn(found) }.at(facts.start_at(service)));
    }
    parts.push(pass("all can start"));
    Ok(worst(parts))
}

fn addresses(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    for interface in facts.current_keys(INTERFACES)? {
        let key = format!(r"{INTERFACES}\{interface}");
        // Interfaces without the value are no devices.
        let Some(dhcp) = facts.current(&key, "EnableDHCP")?.dword()? else { continue };
        let addresses = facts.current(&key, "IPAddress")?;
        let own: Vec<String> = addresses.texts()?.into_iter().filter(|text| text != "0.0.0.0").collect();
        if dhcp == 0 && !own.is_empty() {
            let found = format!("the static address {}", own.join(", "));
            let outcome = if facts.route == Route::Snapshot { fail(found) } else { warn(found) };
            parts.push(outcome.at(addresses.at));
        }
        let servers = facts.current(&key, "NameServer")?;
        if let Some(text) = servers.text()?.filter(|text| !text.is_empty()) {
            parts.push(warn(format!("the name server {text}")).at(servers.at));
        }
    }
    for (name, _) in facts.current_values(ROUTES)? {
        if name.starts_with("0.0.0.0,") {
            parts.push(warn(format!("the persistent route {name}")).at(facts.place(ROUTES)));
        }
    }
    let outcome = worst(parts);
    Ok(match outcome.verdict {
        Verdict::Pass => pass("no static address, name server or default route").at(facts.place(INTERFACES)),
        _ => outcome,
    })
}

fn adapters(facts: &Facts<'_>) -> Answer {
    const PHYSICAL: u32 = 4;
    let mut names = Vec::new();
    for number in facts.current_keys(NETWORK_CLASS)? {
        // In addition to the adapters the class has a key that only SYSTEM may read.
        if number.len() != 4 || number.parse::<u32>().is_err() {
            continue;
        }
        let key = format!(r"{NETWORK_CLASS}\{number}");
        if facts.current(&key, "Characteristics")?.dword()?.unwrap_or(0) & PHYSICAL != 0 {
            names.push(facts.current(&key, "DriverDesc")?.text()?.unwrap_or_else(|| number.clone()));
        }
    }
    Ok(match names.len() {
        0 => pass("none is stored"),
        1 => pass(names.join(", ")),
        count => warn(format!("{count}: {}", names.join(", "))),
    }
    .at(facts.place(NETWORK_CLASS)))
}

fn accounts(facts: &Facts<'_>) -> Answer {
    let people = facts.evidence.people()?;
    if facts.evidence.identity()?.role == Role::DomainController {
        return Ok(unknown("domain accounts are in the domain's database, which is not read"));
    }
    let place = |person: &LocalAccount| format!(r"HKLM\SAM\SAM\Domains\Account\Users\{:08X}", person.account.rid);
    let mut parts: Vec<Outcome> = Vec::new();
    let enabled: Vec<&LocalAccount> = people.iter().filter(|person| person.account.is(Flag::Enabled)).collect();
    let administrators: Vec<&str> = enabled
        .iter()
        .filter(|person| person.groups.contains(&544))
        .map(|person| person.account.name.as_str())
        .collect();
    if administrators.is_empty() {
        parts.push(
            fail("no enabled local account is an administrator").at(r"HKLM\SAM\SAM\Domains\Builtin\Aliases\00000220"),
        );
    }
    for person in &enabled {
        let name = &person.account.name;
        match person.password_bytes {
            4 | 24 => parts.push(fail(format!("{name} has no password")).at(place(person))),
            20 | 56 => {}
            other => parts.push(unknown(format!("the password record of {name} has {other} bytes")).at(place(person))),
        }
        if !person.account.is(Flag::PasswordRequired) {
            parts.push(warn(format!("{name} needs no password")).at(place(person)));
        }
    }
    parts.push(pass(format!(
        "{} can log on; every enabled account has a stored password (it may be empty)",
        administrators.join(", ")
    )));
    Ok(worst(parts))
}
