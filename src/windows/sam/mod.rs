//! The SAM hive: local accounts, local groups, and the policy on passwords and lockout.
//!
//! The policy ([`account_policy`]), accounts ([`accounts`]) with their two values ([`user_f`], [`user_v`]), and groups
//! ([`groups`]). Each structure is read from plain bytes and written back with every byte kept that is not
//! understood. Hashes and keys are never looked at: they are bound to relative identifiers, which never change here.

pub mod account_policy;
pub mod accounts;
pub mod groups;
pub mod user_f;
pub mod user_v;

use std::collections::BTreeSet;

use super::hive_value::{self, SAM};
use super::unusable_value::Structure;
use super::{Result, UnusableValue};
use coldforge_base::sid::Sid;
use coldforge_regf::{Key, Lookup};

/// The key of the machine's own domain.
pub(super) const ACCOUNT: &str = r"SAM\Domains\Account";

/// Returns the SID of the machine, which begins the SIDs of its accounts: the last 24 bytes of the domain's `V`.
///
/// # Errors
/// [`UnusableValue::Missing`] and [`UnusableValue::Malformed`]; errors of the hive.
pub fn machine_sid(sam: &dyn Lookup) -> Result<Sid> {
    let failed = hive_value::unusable(SAM, ACCOUNT);
    let value = hive_value::read(sam, SAM, ACCOUNT, "V")?.ok_or_else(|| failed(UnusableValue::Missing))?;
    domain_sid(&value.data).map_err(failed)
}

/// Reads the SID at the end of a domain's `V`.
///
/// # Errors
/// [`UnusableValue::Malformed`] if it does not have the length of a machine SID.
pub fn domain_sid(v: &[u8]) -> std::result::Result<Sid, UnusableValue> {
    // S-1-5-21 and three numbers.
    const LEN: usize = 24;
    let at = v.len().saturating_sub(LEN);
    let sid = Sid::parse(v, at).ok().flatten().filter(|sid| sid.len_bytes() == LEN && at > 0);
    sid.filter(|sid| sid.to_string().starts_with("S-1-5-21-"))
        .ok_or_else(|| Structure::Domain.malformed(at, "SID", v.len()))
}

/// Returns the relative identifiers of all accounts and groups of the machine's own domain.
///
/// # Errors
/// Errors of the hive.
pub fn known_rids(sam: &dyn Lookup) -> Result<BTreeSet<u32>> {
    let mut rids = BTreeSet::new();
    for kind in ["Users", "Groups", "Aliases"] {
        rids.extend(rid_keys(sam, &format!(r"{ACCOUNT}\{kind}"))?.into_iter().map(|(rid, _)| rid));
    }
    Ok(rids)
}

/// Returns the subkeys of a key whose names are relative identifiers: eight hex digits.
fn rid_keys<'h>(sam: &'h dyn Lookup, key: &str) -> Result<Vec<(u32, Key<'h>)>> {
    let rid = |key: Key<'h>| {
        let name = key.name().to_string();
        let is_rid = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some((u32::from_str_radix(&name, 16).ok().filter(|_| is_rid)?, key))
    };
    Ok(hive_value::subkeys(sam, SAM, key)?.into_iter().filter_map(rid).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    #[test]
    fn a_domain_ends_with_the_sid_of_a_machine() {
        let sid = Sid::new(5, &[21, 1, 2, u32::MAX]);
        let bytes = [vec![7; 30], sid.to_bytes()].concat();
        assert_eq!(domain_sid(&bytes), Ok(sid));
        let builtin = [vec![7; 30], Sid::new(5, &[32]).to_bytes()].concat();
        for bytes in [&bytes[..bytes.len() - 1], &bytes[..20], &[], &builtin] {
            assert_eq!(domain_sid(bytes).unwrap_err().code(), Some("E-SAM-DOMAIN"));
        }
    }
}
