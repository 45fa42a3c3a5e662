//! A rule of the Windows firewall as the registry stores it: `v2.30|Action=Allow|Active=TRUE|Dir=In|...` (MS-FASP 2.2.36
//! and the text form of MS-GPFAS 2.2.2).

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
        let of_service = services.is_empty() || services.iter().any(|own| own.eq_ignore_ascii_case("termservice"));
        let of_program =
            programs.is_empty() || programs.iter().any(|program| program.to_ascii_lowercase().ends_with("svchost.exe"));
        let is_allow = is("Action", "Allow");
        Self {
            is_allow,
            is_active: is("Active", "TRUE"),
            is_ours: is("Dir", "In")
                && is_tcp
                && has_port
                && is_of_profile
                // What blocks everything blocks this, too.
                && !(is_allow && ports.is_empty() && services.is_empty()),
            is_secured: all("Security").iter().any(|security| !security.is_empty()),
            is_limited: pairs.iter().any(|(name, _)| {
                name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("RA4") || head.eq_ignore_ascii_case("RA6"))
            }),
            fits: of_program && of_service,
        }
    }
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
        ] {
            let block = rule(&stock.replace("Allow", "Block").replace(from, to), 3389);
            assert!(block.is_ours && block.fits && !block.is_allow, "{to}");
        }
        assert!(!rule(&stock.replace("LPort=3389", "LPort2_10=4000-5000"), 3389).is_ours);
        assert!(rule(&stock.replace("Svc", "Security=Authenticate|Svc"), 3389).is_secured);
        let domain = stock.replace("LPort=3389", "LPort=3389|Profile=Domain");
        assert!(good(&FirewallRule::parse(&domain, 3389, "Domain")));
    }
}
