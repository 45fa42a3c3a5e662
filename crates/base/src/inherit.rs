//! The descriptor that something new gets from what holds it (MS-DTYP 2.5.3.4, for a creator that gives none).
//!
//! Entries of plain kinds (allowed, denied) are inherited; a parent with others that would be inherited (objects,
//! conditions, resources) is refused, since their rules are others. Audit entries and labels are not inherited.

use super::descriptor::{Descriptor, Entry, List, Malformed};
use super::sid::Sid;

const OBJECT_INHERIT: u8 = 0x01;
const CONTAINER_INHERIT: u8 = 0x02;
const NO_PROPAGATE: u8 = 0x04;
const INHERIT_ONLY: u8 = 0x08;
const INHERITED: u8 = 0x10;

const SELF_RELATIVE: u16 = 0x8000;
const DACL_PRESENT: u16 = 0x0004;
const DACL_AUTO_INHERITED: u16 = 0x0400;

/// FILE_ALL_ACCESS, and what the other generic rights mean for files (MS-SMB2, winnt.h).
const GENERIC: [(u32, u32); 4] =
    [(0x1000_0000, 0x001f_01ff), (0x8000_0000, 0x0012_0089), (0x4000_0000, 0x0012_0116), (0x2000_0000, 0x0012_00a0)];

/// An entry that is made: flags, rights, kind, and whom it is about.
struct Made {
    kind: u8,
    flags: u8,
    mask: u32,
    sid: Sid,
}

/// Returns the self-relative descriptor of a new file, or folder, in a folder with the descriptor `parent`: owned by
/// Administrators, with SYSTEM as its group, and with what the folder passes on; where it passes nothing on, full
/// control for SYSTEM and Administrators. `None` if it passes on what is not handled here.
///
/// # Errors
/// [`Malformed`] if the parent's descriptor is.
pub fn inherited(parent: &[u8], is_folder: bool) -> Result<Option<Vec<u8>>, Malformed> {
    let parent = Descriptor::parse(parent)?;
    let (system, administrators) = (Sid::new(5, &[18]), Sid::new(5, &[32, 544]));
    let (creator, creators_group) = (Sid::new(3, &[0]), Sid::new(3, &[1]));
    let mut made = Vec::new();
    let entries = match &parent.dacl {
        List::Entries(entries) => entries.as_slice(),
        List::Absent | List::Null => &[],
    };
    for Entry { kind, flags, mask, sid, .. } in entries {
        let inherits = flags & (OBJECT_INHERIT | CONTAINER_INHERIT) != 0;
        if inherits && *kind > 1 {
            return Ok(None);
        }
        let concerned = flags & if is_folder { CONTAINER_INHERIT } else { OBJECT_INHERIT } != 0;
        let effective = match sid {
            sid if *sid == creator => administrators.clone(),
            sid if *sid == creators_group => system.clone(),
            sid => sid.clone(),
        };
        let is_same = effective == *sid && meant(*mask) == *mask;
        let passed_on = is_folder && flags & NO_PROPAGATE == 0;
        let further = flags & (OBJECT_INHERIT | CONTAINER_INHERIT);
        if concerned {
            // One entry does for both where nothing was replaced in it.
            let own = if passed_on && is_same { further } else { 0 };
            made.push(Made { kind: *kind, flags: own | INHERITED, mask: meant(*mask), sid: effective });
        }
        if inherits && passed_on && !(concerned && is_same) {
            made.push(Made { kind: *kind, flags: further | INHERIT_ONLY | INHERITED, mask: *mask, sid: sid.clone() });
        }
    }
    // Windows is not known to add anything to a list that holds nothing for the folder itself.
    if !made.is_empty() && made.iter().all(|entry| entry.flags & INHERIT_ONLY != 0) {
        return Ok(None);
    }
    let mut control = SELF_RELATIVE | DACL_PRESENT | DACL_AUTO_INHERITED;
    if made.is_empty() {
        control &= !DACL_AUTO_INHERITED;
        made = [&system, &administrators]
            .map(|sid| Made { kind: 0, flags: 0, mask: meant(0x1000_0000), sid: sid.clone() })
            .into();
    }
    Ok(Some(assemble(control, &administrators, &system, &made)))
}

/// Returns rights with what the generic ones among them mean for files.
fn meant(mask: u32) -> u32 {
    let plain = mask & 0x0fff_ffff;
    GENERIC.iter().filter(|(generic, _)| mask & generic != 0).fold(plain, |mask, (_, rights)| mask | rights)
}

/// Lays a descriptor out as Windows does: head, DACL, owner, group.
fn assemble(control: u16, owner: &Sid, group: &Sid, entries: &[Made]) -> Vec<u8> {
    let mut list = Vec::new();
    for entry in entries {
        let sid = entry.sid.to_bytes();
        list.extend_from_slice(&[entry.kind, entry.flags]);
        list.extend_from_slice(&length(8 + sid.len()));
        list.extend_from_slice(&entry.mask.to_le_bytes());
        list.extend_from_slice(&sid);
    }
    let mut dacl = vec![2, 0];
    dacl.extend_from_slice(&length(8 + list.len()));
    dacl.extend_from_slice(&length(entries.len()));
    dacl.extend_from_slice(&[0, 0]);
    dacl.extend(list);
    let (owner, group) = (owner.to_bytes(), group.to_bytes());
    let owner_at = 20 + dacl.len();
    let mut descriptor = vec![1, 0];
    descriptor.extend_from_slice(&control.to_le_bytes());
    for at in [owner_at, owner_at + owner.len(), 0, 20] {
        descriptor.extend_from_slice(&u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
    }
    descriptor.extend([dacl, owner, group].concat());
    descriptor
}

/// Returns a 16-bit length; a list that is inherited is at most twice as long as its parent's, which had one.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(flags: u8, mask: u32, sid: Sid) -> Made {
        Made { kind: 0, flags, mask, sid }
    }

    fn sddl(entries: &[Made], is_folder: bool) -> String {
        let system = Sid::new(5, &[18]);
        let parent = assemble(SELF_RELATIVE | DACL_PRESENT, &system, &system, entries);
        let made = inherited(&parent, is_folder).unwrap().unwrap();
        Descriptor::parse(&made).unwrap().to_string()
    }

    #[test]
    fn files_and_folders_get_what_their_folder_passes_on() {
        let (system, users) = (Sid::new(5, &[18]), Sid::new(5, &[32, 545]));
        let creator = Sid::new(3, &[0]);
        let parent = || {
            vec![
                entry(OBJECT_INHERIT | CONTAINER_INHERIT, 0x001f_01ff, system.clone()),
                entry(OBJECT_INHERIT, 0x0012_0089, users.clone()),
                entry(OBJECT_INHERIT | CONTAINER_INHERIT | INHERIT_ONLY, 0x1000_0000, creator.clone()),
                entry(0, 0x001f_01ff, users.clone()),
                entry(CONTAINER_INHERIT | NO_PROPAGATE, 0x0012_00a9, users.clone()),
            ]
        };
        assert_eq!(sddl(&parent(), false), "O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;FR;;;BU)(A;ID;FA;;;BA)");
        assert_eq!(
            sddl(&parent(), true),
            "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OIIOID;FR;;;BU)(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)(A;ID;0x1200a9;;;BU)"
        );
    }

    #[test]
    fn a_folder_that_passes_nothing_on_leaves_it_to_the_machine_and_its_administrators() {
        let users = Sid::new(5, &[32, 545]);
        assert_eq!(sddl(&[entry(0, 1, users.clone())], false), "O:BAG:SYD:(A;;FA;;;SY)(A;;FA;;;BA)");
        assert_eq!(sddl(&[], true), "O:BAG:SYD:(A;;FA;;;SY)(A;;FA;;;BA)");
        let files_only = assemble(0x8004, &users, &users, &[entry(OBJECT_INHERIT, 1, users.clone())]);
        assert_eq!(inherited(&files_only, true).ok(), Some(None), "nothing for the folder itself");
        let odd = assemble(0x8004, &users, &users, &[Made { kind: 9, flags: 3, mask: 1, sid: users.clone() }]);
        assert_eq!(inherited(&odd, true).ok(), Some(None));
    }
}
