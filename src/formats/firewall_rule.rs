//! A rule of the Windows firewall as the registry stores it: `v2.30|Action=Allow|Active=TRUE|Dir=In|...` (MS-FASP 2.2.36
//! and the text form of MS-GPFAS 2.2.2).

use std::net::Ipv4Addr;

/// A rule, as far as it matters whether it lets Remote Desktop in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FirewallRule {
    /// Whether it allows, and does not block.
    pub is_allow: bool,
    /// Whether it is in force.
    pub is_active: bool,
    /// Whether it is one for this TCP port, coming in, on this profile.
    pub is_ours: bool,
    /// Whether it is limited to some remote addresses.
    pub is_limited: bool,
    /// Whether its remote addresses are so many, or of such a kind, that those of whoever connects are likely among them.
    pub is_broad: bool,
    /// Whether its remote addresses are those of this machine, or of nobody.
    pub is_loopback: bool,
    /// Whether it counts under a condition beside addresses, program, service, port and profile that a machine in the
    /// cloud need not fulfil: an address, an adapter or a kind of adapter of its own, a remote port, a user, a version.
    pub is_conditional: bool,
    /// Whether it asks for a secured connection (IPsec), which nobody in a new network has.
    pub is_secured: bool,
    /// Whether it names the service of Remote Desktop itself, or no program at all.
    pub fits: bool,
}

impl FirewallRule {
    /// Reads the text of a rule: its version, then pairs of name and value; names may come again. `profile` is `Domain`,
    /// `Private` or `Public`.
    pub fn parse(text: &str, port: u32, profile: &str) -> Self {
        let pairs: Vec<(&str, &str)> = text.split('|').skip(1).filter_map(|part| part.split_once('=')).collect();
        let all = |name: &str| -> Vec<&str> {
            pairs.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
        };
        let is = |name: &str, value: &str| all(name).iter().any(|own| own.eq_ignore_ascii_case(value));
        let (profiles, programs) = (all("Profile"), all("App"));
        // Ranges came with version 2.10.
        let ports: Vec<&str> = ["LPort", "LPort2_10"].iter().flat_map(|name| all(name)).collect();
        let holds = |own: &&str| match own.split_once('-') {
            Some((first, last)) => {
                let number = |text: &str| text.trim().parse::<u32>().ok();
                number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&port))
            }
            None => own.parse() == Ok(port),
        };
        let has_port = ports.is_empty() || ports.iter().any(holds);
        let is_of_profile = profiles.is_empty() || profiles.iter().any(|own| own.eq_ignore_ascii_case(profile));
        let is_tcp = all("Protocol").is_empty() || is("Protocol", "6");
        let services = all("Svc");
        let of_service =
            services.is_empty() || services.iter().any(|own| *own == "*" || own.eq_ignore_ascii_case("termservice"));
        let of_program = programs.is_empty() || programs.iter().any(|program| is_of_windows(program));
        let is_allow = is("Action", "Allow") && !is("Action", "Block");
        let is_remote = |name: &str| {
            name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("RA4") || head.eq_ignore_ascii_case("RA6"))
        };
        let remote: Vec<&str> = pairs.iter().filter(|(name, _)| is_remote(name)).map(|(_, value)| *value).collect();
        Self {
            is_allow,
            // What says both lets nobody in, and may block.
            is_active: is("Active", "TRUE") && !(is_allow && is("Active", "FALSE")),
            is_ours: is("Dir", "In")
                && is_tcp
                && has_port
                && is_of_profile
                // What blocks everything blocks this, too.
                && !(is_allow && ports.is_empty() && services.is_empty()),
            is_secured: pairs
                .iter()
                .any(|(name, value)| name.to_ascii_uppercase().starts_with("SECURITY") && !value.is_empty()),
            is_limited: !remote.is_empty(),
            is_broad: remote.is_empty() || is_broad(&remote),
            is_loopback: !remote.is_empty() && remote.iter().all(|address| is_nobody(address)),
            is_conditional: pairs.iter().any(|(name, value)| is_condition(name, value))
                || !is_of_this_windows(&all("Platform"), is("Platform2", "GTEQ")),
            fits: of_program && of_service,
        }
    }
}

/// Tells whether a part of a rule is a condition that a machine in the cloud need not fulfil.
fn is_condition(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    match name.as_str() {
        "IFTYPE" => !value.eq_ignore_ascii_case("All") && !value.eq_ignore_ascii_case("Lan"),
        "RPORT" | "RPORT2_10" => !is_most_ports(value),
        "IF" | "RUAUTH" | "RMAUTH" | "LUAUTH" | "LUAUTH2_24" | "LUOWN" | "APPPKGID" => true,
        _ => (name.starts_with("LA4") || name.starts_with("LA6")) && !is_broad(&[value]),
    }
}

/// Tells whether a rule counts on Windows 10.0, which each handled release is: `2:6:2` is Windows 6.2, and with `and_later`
/// each later one as well. No version at all is every one.
fn is_of_this_windows(versions: &[&str], and_later: bool) -> bool {
    const MAJOR: u32 = 10;
    let major = |version: &&str| version.split(':').nth(1).and_then(|major| major.parse::<u32>().ok());
    let fits = |major: u32| if and_later { major <= MAJOR } else { major == MAJOR };
    versions.is_empty() || versions.iter().filter_map(major).any(fits)
}

/// Tells whether a range of ports holds half of them: whoever connects comes from one of these.
fn is_most_ports(text: &str) -> bool {
    const HALF: u32 = 1 << 15;
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let range = text.split_once('-').and_then(|(first, last)| number(first).zip(number(last)));
    range.is_some_and(|(first, last)| last.saturating_sub(first) >= HALF)
}

/// Tells whether addresses of a rule hold a whole private network, half of the public one, or are known by a word.
fn is_broad(addresses: &[&str]) -> bool {
    /// The private networks (RFC 1918), one of which the machine's own network is.
    const PRIVATE: [(u32, u32); 3] =
        [(0x0a00_0000, 0x0aff_ffff), (0xac10_0000, 0xac1f_ffff), (0xc0a8_0000, 0xc0a8_ffff)];
    const HALF: u64 = 1 << 31;
    let mut ranges = Vec::new();
    for address in addresses {
        match range(address) {
            Some(range) => ranges.push(range),
            // Of IPv6 and of what is not understood: whoever connects may be among them, unless it is one address.
            None if address.contains(':') => {
                if !address.ends_with("/128") && (address.contains('/') || address.contains('-')) {
                    return true;
                }
            }
            None => return true,
        }
    }
    ranges.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    let count: u64 = joined.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum();
    count >= HALF || PRIVATE.iter().any(|(first, last)| joined.iter().any(|(a, z)| a <= first && z >= last))
}

/// Tells whether an address is one from which nobody connects: of this machine, of all, of none, or no address.
fn is_nobody(address: &str) -> bool {
    let is_of_127 = |first: u32, last: u32| first >> 24 == 127 && last >> 24 == 127;
    match range(address) {
        Some((first, last)) => is_of_127(first, last) || (first == last && [0, u32::MAX].contains(&first)),
        // A word such as `LocalSubnet` has no digits, an address of IPv6 has colons.
        None => address == "::1" || address == "::1/128" || (address.contains('.') && !address.contains(':')),
    }
}

/// Tells whether a program is the one in which Windows runs its services.
fn is_of_windows(program: &str) -> bool {
    let program = program.to_ascii_lowercase();
    ["%systemroot%", "%windir%", r"c:\windows"]
        .iter()
        .any(|root| program.strip_prefix(root).is_some_and(|rest| rest == r"\system32\svchost.exe"))
}

/// Returns the first and the last address of IPv4: `1.2.3.4`, `1.2.3.0/24`, `1.2.3.0/255.255.255.0`, `1.2.3.4-1.2.3.9`.
fn range(text: &str) -> Option<(u32, u32)> {
    let address = |text: &str| text.trim().parse::<Ipv4Addr>().ok().map(u32::from);
    if let Some((first, last)) = text.split_once('-') {
        return Some((address(first)?, address(last)?)).filter(|(first, last)| first <= last);
    }
    let Some((net, mask)) = text.split_once('/') else { return address(text).map(|one| (one, one)) };
    let mask = match address(mask) {
        Some(mask) => mask,
        None => match mask.trim().parse::<u32>().ok().filter(|bits| *bits <= 32)? {
            0 => 0,
            bits => u32::MAX << (32 - bits),
        },
    };
    let first = address(net)? & mask;
    Some((first, first | !mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firewall_rule_lets_remote_desktop_in_only_if_every_part_of_it_does() {
        let stock = "v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|\
            App=%SystemRoot%\\system32\\svchost.exe|Svc=termservice|Name=@x|Desc=@y|";
        let rule = |text: &str, port: u32| FirewallRule::parse(text, port, "Public");
        let good =
            |rule: &FirewallRule| rule.is_allow && rule.is_active && rule.is_ours && rule.fits && !rule.is_limited;
        assert!(good(&rule(stock, 3389)));
        for (from, to) in [
            ("Allow", "Block"),
            ("TRUE", "FALSE"),
            ("Dir=In", "Dir=Out"),
            ("Protocol=6", "Protocol=17"),
            ("LPort=3389", "LPort=3390"),
            ("LPort=3389", "LPort=3389|Profile=Domain|Profile=Private"),
            ("LPort=3389", "LPort=3389|RA4=LocalSubnet"),
            ("svchost.exe", "other.exe"),
            ("Svc=termservice", "Svc=rpcss"),
        ] {
            assert!(stock.contains(from), "{from}");
            assert!(!good(&rule(&stock.replace(from, to), 3389)), "{from} -> {to}");
        }
        assert!(good(&rule(&stock.replace("LPort=3389", "LPort=3389|Profile=Private|Profile=Public"), 3389)));
        assert!(!good(&rule(stock, 3390)), "a listener on another port needs another rule");
        assert!(!rule("v2.30", 3389).is_ours);
        for (from, to) in [
            ("LPort=3389|", ""),
            ("Protocol=6|LPort=3389|", ""),
            ("LPort=3389", "LPort2_10=3000-4000"),
            ("LPort=3389|", "LPort=80|LPort=3389|"),
            ("Svc=termservice|", ""),
            ("Svc=termservice|", "Svc=*|"),
        ] {
            let block = rule(&stock.replace("Allow", "Block").replace(from, to), 3389);
            assert!(block.is_ours && block.fits && !block.is_allow, "{to}");
        }
        assert!(!rule(&stock.replace("LPort=3389", "LPort2_10=4000-5000"), 3389).is_ours);
        assert!(rule(&stock.replace("Svc", "Security=Authenticate|Svc"), 3389).is_secured);
        for (addresses, broad) in [
            ("RA4=0.0.0.0-255.255.255.255", true),
            ("RA4=0.0.0.0/1|RA4=128.0.0.0/1", true),
            ("RA4=0.0.0.0/0.0.0.0", true),
            ("RA42=Internet", true),
            ("RA42=LocalSubnet", true),
            ("RA4=LocalSubnet", true),
            ("RA4=10.0.0.0/255.0.0.0", true),
            ("RA4=10.0.0.0/9|RA4=10.128.0.0-10.255.255.255", true),
            ("RA6=::/0", true),
            ("RA4=203.0.113.0/255.255.255.0", false),
            ("RA4=203.0.113.7|RA6=2001:db8::1", false),
            ("RA4=198.51.100.1-198.51.100.9", false),
        ] {
            let text = stock.replace("Allow", "Block").replace("LPort=3389", &format!("LPort=3389|{addresses}"));
            let block = rule(&text, 3389);
            assert_eq!((block.is_broad, block.is_limited, block.is_loopback), (broad, true, false), "{addresses}");
        }
        for address in ["127.0.0.0/8|RA6=::1", "0.0.0.0", "255.255.255.255", "10.0.0.999"] {
            let text = stock.replace("LPort=3389", &format!("LPort=3389|RA4={address}"));
            assert!(rule(&text, 3389).is_loopback, "{address}");
        }
        assert!(!rule(&stock.replace("LPort=3389", "LPort=3389|RA4=LocalSubnet"), 3389).is_loopback);
        assert!(rule(&stock.replace("Svc", "Security2_9=An-NoEncap|Svc"), 3389).is_secured);
        assert!(!rule(&stock.replace("Active=TRUE", "Active=TRUE|Active=FALSE"), 3389).is_active);
        assert!(!rule(&stock.replace("%SystemRoot%\\system32", "%SystemRoot%\\temp"), 3389).fits);
        for (part, conditional) in [
            ("LA4=10.1.2.3", true),
            ("IFType=Wireless", true),
            ("IF={4E1B7A6C-0000-0000-0000-000000000000}", true),
            ("RPort=1", true),
            ("Platform=2:99:0", true),
            ("RUAuth=O:LSD:(A;;CC;;;BG)", true),
            ("LUOwn=S-1-5-21-1-2-3-500", true),
            ("AppPkgId=S-1-15-2-1", true),
            ("LA4=0.0.0.0-255.255.255.255", false),
            ("LA4=0.0.0.0/0", false),
            ("RPort=1-65535", false),
            ("RPort2_10=0-65535", false),
            ("IFType=Lan", false),
            ("Platform=2:6:2|Platform2=GTEQ", false),
            ("Edge=TRUE", false),
            ("Platform=2:6:2", true),
            ("Platform=2:10:0", false),
            ("Platform=2:10:0|Platform2=GTEQ", false),
        ] {
            let found = rule(&stock.replace("LPort=3389", &format!("LPort=3389|{part}")), 3389);
            assert_eq!(found.is_conditional, conditional, "{part}");
        }
        let domain = stock.replace("LPort=3389", "LPort=3389|Profile=Domain");
        assert!(good(&FirewallRule::parse(&domain, 3389, "Domain")));
    }
}
