//! The LSA's own policy: the SID of the machine, the domain it belongs to, and who may ask it for names.
//!
//! Every attribute is the unnamed value of a key below `Policy`.

use super::super::hive_value::{self, SECURITY, StoredValue, ValueWrite};
use super::super::unusable_value::Structure;
use super::super::{Result, UnusableValue};
use super::descriptor::PolicyDescriptor;
use coldforge_base::sid::Sid;
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, read};
use coldforge_regf::{Hive, Lookup};

/// The key whose unnamed value says who may do what with the LSA's policy.
const DESCRIPTOR_KEY: &str = r"Policy\SecDesc";

/// The domain that a machine belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrimaryDomain {
    /// Its name; that of the workgroup on a machine of its own.
    pub name: Option<String>,
    /// Its SID; none on a machine of its own.
    pub sid: Option<Sid>,
}

/// Returns the SID of the machine's accounts, as the LSA has it (`PolAcDmS`); on a domain controller that of the domain.
///
/// # Errors
/// [`UnusableValue::Malformed`] if it is not a SID; errors of the hive.
pub fn machine_sid(security: &dyn Lookup) -> Result<Option<Sid>> {
    attribute(security, r"Policy\PolAcDmS", sid).map(Option::flatten)
}

/// Returns the name of the machine (`PolAcDmN`).
///
/// # Errors
/// [`UnusableValue::Malformed`] if it is not a counted text; errors of the hive.
pub fn machine_name(security: &dyn Lookup) -> Result<Option<String>> {
    attribute(security, r"Policy\PolAcDmN", text).map(Option::flatten)
}

/// Returns the domain that the machine belongs to (`PolPrDmN`, `PolPrDmS`): without a SID it is a workgroup.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn primary_domain(security: &dyn Lookup) -> Result<PrimaryDomain> {
    Ok(PrimaryDomain {
        name: attribute(security, r"Policy\PolPrDmN", text)?.flatten(),
        sid: attribute(security, r"Policy\PolPrDmS", sid)?.flatten(),
    })
}

/// Returns whether anybody may ask which name belongs to a SID, and the cell of the descriptor that says so.
///
/// # Errors
/// [`UnusableValue::Malformed`]; errors of the hive.
pub fn anonymous_names(security: &dyn Lookup) -> Result<(Option<bool>, Option<CellOffset>)> {
    let Some(value) = hive_value::read(security, SECURITY, DESCRIPTOR_KEY, "")? else { return Ok((None, None)) };
    let allows = PolicyDescriptor::decode(&value.data).and_then(|policy| policy.allows_anonymous());
    let allows = allows.map_err(hive_value::unusable(SECURITY, DESCRIPTOR_KEY))?;
    Ok((Some(allows), Some(value.cell)))
}

/// Lets anybody ask which name belongs to a SID, or forbids it.
///
/// # Errors
/// [`UnusableValue::Missing`] and [`UnusableValue::Malformed`]; errors of the hive. Nothing is changed then.
pub fn set_anonymous_names(security: &mut Hive, allow: bool, now: FileTime) -> Result<ValueWrite<bool>> {
    let failed = hive_value::unusable(SECURITY, DESCRIPTOR_KEY);
    let value =
        hive_value::read(security, SECURITY, DESCRIPTOR_KEY, "")?.ok_or_else(|| failed(UnusableValue::Missing))?;
    let mut policy = PolicyDescriptor::decode(&value.data).map_err(&failed)?;
    let before = policy.allows_anonymous().map_err(&failed)?;
    policy.allow_anonymous(allow).map_err(failed)?;
    let edit = hive_value::write(security, SECURITY, (DESCRIPTOR_KEY, ""), (value.kind, policy.encode()), now)?;
    Ok(ValueWrite { before: Some(before), cell: Some(edit.cell), touched: edit.touched })
}

fn attribute<T>(
    security: &dyn Lookup,
    key: &str,
    decode: impl FnOnce(&[u8]) -> std::result::Result<T, UnusableValue>,
) -> Result<Option<T>> {
    let value: Option<StoredValue> = hive_value::read(security, SECURITY, key, "")?;
    value.map(|value| decode(&value.data)).transpose().map_err(hive_value::unusable(SECURITY, key))
}

/// Reads a SID, or nothing where there is no byte.
fn sid(bytes: &[u8]) -> std::result::Result<Option<Sid>, UnusableValue> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let sid = Sid::parse(bytes, 0).ok().flatten().filter(|sid| sid.len_bytes() == bytes.len());
    sid.map(Some).ok_or_else(|| Structure::PolicyText.malformed(0, "SID", bytes.len()))
}

/// Reads a counted text: its length, its room, where it begins (8; 0 in some), UTF-16.
fn text(bytes: &[u8]) -> std::result::Result<Option<String>, UnusableValue> {
    const HEAD_BYTES: usize = 8;
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = |at, field| Structure::PolicyText.malformed(at, field, bytes.len());
    let length = read::u16_le(bytes, 0).map_err(|_| malformed(0, "length"))?;
    let start = read::u32_le(bytes, 4).map_err(|_| malformed(4, "offset"))?;
    if !matches!(start, 0 | 8) {
        return Err(malformed(4, "offset"));
    }
    let text = read::slice(bytes, HEAD_BYTES, length.into()).map_err(|_| malformed(0, "length"))?;
    let units: Vec<u16> = text.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let text = String::from_utf16(&units).ok().filter(|_| length.is_multiple_of(2));
    text.map(|text| Some(text).filter(|text| !text.is_empty())).ok_or_else(|| malformed(HEAD_BYTES, "text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    #[test]
    fn a_counted_text_ends_where_it_says_and_lies_in_its_value() {
        let counted = |length: u16, start: u32, rest: &[u8]| {
            [&length.to_le_bytes()[..], &[9, 0], &start.to_le_bytes(), rest].concat()
        };
        assert_eq!(text(&counted(4, 8, b"P\0C\0\xff\xff")), Ok(Some("PC".to_owned())));
        assert_eq!(text(&counted(0, 0, &[])), Ok(None));
        assert_eq!(text(&[]), Ok(None));
        let wrong =
            [counted(6, 8, b"P\0C\0"), counted(3, 8, b"P\0C\0"), counted(4, 9, b"P\0C\0"), counted(2, 8, &[0, 0xd8])];
        for bytes in wrong.iter().map(Vec::as_slice).chain([&[4, 0][..], &[4, 0, 4, 0, 8, 0, 0]]) {
            assert_eq!(text(bytes).unwrap_err().code(), Some("E-LSA-POLICY"), "{bytes:x?}");
        }
    }

    #[test]
    fn a_sid_fills_its_value() {
        let machine = Sid::new(5, &[21, 1, 2, 3]);
        assert_eq!(sid(&machine.to_bytes()), Ok(Some(machine.clone())));
        assert_eq!(sid(&[]), Ok(None));
        let longer = [machine.to_bytes(), vec![0]].concat();
        let sixteen = [vec![1, 16, 0, 0, 0, 0, 0, 5], vec![0; 64]].concat();
        for bytes in [&longer[..], &longer[..23], &sixteen, &[0]] {
            assert_eq!(sid(bytes).unwrap_err().code(), Some("E-LSA-POLICY"));
        }
    }
}
