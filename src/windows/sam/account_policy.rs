//! The policy on passwords and lockout: the value `F` of `SAM\Domains\Account`.
//!
//! Fields are read and set in the units in which Windows shows them. An interval is a count of 100 ns and need not be a
//! whole number of days or minutes (42 d 22:47:42 is an old default): it reads as Windows shows it, rounded down, with its
//! exact length next to it. Everything else in the value (times, counters, the next relative identifier, the wrapped keys
//! after the fields) is kept. The pairs of fields that Windows ties together are held so: failed logons are forgotten no
//! later than a lockout ends, and a password may be changed before it must.
//!
//! Not here: the policy of the built-in domain, which applies to no account, and password filters.
//!
//! Source: MS-SAMR 2.2.3 (the fields), real hives of Windows 7 to 11 (their places).

use super::super::hive_value::{self, SAM, ValueWrite};
use super::super::setting::AccountPolicyField as Field;
use super::super::unusable_value::Structure;
use super::super::{Error, Result, UnusableValue};
use super::ACCOUNT;
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, read};
use coldforge_regf::{Hive, Lookup};

/// 100 ns in a day and in a minute.
const DAY: u64 = 864_000_000_000;
const MINUTE: u64 = 600_000_000;
/// The stored value of an unlimited interval.
const FOREVER: i64 = i64::MIN;

/// Revisions of the value, each with its length: before Windows 10 1607, and since.
const REVISIONS: [(u32, usize); 2] = [(0x0001_0002, 240), (0x0001_0003, 368)];
/// The offsets of the fields that are not intervals.
const PROPERTIES: usize = 0x4c;
const FORCE_LOGOFF: usize = 0x28;
const COMPLEX: u32 = 0x01;
const LOCKOUT_ADMINISTRATORS: u32 = 0x08;
const CLEARTEXT: u32 = 0x10;

/// How a field is stored.
enum FieldEncoding {
    /// A negative number of 100 ns, counted in this unit; 0 asks for no end where it can be had.
    Interval { at: usize, unit: u64, zero: ZeroMeaning },
    /// A word.
    Word { at: usize },
    /// A bit of the properties.
    Bit(u32),
}

/// What zero and unlimited mean for an interval.
#[derive(Clone, Copy, PartialEq)]
enum ZeroMeaning {
    /// Windows shows 0 for an interval without an end, and takes a stored 0 for one (MS-SAMR 3.1.5.14.4).
    ZeroIsNever,
    /// Windows shows 0 for an interval without an end; a stored 0 is over at once.
    NeverIsZero,
    /// 0 is a length as any other, and an interval without an end is longer than all others.
    Counted,
}

/// A field as it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// The number that Windows shows. An interval that is shorter than a unit reads as 1 where 0 would say that it has no
    /// end.
    pub number: u32,
    /// The stored count of 100 ns, of an interval that is not exactly this number.
    pub ticks: Option<i64>,
}

/// Returns where a field is, and the least and the greatest number that Windows accepts for it.
fn encoding(field: Field) -> (FieldEncoding, u32, u32) {
    match field {
        Field::MaximumPasswordAge => {
            (FieldEncoding::Interval { at: 0x18, unit: DAY, zero: ZeroMeaning::ZeroIsNever }, 0, 999)
        }
        Field::MinimumPasswordAge => {
            (FieldEncoding::Interval { at: 0x20, unit: DAY, zero: ZeroMeaning::Counted }, 0, 998)
        }
        Field::LockoutDuration => {
            (FieldEncoding::Interval { at: 0x30, unit: MINUTE, zero: ZeroMeaning::NeverIsZero }, 0, 99_999)
        }
        Field::LockoutWindow => {
            (FieldEncoding::Interval { at: 0x38, unit: MINUTE, zero: ZeroMeaning::Counted }, 1, 99_999)
        }
        // More than 14 needs a switch in another hive, which the planner checks.
        Field::MinimumPasswordLength => (FieldEncoding::Word { at: 0x50 }, 0, 128),
        Field::PasswordHistory => (FieldEncoding::Word { at: 0x52 }, 0, 24),
        Field::LockoutThreshold => (FieldEncoding::Word { at: 0x54 }, 0, 999),
        Field::PasswordComplexity => (FieldEncoding::Bit(COMPLEX), 0, 1),
        Field::ReversibleEncryption => (FieldEncoding::Bit(CLEARTEXT), 0, 1),
    }
}

/// The password and lockout policy of a machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountPolicy {
    bytes: Vec<u8>,
}

impl AccountPolicy {
    /// Reads the value.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if its revision is unknown or not of this length.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, UnusableValue> {
        let malformed = |at, field| Structure::AccountPolicy.malformed(at, field, bytes.len());
        let revision = read::u32_le(bytes, 0).map_err(|_| malformed(0, "length"))?;
        let known = REVISIONS.iter().find(|(known, _)| *known == revision);
        let (_, length) = known.ok_or_else(|| malformed(0, "revision"))?;
        if *length != bytes.len() {
            return Err(malformed(0, "length"));
        }
        Ok(Self { bytes: bytes.to_vec() })
    }

    /// Returns the value, every byte as it was read but the fields that were set.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a field as Windows shows it.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if an interval is positive, which none that Windows writes is.
    pub fn get(&self, field: Field) -> std::result::Result<Reading, UnusableValue> {
        let exact = |number| Reading { number, ticks: None };
        match encoding(field).0 {
            FieldEncoding::Interval { at, unit, zero } => {
                let ticks = self.ticks(at)?;
                let number = shown(ticks, unit, zero);
                let is_exact = as_stored(number, unit, zero) == ticks;
                Ok(Reading { number, ticks: (!is_exact).then_some(ticks) })
            }
            FieldEncoding::Word { at } => {
                read::u16_le(&self.bytes, at).map(|word| exact(u32::from(word))).map_err(|_| self.malformed(at))
            }
            FieldEncoding::Bit(bit) => Ok(exact(u32::from(self.properties()? & bit != 0))),
        }
    }

    /// Sets a field, whatever the fields are that it is tied to: see [`AccountPolicy::contradiction`].
    ///
    /// # Errors
    /// [`UnusableValue::Range`] if Windows would not accept the number.
    pub fn set(&mut self, field: Field, to: u32) -> std::result::Result<(), UnusableValue> {
        let (encoding, least, most) = encoding(field);
        if !(least..=most).contains(&to) {
            return Err(UnusableValue::Range { least, most, actual: to });
        }
        let (at, done) = match encoding {
            FieldEncoding::Interval { at, unit, zero } => {
                (at, read::put(&mut self.bytes, at, &as_stored(to, unit, zero).to_le_bytes()))
            }
            FieldEncoding::Word { at } => {
                (at, read::put_u16_le(&mut self.bytes, at, u16::try_from(to).unwrap_or(u16::MAX)))
            }
            FieldEncoding::Bit(bit) => {
                let others = self.properties()? & !bit;
                let all = if to == 1 { others | bit } else { others };
                (PROPERTIES, read::put_u32_le(&mut self.bytes, PROPERTIES, all))
            }
        };
        done.map_err(|_| self.malformed(at))
    }

    /// Returns how a field contradicts the one that it is tied to, if it does.
    ///
    /// # Errors
    /// As [`AccountPolicy::get`].
    pub fn contradiction(&self, field: Field) -> std::result::Result<Option<UnusableValue>, UnusableValue> {
        let tied = |shorter: Field, longer: Field| -> std::result::Result<_, UnusableValue> {
            let lengths = (self.length(shorter)?, self.length(longer)?);
            Ok((lengths, self.get(shorter)?.number, self.get(longer)?.number))
        };
        Ok(match field {
            Field::LockoutDuration | Field::LockoutWindow => {
                let ((window, duration), actual, limit) = tied(Field::LockoutWindow, Field::LockoutDuration)?;
                (window > duration).then_some(UnusableValue::Contradiction {
                    field: "the lockout window",
                    actual,
                    relation: "at most",
                    other: "the lockout duration",
                    limit,
                })
            }
            Field::MaximumPasswordAge | Field::MinimumPasswordAge => {
                let ((least, most), actual, limit) = tied(Field::MinimumPasswordAge, Field::MaximumPasswordAge)?;
                (most != u64::MAX && least >= most).then_some(UnusableValue::Contradiction {
                    field: "the minimum password age",
                    actual,
                    relation: "below",
                    other: "the maximum password age",
                    limit,
                })
            }
            _ => None,
        })
    }

    /// Returns whether built-in administrators are locked out as well.
    ///
    /// # Errors
    /// None that a value that was read can meet.
    pub fn locks_administrators(&self) -> std::result::Result<bool, UnusableValue> {
        Ok(self.properties()? & LOCKOUT_ADMINISTRATORS != 0)
    }

    /// Returns whether users are logged off when their logon hours end.
    ///
    /// # Errors
    /// [`UnusableValue::Malformed`] if it is neither at once nor never.
    pub fn forces_logoff(&self) -> std::result::Result<bool, UnusableValue> {
        match read::u64_le(&self.bytes, FORCE_LOGOFF).map(u64::cast_signed) {
            Ok(FOREVER) => Ok(false),
            Ok(0) => Ok(true),
            _ => Err(self.malformed(FORCE_LOGOFF)),
        }
    }

    /// Returns the length of an interval in 100 ns, `u64::MAX` for one without an end.
    fn length(&self, field: Field) -> std::result::Result<u64, UnusableValue> {
        match encoding(field).0 {
            FieldEncoding::Interval { at, zero, .. } => Ok(match self.ticks(at)? {
                FOREVER => u64::MAX,
                0 if zero == ZeroMeaning::ZeroIsNever => u64::MAX,
                ticks => ticks.unsigned_abs(),
            }),
            FieldEncoding::Word { .. } | FieldEncoding::Bit(_) => Err(self.malformed(0)),
        }
    }

    /// Returns the stored count of an interval.
    fn ticks(&self, at: usize) -> std::result::Result<i64, UnusableValue> {
        let ticks = read::u64_le(&self.bytes, at).map(u64::cast_signed).ok();
        ticks.filter(|ticks| *ticks <= 0).ok_or_else(|| self.malformed(at))
    }

    fn properties(&self) -> std::result::Result<u32, UnusableValue> {
        read::u32_le(&self.bytes, PROPERTIES).map_err(|_| self.malformed(PROPERTIES))
    }

    fn malformed(&self, at: usize) -> UnusableValue {
        Structure::AccountPolicy.malformed(at, "number", self.bytes.len())
    }
}

/// Returns the number that Windows shows for a stored interval, at most [`u32::MAX`].
fn shown(ticks: i64, unit: u64, zero: ZeroMeaning) -> u32 {
    match (ticks, zero) {
        (FOREVER, ZeroMeaning::ZeroIsNever | ZeroMeaning::NeverIsZero) | (0, ZeroMeaning::ZeroIsNever) => 0,
        (FOREVER, ZeroMeaning::Counted) => u32::MAX,
        _ => {
            let units = ticks.unsigned_abs().checked_div(unit).unwrap_or_default();
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            if zero == ZeroMeaning::Counted { units } else { units.max(1) }
        }
    }
}

/// Returns the interval that Windows stores for a number.
fn as_stored(number: u32, unit: u64, zero: ZeroMeaning) -> i64 {
    match (number, zero) {
        (0, ZeroMeaning::ZeroIsNever | ZeroMeaning::NeverIsZero) => FOREVER,
        _ => i64::try_from(u64::from(number).saturating_mul(unit)).unwrap_or(i64::MAX).saturating_neg(),
    }
}

/// Reads a field of a SAM hive, and the cell of the policy.
///
/// # Errors
/// Those of [`AccountPolicy::decode`] and [`AccountPolicy::get`]; errors of the hive.
pub fn get(sam: &dyn Lookup, field: Field) -> Result<(Option<Reading>, Option<CellOffset>)> {
    let Some(value) = hive_value::read(sam, SAM, ACCOUNT, "F")? else { return Ok((None, None)) };
    let reading = AccountPolicy::decode(&value.data).and_then(|policy| policy.get(field));
    Ok((Some(reading.map_err(stored_error())?), Some(value.cell)))
}

/// Sets a field of a SAM hive.
///
/// # Errors
/// [`UnusableValue::Missing`], [`UnusableValue::Range`], [`UnusableValue::Contradiction`]; as [`get`]. Nothing is changed then.
pub fn set(sam: &mut Hive, field: Field, to: u32, now: FileTime) -> Result<ValueWrite<Reading>> {
    let refusal = policy(sam).ok().and_then(|(policy, _)| refusals(&policy, &[(field, to)]).pop().flatten());
    match refusal {
        Some(refusal) => Err(stored_error()(refusal)),
        None => write(sam, field, to, now),
    }
}

/// Sets fields of a SAM hive in the order given; answers in that order. Fields that depend on each other are checked
/// when all are set, so that the order does not matter; those that would then contradict each other stay as they are.
pub fn set_all(sam: &mut Hive, fields: &[(Field, u32)], now: FileTime) -> Vec<Result<ValueWrite<Reading>>> {
    let refusals: Vec<Option<UnusableValue>> = match policy(sam) {
        Ok((policy, _)) => refusals(&policy, fields),
        Err(_) => vec![None; fields.len()],
    };
    let run = |((field, to), refusal): (&(Field, u32), Option<UnusableValue>)| match refusal {
        Some(refusal) => Err(stored_error()(refusal)),
        None => write(sam, *field, *to, now),
    };
    fields.iter().zip(refusals).map(run).collect()
}

/// Returns why each field cannot be set together with the others.
fn refusals(policy: &AccountPolicy, fields: &[(Field, u32)]) -> Vec<Option<UnusableValue>> {
    let mut whole = policy.clone();
    let ranges: Vec<Option<UnusableValue>> = fields.iter().map(|(field, to)| whole.set(*field, *to).err()).collect();
    let tied = |field: &Field| whole.contradiction(*field).unwrap_or_else(Some);
    ranges.into_iter().zip(fields).map(|(range, (field, _))| range.or_else(|| tied(field))).collect()
}

/// Sets a field whatever it is tied to.
fn write(sam: &mut Hive, field: Field, to: u32, now: FileTime) -> Result<ValueWrite<Reading>> {
    let failed = stored_error();
    let (mut policy, kind) = policy(sam)?;
    let before = policy.get(field).map_err(&failed)?;
    policy.set(field, to).map_err(failed)?;
    let edit = hive_value::write(sam, SAM, (ACCOUNT, "F"), (kind, policy.encode()), now)?;
    Ok(ValueWrite { before: Some(before), cell: Some(edit.cell), touched: edit.touched })
}

/// Converts the reason why the policy cannot be used.
fn stored_error() -> impl Fn(UnusableValue) -> Error {
    hive_value::unusable(SAM, ACCOUNT)
}

fn policy(sam: &Hive) -> Result<(AccountPolicy, u32)> {
    let failed = stored_error();
    let value = hive_value::read(sam, SAM, ACCOUNT, "F")?.ok_or_else(|| failed(UnusableValue::Missing))?;
    Ok((AccountPolicy::decode(&value.data).map_err(failed)?, value.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    /// Returns a value of this revision whose every other byte tells where it is.
    fn value(revision: u32, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length).map(|at| at as u8 ^ 0x5a).collect();
        bytes[..4].copy_from_slice(&revision.to_le_bytes());
        for (at, ticks) in [
            (0x18, -(42 * DAY as i64)),
            (0x20, -(DAY as i64)),
            (0x28, FOREVER),
            (0x30, -(30 * MINUTE as i64)),
            (0x38, -(30 * MINUTE as i64)),
        ] {
            bytes[at..at + 8].copy_from_slice(&ticks.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn every_number_of_every_field_is_set_alone_and_set_back() {
        for (revision, length) in REVISIONS {
            let original = value(revision, length);
            let policy = AccountPolicy::decode(&original).unwrap();
            for &field in Field::ALL {
                let (encoding, least, most) = encoding(field);
                let (start, width) = match encoding {
                    FieldEncoding::Interval { at, .. } => (at, 8),
                    FieldEncoding::Word { at } => (at, 2),
                    FieldEncoding::Bit(_) => (PROPERTIES, 4),
                };
                let before = policy.get(field).unwrap().number;
                let mut changed = policy.clone();
                for number in least..=most {
                    changed.set(field, number).unwrap();
                    assert_eq!(changed.get(field), Ok(Reading { number, ticks: None }), "{field:?}");
                    for (at, (new, old)) in changed.encode().iter().zip(&original).enumerate() {
                        assert!(new == old || (start..start + width).contains(&at), "{field:?} {number} {at:#x}");
                    }
                }
                for number in [most + 1, u32::MAX].into_iter().chain(least.checked_sub(1)) {
                    assert_eq!(changed.set(field, number).unwrap_err().code(), Some("E-POLICY-RANGE"));
                }
                if (least..=most).contains(&before) {
                    changed.set(field, before).unwrap();
                    assert_eq!(changed, policy, "{field:?}");
                }
            }
        }
    }

    #[test]
    fn the_numbers_are_those_of_windows() {
        let mut policy = AccountPolicy::decode(&value(0x0001_0003, 368)).unwrap();
        assert_eq!(policy.get(Field::MaximumPasswordAge).unwrap().number, 42);
        assert_eq!(policy.get(Field::LockoutWindow).unwrap().number, 30);
        policy.set(Field::MaximumPasswordAge, 90).unwrap();
        assert_eq!(policy.encode()[0x18..0x20], (-77_760_000_000_000i64).to_le_bytes());
        policy.set(Field::MaximumPasswordAge, 0).unwrap();
        assert_eq!(policy.encode()[0x18..0x20], [0, 0, 0, 0, 0, 0, 0, 0x80]);
        policy.set(Field::LockoutDuration, 0).unwrap();
        assert_eq!(policy.encode()[0x30..0x38], [0, 0, 0, 0, 0, 0, 0, 0x80]);
        policy.set(Field::MinimumPasswordAge, 0).unwrap();
        assert_eq!(policy.encode()[0x20..0x28], [0; 8]);
        assert_eq!(policy.forces_logoff(), Ok(false));
    }

    #[test]
    fn tied_fields_may_not_contradict_each_other() {
        let contradicts = |fields: &[(Field, u32)]| {
            let policy = AccountPolicy::decode(&value(0x0001_0003, 368)).unwrap();
            refusals(&policy, fields).into_iter().map(|refusal| refusal.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(contradicts(&[(Field::LockoutDuration, 15)]), [true]);
        assert_eq!(contradicts(&[(Field::LockoutDuration, 0), (Field::LockoutWindow, 99_999)]), [false, false]);
        for fields in [
            [(Field::LockoutDuration, 15), (Field::LockoutWindow, 15)],
            [(Field::LockoutWindow, 60), (Field::LockoutDuration, 60)],
        ] {
            assert_eq!(contradicts(&fields), [false, false]);
        }
        let fields = [(Field::MinimumPasswordAge, 42), (Field::PasswordHistory, 24), (Field::LockoutWindow, 31)];
        assert_eq!(contradicts(&fields), [true, false, true]);
        assert_eq!(contradicts(&[(Field::MinimumPasswordAge, 42), (Field::MaximumPasswordAge, 43)]), [false, false]);
        assert_eq!(contradicts(&[(Field::MinimumPasswordAge, 998), (Field::MaximumPasswordAge, 0)]), [false, false]);
        assert_eq!(contradicts(&[(Field::PasswordHistory, 25)]), [true]);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (revision, length) in REVISIONS {
            let good = value(revision, length);
            for length in 0..good.len() {
                assert_eq!(AccountPolicy::decode(&good[..length]).unwrap_err().code(), Some("E-SAM-POLICY"));
            }
            assert!(AccountPolicy::decode(&[&good[..], &[0]].concat()).is_err());
        }
        assert!(AccountPolicy::decode(&value(0x0001_0002, 368)).is_err(), "the length of another revision");
        assert!(AccountPolicy::decode(&value(0x0001_0004, 368)).is_err(), "an unknown revision");
        for ticks in [1, DAY as i64, i64::MAX] {
            let mut policy = with(0x18, ticks);
            assert_eq!(policy.get(Field::MaximumPasswordAge).unwrap_err().code(), Some("E-SAM-POLICY"), "{ticks}");
            // What is there is not needed to set another.
            policy.set(Field::MaximumPasswordAge, 60).unwrap();
            assert_eq!(policy.get(Field::MaximumPasswordAge), Ok(Reading { number: 60, ticks: None }));
        }
    }

    /// Returns a policy with this count in an interval.
    fn with(at: usize, ticks: i64) -> AccountPolicy {
        let mut bytes = value(0x0001_0003, 368);
        bytes[at..at + 8].copy_from_slice(&ticks.to_le_bytes());
        AccountPolicy::decode(&bytes).unwrap()
    }

    #[test]
    fn an_interval_of_any_length_reads_as_windows_shows_it() {
        let (day, minute) = (DAY as i64, MINUTE as i64);
        let inexact = |number, ticks| Ok(Reading { number, ticks: Some(ticks) });
        let exact = |number| Ok(Reading { number, ticks: None });
        for (field, at, ticks, expected) in [
            // 42 d 22:47:42.256, the default of old domains.
            (Field::MaximumPasswordAge, 0x18, -37_108_517_437_440, inexact(42, -37_108_517_437_440)),
            (Field::MaximumPasswordAge, 0x18, -1, inexact(1, -1)),
            (Field::MaximumPasswordAge, 0x18, -60 * day - 1, inexact(60, -60 * day - 1)),
            (Field::MaximumPasswordAge, 0x18, 0, inexact(0, 0)),
            (Field::MaximumPasswordAge, 0x18, FOREVER, exact(0)),
            (Field::MaximumPasswordAge, 0x18, FOREVER + 1, inexact(10_675_199, FOREVER + 1)),
            (Field::MinimumPasswordAge, 0x20, 1 - day, inexact(0, 1 - day)),
            (Field::MinimumPasswordAge, 0x20, 0, exact(0)),
            (Field::MinimumPasswordAge, 0x20, FOREVER, inexact(u32::MAX, FOREVER)),
            // A lockout of half a minute is no lockout without an end.
            (Field::LockoutDuration, 0x30, -minute / 2, inexact(1, -minute / 2)),
            (Field::LockoutDuration, 0x30, -3 * minute / 2, inexact(1, -3 * minute / 2)),
            (Field::LockoutDuration, 0x30, 0, inexact(1, 0)),
            (Field::LockoutWindow, 0x38, -900_000_001, inexact(1, -900_000_001)),
        ] {
            let mut policy = with(at, ticks);
            assert_eq!(policy.get(field), expected, "{field:?} {ticks}");
            policy.set(field, 15).unwrap();
            assert_eq!(policy.get(field), exact(15));
        }
    }

    #[test]
    fn tied_fields_are_compared_by_their_exact_length() {
        let minute = MINUTE as i64;
        let mut policy = with(0x38, -30 * minute - 1);
        assert!(policy.contradiction(Field::LockoutWindow).unwrap().is_some(), "longer than 30 minutes");
        policy.set(Field::LockoutDuration, 0).unwrap();
        assert_eq!(policy.contradiction(Field::LockoutWindow), Ok(None), "nothing is longer than for ever");
        assert_eq!(with(0x18, 0).contradiction(Field::MinimumPasswordAge), Ok(None));
        assert!(with(0x18, -1).contradiction(Field::MinimumPasswordAge).unwrap().is_some());
    }
}
