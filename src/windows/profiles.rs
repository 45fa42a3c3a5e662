//! The users of a Windows, as files: whose part of the registry lies in which hive.
//!
//! `ProfileList` of SOFTWARE names each profile's folder by SID; `HKU\.DEFAULT` is the system's own part, and the profile
//! `Default` the one that every new user begins with. Not here: profiles on other volumes, and roaming ones that are not
//! on the machine.

use crate::base::sid::Sid;
use crate::base::utf16;
use crate::regf::{self, Lookup};

const LIST: &str = r"Microsoft\Windows NT\CurrentVersion\ProfileList";
const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
/// The drive that Windows lies on where it does not tell.
const USUAL_DRIVE: &str = "C:";

/// A part of the registry that belongs to a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserHive {
    /// The root of its keys, such as `HKU\.DEFAULT`.
    pub root: String,
    /// The hive's path on the Windows volume.
    pub path: String,
}

/// Returns the hives of the system's own user, of the profile for new users, and of every user who has one, by their
/// SIDs. Whether the files are there is for the caller to see.
///
/// # Errors
/// What contradicts the format on the way.
pub fn user_hives(software: &dyn Lookup) -> regf::Result<Vec<UserHive>> {
    let root = text(software, VERSION, "SystemRoot")?.unwrap_or_default();
    let drive = root.get(..2).filter(|drive| drive.ends_with(':')).unwrap_or(USUAL_DRIVE).to_owned();
    let mut hives =
        vec![UserHive { root: r"HKU\.DEFAULT".to_owned(), path: r"\Windows\System32\config\DEFAULT".to_owned() }];
    let default = text(software, LIST, "Default")?.unwrap_or_else(|| r"%SystemDrive%\Users\Default".to_owned());
    let mut add = |name: &str, folder: &str| {
        if let Some(folder) = on_volume(folder, &drive) {
            hives.push(UserHive { root: format!(r"HKU\{name}"), path: format!(r"{folder}\NTUSER.DAT") });
        }
    };
    add("Default", &default);
    if let Some(list) = software.key(LIST)? {
        for key in list.subkeys()? {
            let key = key?;
            let name = String::from_utf16_lossy(&key.name().units().collect::<Vec<_>>());
            // A name such as `S-1-5-21-..-1000.bak` is what is left of a profile that failed to load.
            let is_person = name.starts_with("S-1-5-21-") || name.starts_with("S-1-12-1-");
            if !is_person || name.parse::<Sid>().is_err() {
                continue;
            }
            if let Some(folder) = text(software, &format!(r"{LIST}\{name}"), "ProfileImagePath")? {
                add(&name, &folder);
            }
        }
    }
    Ok(hives)
}

/// Returns a path as it stands on the Windows volume; `None` if it lies elsewhere.
fn on_volume(path: &str, drive: &str) -> Option<String> {
    let prefix = |prefix: &str| {
        let head = path.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then(|| path.get(prefix.len()..)).flatten()
    };
    let path = match (prefix("%SystemDrive%"), prefix("%SystemRoot%"), prefix(drive)) {
        (Some(rest), _, _) | (_, _, Some(rest)) => rest.to_owned(),
        (_, Some(rest), _) => format!(r"\Windows{rest}"),
        _ => return None,
    };
    let is_plain = path.starts_with('\\') && !path.contains('%') && !path.split('\\').any(|part| part == "..");
    is_plain.then(|| path.trim_end_matches('\\').to_owned())
}

fn text(hive: &dyn Lookup, key: &str, name: &str) -> regf::Result<Option<String>> {
    let Some(key) = hive.key(key)? else { return Ok(None) };
    key.value(name)?.map(|value| value.data().map(|data| utf16::decode_to_nul(&data))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_looked_for_on_the_windows_volume_only() {
        for (path, expected) in [
            (r"C:\Users\anna", Some(r"\Users\anna")),
            (r"c:\Users\anna\", Some(r"\Users\anna")),
            (r"%SystemDrive%\Users\Default", Some(r"\Users\Default")),
            (r"%systemroot%\ServiceProfiles\x", Some(r"\Windows\ServiceProfiles\x")),
            (r"D:\Users\anna", None),
            (r"\\server\profiles\anna", None),
            (r"C:\Users\..\..\x", None),
            (r"%ProgramData%\x", None),
            ("", None),
        ] {
            assert_eq!(on_volume(path, "C:").as_deref(), expected, "{path}");
        }
    }
}
