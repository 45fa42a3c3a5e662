//! Who holds which right: the keys below `Policy\Accounts`, one for each user or group that holds any.
//!
//! A key is named by its SID, and marked as an account by the type of its unnamed value. Its attributes are the unnamed
//! values of its subkeys: `Sid` and `SecDesc` always, `Privilgs` (a set of privileges) and `ActSysAc` (logon rights, bit
//! by bit) where there are any. Revoking a right removes its bit or its entry; the key stays, with everything else
//! in it. Which rights there are is the same in every Windows since Vista; bits and numbers beyond are kept.
//!
//! Source: MS-LSAD 3.1.1.2 (rights), real hives of Windows XP to 10 (keys, the one descriptor that all accounts have).

use std::collections::BTreeSet;

use super::super::hive_value::{self, SECURITY, TouchedRanges, ValueWrite};
use super::super::unusable_value::Structure;
use super::super::{Result, UnusableValue, sam};
use super::privilege_set::PrivilegeSet;
use super::right::{RIGHTS, Right, RightEncoding};
use coldforge_base::read;
use coldforge_base::sid::Sid;
use coldforge_base::time::FileTime;
use coldforge_regf::{Hive, Key, Lookup};

/// The key above those of all accounts.
const ACCOUNTS: &str = r"Policy\Accounts";
/// The type of the unnamed value that marks a key as an account.
const ACCOUNT_OBJECT: u32 = 3;
/// The type of every attribute (REG_NONE).
const ATTRIBUTE: u32 = 0;
/// The attributes' keys.
const PRIVILEGES: &str = "Privilgs";
const SYSTEM_ACCESS: &str = "ActSysAc";

/// A user or group that holds rights.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Who it is.
    pub sid: Sid,
    /// Its privileges.
    pub privileges: PrivilegeSet,
    /// Its logon rights, bit by bit.
    pub logon: u32,
}

impl Account {
    /// Returns whether it holds a right.
    pub fn holds(&self, right: Right) -> bool {
        match right.encoding {
            RightEncoding::Privilege(luid) => self.privileges.contains(luid.into()),
            RightEncoding::Logon(bit) => self.logon & bit != 0,
        }
    }

    /// Returns the rights that it holds and that are known here.
    pub fn rights(&self) -> impl Iterator<Item = Right> {
        RIGHTS.iter().copied().filter(|right| self.holds(*right))
    }
}

/// Reads all accounts of a SECURITY hive that hold or held a right.
///
/// # Errors
/// [`UnusableValue::Missing`] if the hive is not a SECURITY hive; [`UnusableValue::Malformed`] if one of them is not as Windows
/// writes it: who holds a right is known only if all are; errors of the hive.
pub fn accounts(security: &dyn Lookup) -> Result<Vec<Account>> {
    if security.key(ACCOUNTS).map_err(hive_value::broken(SECURITY))?.is_none() {
        return Err(hive_value::unusable(SECURITY, ACCOUNTS)(UnusableValue::Missing));
    }
    hive_value::subkeys(security, SECURITY, ACCOUNTS)?.iter().map(account).collect()
}

/// Returns who holds a right.
///
/// # Errors
/// [`UnusableValue::NoRight`] if there is no such right; as [`accounts`].
pub fn holders(security: &dyn Lookup, right: &str) -> Result<BTreeSet<Sid>> {
    let right = known(right)?;
    Ok(accounts(security)?.into_iter().filter(|account| account.holds(right)).map(|account| account.sid).collect())
}

/// A change of the holders of a right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RightChange {
    /// Revokes the right from this user or group.
    Revoke(Sid),
    /// Grants the right to this user or group.
    Grant(Sid),
}

/// Returns the steps from some holders of a right to others: first who loses it, then who gets it.
pub fn steps(from: &BTreeSet<Sid>, to: &BTreeSet<Sid>) -> Vec<RightChange> {
    let revoked = from.difference(to).cloned().map(RightChange::Revoke);
    revoked.chain(to.difference(from).cloned().map(RightChange::Grant)).collect()
}

/// Gives a right to exactly these users and groups, and takes it from all others.
///
/// # Errors
/// As [`holders`]; errors of the hive. Nothing is changed then.
pub fn set_holders(
    security: &mut Hive,
    right: &str,
    to: &BTreeSet<Sid>,
    now: FileTime,
) -> Result<ValueWrite<BTreeSet<Sid>>> {
    let before = holders(security, right)?;
    let right = known(right)?;
    let touched = hive_value::as_one(security, |hive| {
        let mut touched = TouchedRanges::default();
        for step in steps(&before, to) {
            take(hive, right, &step, now, &mut touched)?;
        }
        Ok(touched)
    })?;
    Ok(ValueWrite { before: Some(before), cell: None, touched: touched.extents() })
}

/// Gives a right to a user or group; tells whether it held it.
///
/// # Errors
/// As [`set_holders`].
pub fn grant(security: &mut Hive, right: &str, sid: &Sid, now: FileTime) -> Result<ValueWrite<bool>> {
    change(security, right, sid, now, RightChange::Grant)
}

/// Takes a right from a user or group; tells whether it held it.
///
/// # Errors
/// As [`set_holders`].
pub fn revoke(security: &mut Hive, right: &str, sid: &Sid, now: FileTime) -> Result<ValueWrite<bool>> {
    change(security, right, sid, now, RightChange::Revoke)
}

/// Returns the SIDs that hold or held rights and begin like those of the machine, but belong to no account or group of
/// the SAM hive: leftovers of what was deleted.
///
/// # Errors
/// Those of [`accounts`] and of the SAM's readers.
pub fn orphans(security: &dyn Lookup, sam: &dyn Lookup) -> Result<BTreeSet<Sid>> {
    let machine = format!("{}-", sam::machine_sid(sam)?);
    let known: BTreeSet<u32> = sam::known_rids(sam)?;
    let is_orphan = |sid: &Sid| {
        let text = sid.to_string();
        let rid = text.strip_prefix(&machine).and_then(|rest| rest.parse::<u32>().ok());
        rid.is_some_and(|rid| !known.contains(&rid))
    };
    Ok(accounts(security)?.into_iter().map(|account| account.sid).filter(is_orphan).collect())
}

fn known(right: &str) -> Result<Right> {
    let missing = || hive_value::unusable(SECURITY, ACCOUNTS)(UnusableValue::NoRight { name: right.to_owned() });
    Right::named(right).ok_or_else(missing)
}

fn change(
    security: &mut Hive,
    right: &str,
    sid: &Sid,
    now: FileTime,
    step: impl FnOnce(Sid) -> RightChange,
) -> Result<ValueWrite<bool>> {
    let held = holders(security, right)?.contains(sid);
    let right = known(right)?;
    let step = step(sid.clone());
    let touched = hive_value::as_one(security, |hive| {
        let mut touched = TouchedRanges::default();
        if matches!(step, RightChange::Grant(_)) != held {
            take(hive, right, &step, now, &mut touched)?;
        }
        Ok(touched)
    })?;
    Ok(ValueWrite { before: Some(held), cell: None, touched: touched.extents() })
}

/// Takes a step; the caller has seen that it is one.
fn take(hive: &mut Hive, right: Right, step: &RightChange, now: FileTime, touched: &mut TouchedRanges) -> Result<()> {
    let (RightChange::Grant(sid) | RightChange::Revoke(sid)) = step;
    let grants = matches!(step, RightChange::Grant(_));
    let path = format!(r"{ACCOUNTS}\{sid}");
    let found = hive.key(&path).map_err(hive_value::broken(SECURITY))?.map(|key| account(&key)).transpose()?;
    let found = match found {
        Some(found) => found,
        None => {
            create(hive, sid, &path, now, touched)?;
            Account { sid: sid.clone(), privileges: PrivilegeSet::default(), logon: 0 }
        }
    };
    match right.encoding {
        RightEncoding::Logon(bit) => {
            let logon = if grants { found.logon | bit } else { found.logon & !bit };
            put(hive, &path, SYSTEM_ACCESS, &logon.to_le_bytes(), now, touched)
        }
        RightEncoding::Privilege(luid) => {
            let mut privileges = found.privileges;
            if grants {
                privileges.insert(luid.into());
            } else {
                privileges.remove(luid.into());
            }
            if !privileges.is_empty() {
                let set = privileges.encode().map_err(hive_value::unusable(SECURITY, &path))?;
                return put(hive, &path, PRIVILEGES, &set, now, touched);
            }
            // Windows never leaves an empty set.
            let key = format!(r"{path}\{PRIVILEGES}");
            touched.add(hive.delete_key(&key, now).map_err(hive_value::broken(SECURITY))?);
            Ok(())
        }
    }
}

/// Makes the key of an account that holds no right yet.
fn create(hive: &mut Hive, sid: &Sid, path: &str, now: FileTime, touched: &mut TouchedRanges) -> Result<()> {
    touched.add(Some(hive_value::write(hive, SECURITY, (path, ""), (ACCOUNT_OBJECT, &[]), now)?));
    put(hive, path, "SecDesc", &DESCRIPTOR, now, touched)?;
    put(hive, path, "Sid", &sid.to_bytes(), now, touched)
}

/// Sets an attribute of an account.
fn put(hive: &mut Hive, path: &str, name: &str, data: &[u8], now: FileTime, touched: &mut TouchedRanges) -> Result<()> {
    let key = format!(r"{path}\{name}");
    touched.add(Some(hive_value::write(hive, SECURITY, (&key, ""), (ATTRIBUTE, data), now)?));
    Ok(())
}

/// Reads the account at a key.
fn account(key: &Key<'_>) -> Result<Account> {
    let name = key.name().to_string();
    let path = format!(r"{ACCOUNTS}\{name}");
    let malformed =
        |what: Structure, field, length| hive_value::unusable(SECURITY, &path)(what.malformed(0, field, length));
    let own = hive_value::value_of(key, SECURITY, "")?;
    if !own.is_some_and(|own| own.kind == ACCOUNT_OBJECT && own.data.is_empty()) {
        return Err(malformed(Structure::LsaAccount, "object type", 0));
    }
    let raw = attribute(key, "Sid")?.unwrap_or_default();
    let sid = Sid::parse(&raw, 0).ok().flatten().filter(|sid| sid.to_bytes() == raw && sid.to_string() == name);
    let sid = sid.ok_or_else(|| malformed(Structure::LsaAccount, "SID", raw.len()))?;
    let privileges = match attribute(key, PRIVILEGES)? {
        Some(raw) => PrivilegeSet::decode(&raw).map_err(hive_value::unusable(SECURITY, &path))?,
        None => PrivilegeSet::default(),
    };
    let logon = match attribute(key, SYSTEM_ACCESS)? {
        Some(raw) if raw.len() == 4 => read::u32_le(&raw, 0).unwrap_or_default(),
        Some(raw) => return Err(malformed(Structure::SystemAccess, "length", raw.len())),
        None => 0,
    };
    Ok(Account { sid, privileges, logon })
}

/// Reads an attribute: the unnamed value that is all that its key holds.
fn attribute(key: &Key<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    let broken = hive_value::broken(SECURITY);
    let Some(child) = key.subkey(name).map_err(&broken)? else { return Ok(None) };
    let Some(value) = hive_value::value_of(&child, SECURITY, "")? else { return Ok(None) };
    let is_alone = child.subkey_count() == 0 && child.values().map_err(broken)?.count() == 1;
    if value.kind != ATTRIBUTE || !is_alone {
        let path = format!(r"{ACCOUNTS}\{}\{name}", key.name());
        let malformed = Structure::LsaAccount.malformed(0, "attribute", value.data.len());
        return Err(hive_value::unusable(SECURITY, &path)(malformed));
    }
    Ok(Some(value.data))
}

/// The descriptor that every account has: O:BA G:SY D:(A;;0xf000f;;;BA)(A;;RC;;;WD).
const DESCRIPTOR: [u8; 100] = [
    1, 0, 4, 0x80, 72, 0, 0, 0, 88, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, // head
    2, 0, 52, 0, 2, 0, 0, 0, // list
    0, 0, 24, 0, 0x0f, 0, 0x0f, 0, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, // all of it
    0, 0, 20, 0, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, // reading it
    1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, // owner
    1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, // group
];

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::descriptor::Descriptor;

    #[test]
    fn every_right_has_a_name_and_a_place_of_its_own() {
        let names: BTreeSet<&str> = RIGHTS.iter().map(|right| right.name).collect();
        let places: BTreeSet<RightEncoding> = RIGHTS.iter().map(|right| right.encoding).collect();
        assert_eq!((names.len(), places.len()), (45, 45));
        assert_eq!(Right::named("sedebugprivilege").map(Right::name), Some("SeDebugPrivilege"));
        assert_eq!(Right::named("SeNoSuchPrivilege"), None);
    }

    #[test]
    fn the_descriptor_of_accounts_says_what_it_should() {
        let text = Descriptor::parse(&DESCRIPTOR).unwrap().to_string();
        assert_eq!(text, "O:BAG:SYD:(A;;CCDCLCSWSDRCWDWO;;;BA)(A;;RC;;;WD)");
    }

    #[test]
    fn the_steps_between_two_sets_of_holders_are_those_that_differ() {
        let [a, b, c] = [1, 2, 3].map(|part| Sid::new(5, &[part]));
        let (from, to) = (BTreeSet::from([a.clone(), b.clone()]), BTreeSet::from([b, c.clone()]));
        assert_eq!(steps(&from, &to), [RightChange::Revoke(a), RightChange::Grant(c)]);
        assert_eq!(steps(&to, &to), []);
    }
}
