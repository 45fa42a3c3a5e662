//! Permissions as settings: the security descriptor of a registry key or a file as text, and a text as the descriptor
//! to write. What a text leaves out (owner, group, a list) stays as it is.

use super::setting::Value;
use super::{Error, Result};
use coldforge_base::descriptor::{Descriptor, List};
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, sddl};
use coldforge_regf::{Edit, Hive, Lookup};

/// The control bits that belong to the list of what is granted (present, protected, inherited automatically), and to
/// that of what is audited.
const OF_DACL: u16 = 0x1504;
const OF_SACL: u16 = 0x2a10;

/// Returns a descriptor as text.
///
/// # Errors
/// [`Error::Descriptor`].
pub(super) fn text(of: &str, descriptor: &[u8]) -> Result<String> {
    let parsed = Descriptor::parse(descriptor);
    parsed.map(|found| found.to_string()).map_err(|source| Error::Descriptor { path: of.to_owned(), source })
}

/// Returns the descriptor that has the parts of a text, and for the others those of `current`.
///
/// # Errors
/// [`Error::Sddl`], [`Error::Descriptor`].
pub(super) fn joined(of: &str, wanted: &str, current: &[u8]) -> Result<Vec<u8>> {
    let broken = |source| Error::Descriptor { path: of.to_owned(), source };
    let wanted = sddl::parse(wanted)?;
    let wanted = Descriptor::parse(&wanted).map_err(broken)?;
    let found = Descriptor::parse(current).map_err(broken)?;
    let mut control = found.control & !(OF_DACL | OF_SACL);
    let mut pick = |bits: u16, list: &List<'_>| {
        let is_told = *list != List::Absent;
        control |= bits & if is_told { wanted.control } else { found.control };
        is_told
    };
    let (has_dacl, has_sacl) = (pick(OF_DACL, &wanted.dacl), pick(OF_SACL, &wanted.sacl));
    let joined = Descriptor {
        control,
        owner: wanted.owner.clone().or_else(|| found.owner.clone()),
        group: wanted.group.clone().or_else(|| found.group.clone()),
        dacl: if has_dacl { wanted.dacl.clone() } else { found.dacl.clone() },
        sacl: if has_sacl { wanted.sacl.clone() } else { found.sacl.clone() },
    };
    if joined == found {
        return Ok(current.to_vec());
    }
    // Every other bit says how what is there came to be, and no text carries it.
    let mut bytes = sddl::parse(&joined.to_string())?;
    let kept = Descriptor::parse(&bytes).map_err(broken)?.control | joined.control & !(OF_DACL | OF_SACL);
    if let Some(word) = bytes.get_mut(2..4) {
        word.copy_from_slice(&kept.to_le_bytes());
    }
    Ok(bytes)
}

/// Reads the permissions of a registry key, and tells the key's cell.
///
/// # Errors
/// [`Error::Hive`], [`Error::Descriptor`].
pub(super) fn read_key(hive: &dyn Lookup, file: &str, key: &str) -> Result<(Option<Value>, Option<CellOffset>)> {
    let failed = |source| Error::Hive { path: file.to_owned(), source };
    let Some(found) = hive.key(key).map_err(failed)? else { return Ok((None, None)) };
    let text = text(key, found.security().map_err(failed)?)?;
    Ok((Some(Value::Sddl(text)), Some(found.cell())))
}

/// Gives a registry key permissions; returns them as they were, and what was edited. Keys below it keep theirs.
///
/// # Errors
/// [`Error::Sddl`], [`Error::Hive`], [`Error::NoKey`] if there is no such key.
pub(super) fn write_key(hive: &mut Hive, file: &str, key: &str, to: &str, now: FileTime) -> Result<(Value, Edit)> {
    let failed = |source| Error::Hive { path: file.to_owned(), source };
    let missing = || Error::NoKey { key: key.to_owned() };
    let current = hive.key(key).map_err(failed)?.ok_or_else(missing)?.security().map_err(failed)?.to_vec();
    let descriptor = joined(key, to, &current)?;
    let edit = hive.growing(|hive| hive.set_security(key, &descriptor, now)).map_err(failed)?;
    Ok((Value::Sddl(text(key, &current)?), edit.ok_or_else(missing)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_leaves_out_stays() {
        let found = sddl::parse("O:BAG:SYD:PAI(A;CI;KA;;;BA)(A;CI;KR;;;BU)S:AI(AU;SAFA;WD;;;WD)").unwrap();
        for (wanted, after) in [
            ("D:(A;;KA;;;SY)", "O:BAG:SYD:(A;;KA;;;SY)S:AI(AU;SAFA;WD;;;WD)"),
            ("O:SY", "O:SYG:SYD:PAI(A;CI;KA;;;BA)(A;CI;KR;;;BU)S:AI(AU;SAFA;WD;;;WD)"),
            ("D:PAI(A;CI;KA;;;BA)(A;CI;KR;;;BU)", "O:BAG:SYD:PAI(A;CI;KA;;;BA)(A;CI;KR;;;BU)S:AI(AU;SAFA;WD;;;WD)"),
            ("", "O:BAG:SYD:PAI(A;CI;KA;;;BA)(A;CI;KR;;;BU)S:AI(AU;SAFA;WD;;;WD)"),
        ] {
            let joined = joined("x", wanted, &found).unwrap();
            assert_eq!(text("x", &joined).unwrap(), after);
            assert_eq!(joined == found, text("x", &found).unwrap() == after, "{wanted}");
        }
        assert!(matches!(joined("x", "D:(", &found), Err(Error::Sddl(_))));
        assert!(matches!(text("x", &[1]), Err(Error::Descriptor { .. })));
    }
}
