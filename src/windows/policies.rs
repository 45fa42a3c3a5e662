//! Maps settings that are values of SAM and SECURITY to their readers and writers.

use super::hive_value::{self, ValueWrite};
use super::sam::accounts::{self, Flag};
use super::sam::{account_policy, groups};
use super::security::{audit_policy, lsa, user_rights};
use super::setting::{AccountPolicyField, AccountProperty, SecurityOption, Setting, Value};
use super::{Error, Result, UnusableValue};
use coldforge_base::CellOffset;
use coldforge_base::time::FileTime;
use coldforge_regf::{Hive, Lookup};

/// The hives that hold them, as files of the configuration folder.
pub(super) const HIVES: [&str; 2] = ["SAM", "SECURITY"];

/// Returns the hive that holds a setting, if it is one of these.
pub(super) fn holder(setting: &Setting) -> Option<&'static str> {
    match setting {
        Setting::AccountPolicy { .. } | Setting::Account { rid: Some(_), .. } | Setting::GroupMembers { .. } => {
            Some("SAM")
        }
        Setting::AuditPolicy { .. } | Setting::UserRight { .. } => Some("SECURITY"),
        Setting::SecurityOption { option: SecurityOption::AnonymousNameTranslation } => Some("SECURITY"),
        _ => None,
    }
}

/// Returns the concrete settings that one of every enabled account refers to; the setting itself if the accounts
/// cannot be read, so that asking for it tells why.
pub(super) fn places(sam: Option<&dyn Lookup>, setting: &Setting) -> Vec<Setting> {
    let Setting::Account { rid: None, property } = setting else { return vec![setting.clone()] };
    match sam.map(accounts::accounts) {
        Some(Ok(accounts)) => {
            let enabled = accounts.into_iter().filter(|account| account.is(Flag::Enabled));
            enabled.map(|account| Setting::Account { rid: Some(account.rid), property: *property }).collect()
        }
        _ => vec![setting.clone()],
    }
}

/// Reads a setting from the hive that holds it.
///
/// # Errors
/// Those of its reader; [`Error::UnsupportedSetting`] if it is another setting.
pub(super) fn get(hive: &dyn Lookup, setting: &Setting) -> Result<(Option<Value>, Option<CellOffset>)> {
    Ok(match setting {
        Setting::AuditPolicy { subcategory } => as_value(audit_policy::get(hive, subcategory)?, Value::Audit),
        Setting::AccountPolicy { field } => as_value(account_policy::get(hive, *field)?, number),
        Setting::UserRight { right } => (Some(Value::Sids(user_rights::holders(hive, right)?)), None),
        Setting::Account { rid: Some(rid), property } => match flag(*property) {
            Some(flag) => as_value(accounts::flag(hive, *rid, flag)?, Value::Flag),
            None => as_value(accounts::name(hive, *rid)?, Value::Text),
        },
        Setting::GroupMembers { rid } => as_value(groups::members(hive, *rid)?, Value::Sids),
        Setting::SecurityOption { option: SecurityOption::AnonymousNameTranslation } => {
            as_value(lsa::anonymous_names(hive)?, Value::Flag)
        }
        _ => return Err(Error::UnsupportedSetting { setting: setting.clone() }),
    })
}

/// Sets a setting in the hive that holds it.
///
/// # Errors
/// Those of its writer; [`Error::TypeMismatch`] if the value is of another form; [`UnusableValue::Removal`] without one;
/// [`UnusableValue::ReadOnly`]; [`Error::UnsupportedSetting`] if it is another setting. Nothing is changed then.
pub(super) fn set(hive: &mut Hive, setting: &Setting, to: Option<&Value>, now: FileTime) -> Result<ValueWrite<Value>> {
    let refused = |source| {
        let path = if holder(setting) == Some("SAM") { hive_value::SAM } else { hive_value::SECURITY };
        Error::UnusableValue { path: path.to_owned(), key: setting.to_string(), source }
    };
    let Some(to) = to else { return Err(refused(UnusableValue::Removal)) };
    let written = match (setting, to) {
        (Setting::AuditPolicy { subcategory }, Value::Audit(flags)) => {
            of_value(audit_policy::set(hive, subcategory, *flags, now)?, Value::Audit)
        }
        (Setting::AccountPolicy { field }, Value::Number(to)) => {
            of_value(account_policy::set(hive, *field, *to, now)?, number)
        }
        (Setting::UserRight { right }, Value::Sids(sids)) => {
            of_value(user_rights::set_holders(hive, right, sids, now)?, Value::Sids)
        }
        (Setting::Account { rid: Some(rid), property }, to) => match (flag(*property), to) {
            (Some(flag), Value::Flag(on)) => of_value(accounts::set_flag(hive, *rid, flag, *on, now)?, Value::Flag),
            (None, Value::Text(name)) => of_value(accounts::rename(hive, *rid, name, now)?, Value::Text),
            _ => return Err(Error::TypeMismatch { form: to.form() }),
        },
        (Setting::SecurityOption { option: SecurityOption::AnonymousNameTranslation }, Value::Flag(on)) => {
            of_value(lsa::set_anonymous_names(hive, *on, now)?, Value::Flag)
        }
        (Setting::GroupMembers { .. }, _) => return Err(refused(UnusableValue::ReadOnly)),
        _ if holder(setting).is_some() => return Err(Error::TypeMismatch { form: to.form() }),
        _ => return Err(Error::UnsupportedSetting { setting: setting.clone() }),
    };
    Ok(written)
}

/// Returns the field and the number of a step that sets one of the account policy.
pub(super) fn as_field((setting, to): &(Setting, Option<Value>)) -> Option<(AccountPolicyField, u32)> {
    match (setting, to) {
        (Setting::AccountPolicy { field }, Some(Value::Number(number))) => Some((*field, *number)),
        _ => None,
    }
}

/// Sets fields of the account policy together; answers in the order given.
pub(super) fn set_fields(
    sam: &mut Hive,
    fields: &[(AccountPolicyField, u32)],
    now: FileTime,
) -> Vec<Result<ValueWrite<Value>>> {
    let answers = account_policy::set_all(sam, fields, now).into_iter();
    answers.map(|answer| answer.map(|written| of_value(written, number))).collect()
}

/// Returns the flag that a property of an account is; the name is none.
fn flag(property: AccountProperty) -> Option<Flag> {
    match property {
        AccountProperty::Enabled => Some(Flag::Enabled),
        AccountProperty::PasswordRequired => Some(Flag::PasswordRequired),
        AccountProperty::PasswordExpires => Some(Flag::PasswordExpires),
        AccountProperty::Name => None,
    }
}

/// Returns a field of the account policy as a value.
fn number(reading: account_policy::Reading) -> Value {
    match reading.ticks {
        None => Value::Number(reading.number),
        Some(ticks) => Value::Interval { number: reading.number, ticks },
    }
}

fn as_value<T>(
    (found, cell): (Option<T>, Option<CellOffset>),
    value: impl FnOnce(T) -> Value,
) -> (Option<Value>, Option<CellOffset>) {
    (found.map(value), cell)
}

fn of_value<T>(written: ValueWrite<T>, value: impl FnOnce(T) -> Value) -> ValueWrite<Value> {
    ValueWrite { before: written.before.map(value), cell: written.cell, touched: written.touched }
}
