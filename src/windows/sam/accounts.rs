//! Local accounts: the keys below `SAM\Domains\Account\Users`, each named by its relative identifier.
//!
//! An account is found by that identifier, in every language and under every name: 500 is the built-in administrator,
//! 501 the guest. Its name is in its value `V`, and again as the name of a key below `Names` whose unnamed value has the
//! identifier as its type and no data. Groups, rights and hashes know the identifier alone, so that a new name changes
//! these two places and nothing else.

use super::super::hive_value::{self, SAM, StoredValue, TouchedRanges, ValueWrite};
use super::super::unusable_value::Structure;
use super::super::{Result, UnusableValue};
use super::user_f::{Control, UserF};
use super::user_v::UserV;
use coldforge_base::CellOffset;
use coldforge_base::time::FileTime;
use coldforge_regf::{Hive, Key, Lookup};

/// The key above those of all accounts.
const USERS: &str = r"SAM\Domains\Account\Users";
/// The index of their names.
const NAMES: &str = r"SAM\Domains\Account\Users\Names";
/// Every index of names on a machine: no two accounts or groups may have the same.
const ALL_NAMES: [&str; 6] = [
    NAMES,
    r"SAM\Domains\Account\Groups\Names",
    r"SAM\Domains\Account\Aliases\Names",
    r"SAM\Domains\Builtin\Users\Names",
    r"SAM\Domains\Builtin\Groups\Names",
    r"SAM\Domains\Builtin\Aliases\Names",
];
/// The most characters of an account's name.
const NAME_MAX: usize = 20;

/// A flag of a local account.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Flag {
    /// Whether it can be used.
    Enabled,
    /// Whether it must have a password.
    PasswordRequired,
    /// Whether its password ages.
    PasswordExpires,
}

impl Flag {
    /// Returns the bit that is set where the flag is not.
    fn contrary(self) -> Control {
        match self {
            Self::Enabled => Control::Disabled,
            Self::PasswordRequired => Control::PasswordNotRequired,
            Self::PasswordExpires => Control::PasswordNeverExpires,
        }
    }
}

/// A local account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// What follows the machine's SID in its own.
    pub rid: u32,
    /// Its name.
    pub name: String,
    /// The user's full name.
    pub full_name: String,
    /// The description.
    pub comment: String,
    /// Flags and times.
    pub fixed: UserF,
}

impl Account {
    /// Returns whether a flag holds.
    pub fn is(&self, flag: Flag) -> bool {
        !self.fixed.is(flag.contrary())
    }

    /// Returns the English name that an account of this identifier is made with, if Windows makes it.
    pub fn built_in(&self) -> Option<&'static str> {
        match self.rid {
            500 => Some("Administrator"),
            501 => Some("Guest"),
            503 => Some("DefaultAccount"),
            504 => Some("WDAGUtilityAccount"),
            _ => None,
        }
    }
}

/// Reads all accounts of a SAM hive, by ascending identifier.
///
/// # Errors
/// [`UnusableValue::Missing`] if the hive is not a SAM hive; [`UnusableValue::Malformed`]; errors of the hive.
pub fn accounts(sam: &dyn Lookup) -> Result<Vec<Account>> {
    let keys = super::rid_keys(sam, USERS)?;
    if keys.is_empty() {
        return Err(hive_value::unusable(SAM, USERS)(UnusableValue::Missing));
    }
    let mut accounts = keys.iter().map(|(rid, key)| read(*rid, key)).collect::<Result<Vec<_>>>()?;
    accounts.sort_by_key(|account| account.rid);
    Ok(accounts)
}

/// Reads an account; `None` if there is none.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn account(sam: &dyn Lookup, rid: u32) -> Result<Option<Account>> {
    let key = sam.key(&path(rid)).map_err(hive_value::broken(SAM))?;
    key.map(|key| read(rid, &key)).transpose()
}

/// Reads a flag of an account, and the cell of the value it is in; nothing if there is no such account.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn flag(sam: &dyn Lookup, rid: u32, flag: Flag) -> Result<(Option<bool>, Option<CellOffset>)> {
    match fixed(sam, rid)? {
        Some((user, value)) => Ok((Some(!user.is(flag.contrary())), Some(value.cell))),
        None => Ok((None, None)),
    }
}

/// Sets a flag of an account.
///
/// # Errors
/// [`UnusableValue::NoAccount`], [`UnusableValue::Malformed`]; errors of the hive. Nothing is changed then.
pub fn set_flag(sam: &mut Hive, rid: u32, flag: Flag, to: bool, now: FileTime) -> Result<ValueWrite<bool>> {
    let (mut user, value) = fixed(sam, rid)?.ok_or_else(|| no_account(rid))?;
    let before = !user.is(flag.contrary());
    user.set(flag.contrary(), !to);
    let edit = hive_value::write(sam, SAM, (&path(rid), "F"), (value.kind, user.encode()), now)?;
    Ok(ValueWrite { before: Some(before), cell: Some(edit.cell), touched: edit.touched })
}

/// Reads the name of an account, and the cell of the value it is in; nothing if there is no such account.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn name(sam: &dyn Lookup, rid: u32) -> Result<(Option<String>, Option<CellOffset>)> {
    match variable(sam, rid)? {
        Some((user, value)) => {
            Ok((Some(user.name().map_err(hive_value::unusable(SAM, &path(rid)))?), Some(value.cell)))
        }
        None => Ok((None, None)),
    }
}

/// Returns the bytes of the record of an account's password: 20 and 56 are those of one with a hash, 4 and 24 of one
/// without; 0 if there is no such account.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn password_bytes(sam: &dyn Lookup, rid: u32) -> Result<usize> {
    Ok(variable(sam, rid)?.map_or(0, |(user, _)| user.password_bytes()))
}

/// Gives an account another name.
///
/// # Errors
/// [`UnusableValue::NoAccount`], [`UnusableValue::Name`], [`UnusableValue::NameTaken`]; [`UnusableValue::Malformed`] if the index of names
/// and the account do not agree; errors of the hive. Nothing is changed then.
pub fn rename(sam: &mut Hive, rid: u32, to: &str, now: FileTime) -> Result<ValueWrite<String>> {
    let path = path(rid);
    let failed = hive_value::unusable(SAM, &path);
    check_name(to).map_err(&failed)?;
    fixed(sam, rid)?.ok_or_else(|| no_account(rid))?;
    let (mut user, value) = variable(sam, rid)?.ok_or_else(|| no_account(rid))?;
    let before = user.name().map_err(&failed)?;
    let indexed = indexed_name(sam, rid)?;
    if indexed != before {
        return Err(failed(Structure::NamesIndex.malformed(0, "name", indexed.len())));
    }
    if before == to {
        return Ok(ValueWrite { before: Some(before), cell: Some(value.cell), touched: Vec::new() });
    }
    for index in ALL_NAMES {
        let broken = hive_value::broken(SAM);
        let Some(names) = sam.key(index).map_err(&broken)? else { continue };
        let taken = names.subkey(to).map_err(broken)?;
        if taken.is_some_and(|key| index != NAMES || key.name().to_string() != before) {
            return Err(failed(UnusableValue::NameTaken { name: to.to_owned() }));
        }
    }
    user.set_name(to);
    let content = user.encode().map_err(&failed)?;
    let (cell, touched) = hive_value::as_one(sam, |hive| {
        let mut touched = TouchedRanges::default();
        let deleted = hive.delete_key(&format!(r"{NAMES}\{before}"), now).map_err(hive_value::broken(SAM))?;
        if deleted.is_none() {
            return Err(failed(Structure::NamesIndex.malformed(0, "name", before.len())));
        }
        touched.add(deleted);
        touched.add(Some(hive_value::write(hive, SAM, (&format!(r"{NAMES}\{to}"), ""), (rid, &[]), now)?));
        let edit = hive_value::write(hive, SAM, (&path, "V"), (value.kind, &content), now)?;
        let cell = edit.cell;
        touched.add(Some(edit));
        Ok((cell, touched))
    })?;
    Ok(ValueWrite { before: Some(before), cell: Some(cell), touched: touched.extents() })
}

/// Checks that an account can have a name.
fn check_name(name: &str) -> std::result::Result<(), UnusableValue> {
    const FORBIDDEN: &str = "\"/\\[]:;|=,+*?<>@";
    let forbidden = |character: char| character.is_control() || FORBIDDEN.contains(character);
    let length = name.encode_utf16().count();
    let fits = (1..=NAME_MAX).contains(&length) && !name.contains(forbidden);
    // A blank at an end is lost wherever the name is typed; a final period is what the directory forbids.
    if fits && name.trim() == name && !name.ends_with('.') {
        return Ok(());
    }
    Err(UnusableValue::Name { name: name.to_owned() })
}

/// Returns the one name that the index has for an account.
fn indexed_name(sam: &Hive, rid: u32) -> Result<String> {
    let broken = hive_value::broken(SAM);
    let malformed = |field, length| hive_value::unusable(SAM, NAMES)(Structure::NamesIndex.malformed(0, field, length));
    let mut found = None;
    for key in hive_value::subkeys(sam, SAM, NAMES)? {
        let alone = key.subkey_count() == 0 && key.values().map_err(&broken)?.count() == 1;
        let value = hive_value::value_of(&key, SAM, "")?.filter(|value| alone && value.data.is_empty());
        let value = value.ok_or_else(|| malformed("entry", key.name().len()))?;
        if value.kind == rid && found.replace(key.name().to_string()).is_some() {
            return Err(malformed("second name", key.name().len()));
        }
    }
    found.ok_or_else(|| malformed("missing name", 0))
}

fn path(rid: u32) -> String {
    format!(r"{USERS}\{rid:08X}")
}

fn no_account(rid: u32) -> super::super::Error {
    hive_value::unusable(SAM, USERS)(UnusableValue::NoAccount { rid })
}

fn read(rid: u32, key: &Key<'_>) -> Result<Account> {
    let path = path(rid);
    let failed = hive_value::unusable(SAM, &path);
    let needed = |name: &str| hive_value::value_of(key, SAM, name)?.ok_or_else(|| failed(UnusableValue::Missing));
    let fixed = checked(rid, &needed("F")?.data).map_err(&failed)?;
    let user = UserV::decode(&needed("V")?.data).map_err(&failed)?;
    let texts = (user.name(), user.full_name(), user.comment());
    Ok(Account {
        rid,
        name: texts.0.map_err(&failed)?,
        full_name: texts.1.map_err(&failed)?,
        comment: texts.2.map_err(&failed)?,
        fixed,
    })
}

/// Reads `F`, which must be that of this account.
fn checked(rid: u32, data: &[u8]) -> std::result::Result<UserF, UnusableValue> {
    let user = UserF::decode(data)?;
    if user.rid() == rid { Ok(user) } else { Err(Structure::UserF.malformed(0x30, "identifier", data.len())) }
}

fn fixed(sam: &dyn Lookup, rid: u32) -> Result<Option<(UserF, StoredValue)>> {
    let path = path(rid);
    let Some(value) = hive_value::read(sam, SAM, &path, "F")? else { return Ok(None) };
    let user = checked(rid, &value.data).map_err(hive_value::unusable(SAM, &path))?;
    Ok(Some((user, value)))
}

fn variable(sam: &dyn Lookup, rid: u32) -> Result<Option<(UserV, StoredValue)>> {
    let path = path(rid);
    let Some(value) = hive_value::read(sam, SAM, &path, "V")? else { return Ok(None) };
    let user = UserV::decode(&value.data).map_err(hive_value::unusable(SAM, &path))?;
    Ok(Some((user, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    #[test]
    fn a_name_that_windows_would_not_take_is_refused() {
        for name in ["Administrator", "X_Admin", "Жук", "a.b", "a b", "-", "O'Neil", "12345678901234567890"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let forbidden = "\"/\\[]:;|=,+*?<>@".chars().map(|character| format!("a{character}b"));
        let others = [
            "",
            " ",
            ".",
            "..",
            "a.",
            " a",
            "a ",
            "a\tb",
            "a\0b",
            "123456789012345678901",
            "\u{1F600}234567890123456789",
        ];
        for name in forbidden.chain(others.map(str::to_owned)) {
            let refused = check_name(&name).map_err(|error| error.code());
            let expected = if name.starts_with('\u{1F600}') { Ok(()) } else { Err(Some("E-ACCOUNT-NAME")) };
            assert_eq!(refused, expected, "{name:?}");
        }
        assert!(check_name("\u{1F600}2345678901234567890").is_err(), "a character above U+FFFF counts as two");
    }
}
