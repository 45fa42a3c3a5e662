//! Users and groups as rules name them: by a SID that is the same on every machine, or by their part in a domain.

use std::fmt;
use std::str::FromStr;

use crate::windows::setting::Identity;
use coldforge_base::sid::Sid;

/// A user or group.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Principal {
    /// By its SID.
    Sid(Sid),
    /// By its relative identifier in the machine's own accounts.
    Machine(u32),
    /// By its relative identifier in the machine's domain, such as 512 for Domain Admins.
    Domain(u32),
    /// By its relative identifier in the root domain of the forest, such as 519 for Enterprise Admins. No hive of a
    /// member tells the SID of that domain.
    ForestRoot(u32),
}

impl Principal {
    /// Returns the principal by its SID on this machine.
    ///
    /// # Errors
    /// The principal itself, if the machine's hives do not tell.
    pub fn resolved(&self, identity: &Identity) -> Result<Self, Self> {
        let (base, rid) = match self {
            Self::Sid(_) => return Ok(self.clone()),
            Self::Machine(rid) => (&identity.machine_sid, *rid),
            Self::Domain(rid) => (&identity.domain_sid, *rid),
            Self::ForestRoot(_) => (&None, 0),
        };
        base.as_ref().and_then(|base| base.child(rid)).map(Self::Sid).ok_or_else(|| self.clone())
    }
}

impl fmt::Display for Principal {
    /// Writes the name that people know, or the SID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sid(sid) => match sid.name() {
                Some(name) => f.write_str(name),
                None => sid.fmt(f),
            },
            Self::Machine(rid) => write!(f, "machine-{rid}"),
            Self::Domain(512) => f.write_str("Domain Admins"),
            Self::Domain(rid) => write!(f, "domain-{rid}"),
            Self::ForestRoot(519) => f.write_str("Enterprise Admins"),
            Self::ForestRoot(rid) => write!(f, "forest-{rid}"),
        }
    }
}

/// The text names no [`Principal`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownPrincipal;

impl FromStr for Principal {
    type Err = UnknownPrincipal;

    /// Parses a SID, or `machine-500`, `domain-512`, `forest-519`.
    fn from_str(text: &str) -> Result<Self, UnknownPrincipal> {
        if let Ok(sid) = text.parse() {
            return Ok(Self::Sid(sid));
        }
        let (base, rid) = text.split_once('-').ok_or(UnknownPrincipal)?;
        let rid = rid.parse().map_err(|_| UnknownPrincipal)?;
        match base {
            "machine" => Ok(Self::Machine(rid)),
            "domain" => Ok(Self::Domain(rid)),
            "forest" => Ok(Self::ForestRoot(rid)),
            _ => Err(UnknownPrincipal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_machine;
    use super::*;

    #[test]
    fn a_principal_is_resolved_where_the_machine_tells() {
        let mut identity = fake_machine::member_server();
        identity.domain_sid = Some(Sid::new(5, &[21, 1, 2, 3]));
        let resolved = |text: &str| text.parse::<Principal>().unwrap().resolved(&identity);
        assert_eq!(resolved("domain-512").unwrap().to_string(), "S-1-5-21-1-2-3-512");
        assert_eq!(resolved("S-1-5-32-544").unwrap().to_string(), "Administrators");
        assert_eq!(resolved("machine-500"), Err(Principal::Machine(500)), "its SID is not known");
        assert_eq!(resolved("forest-519"), Err(Principal::ForestRoot(519)));
        assert_eq!("Administrators".parse::<Principal>(), Err(UnknownPrincipal), "names differ by language");
    }
}
