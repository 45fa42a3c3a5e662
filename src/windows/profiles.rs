//! The user profiles of a Windows: which hive file holds which user's part of the registry.
//!
//! `ProfileList` of SOFTWARE names each profile's folder by SID; `HKU\.DEFAULT` is the system's own part, and the profile
//! `Default` the one that every new user begins with. Not here: profiles on other volumes, and roaming ones that are not
//! on the machine.

use std::collections::BTreeSet;

use super::setting::Setting;
use super::{Error, Result, hives};
use coldforge_base::sid::Sid;
use coldforge_base::{ReadAt, utf16};
use coldforge_ntfs::Volume;
use coldforge_regf::{self as regf, Lookup};

const LIST: &str = r"Microsoft\Windows NT\CurrentVersion\ProfileList";
const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
/// The keys of the current user, and those of every user.
const CURRENT: &str = "HKCU";
const USERS: &str = "HKU";
/// The root of the keys of the system's own user.
const OF_SYSTEM: &str = r"HKU\.DEFAULT";
/// The default for the drive of Windows.
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
    let mut hives = vec![UserHive { root: OF_SYSTEM.to_owned(), path: r"\Windows\System32\config\DEFAULT".to_owned() }];
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

/// Returns those of a machine's user hives whose files are there, or cannot be looked for; of two that are one file the
/// first.
///
/// # Errors
/// [`Error::Hive`] for what contradicts the format in SOFTWARE.
pub(super) fn present<D: ReadAt>(volume: &Volume<D>, software: &dyn Lookup) -> Result<Vec<UserHive>> {
    let failed = |source| Error::Hive { path: hives::in_config(hives::ROOTS[hives::SOFTWARE].1), source };
    let mut records = BTreeSet::new();
    let mut hives = user_hives(software).map_err(failed)?;
    hives.retain(|hive| match volume.find(&hive.path) {
        Ok(Some(file)) => records.insert(file.reference().record()),
        Ok(None) => false,
        Err(_) => true,
    });
    Ok(hives)
}

/// Returns the concrete settings that one below `HKCU` refers to, one for each user; none if there is no user apart from the
/// system. Any other setting refers to itself.
pub(super) fn places<'u>(users: impl Iterator<Item = &'u UserHive>, setting: &Setting) -> Vec<Setting> {
    let (Setting::Registry { key, .. } | Setting::RegistryAcl { key }) = setting else { return vec![setting.clone()] };
    let Some(below) = hives::below(key, CURRENT) else { return vec![setting.clone()] };
    let roots: Vec<&str> = users.map(|user| user.root.as_str()).collect();
    if roots.iter().all(|root| *root == OF_SYSTEM) {
        return Vec::new();
    }
    let place = |root: &str| {
        let key = format!(r"{root}\{below}");
        match setting {
            Setting::Registry { name, .. } => Setting::Registry { key, name: name.clone() },
            _ => Setting::RegistryAcl { key },
        }
    };
    roots.into_iter().map(place).collect()
}

/// Splits a key below `HKU\<user>` into that root and the path below it; `None` if it is elsewhere.
pub(super) fn split(key: &str) -> Option<(&str, &str)> {
    let user = hives::below(key, USERS)?.split('\\').next().filter(|user| !user.is_empty())?;
    let root = key.get(..USERS.len().checked_add(1)?.checked_add(user.len())?)?;
    Some((root, hives::below(key, root)?))
}

/// Returns a path on the Windows volume; `None` if it is on another one.
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
    fn a_key_of_the_current_user_lies_with_every_user_if_there_is_one() {
        let user = |root: &str| UserHive { root: root.to_owned(), path: String::new() };
        let hives = [user(OF_SYSTEM), user(r"HKU\Default")];
        let setting = Setting::Registry { key: r"hkcu\Software\X".into(), name: "N".into() };
        let said =
            |hives: &[UserHive]| places(hives.iter(), &setting).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said(&hives), [r"HKU\.DEFAULT\Software\X!N", r"HKU\Default\Software\X!N"]);
        assert!(said(&hives[..1]).is_empty(), "nobody but the system");
        let beside = Setting::RegistryAcl { key: r"HKCUX\Software".into() };
        assert_eq!(places(hives.iter(), &beside), [beside]);
        assert_eq!(split(r"hku\S-1-5-21-1\Software\X"), Some((r"hku\S-1-5-21-1", r"Software\X")));
        assert_eq!(split(r"HKU\Default"), Some((r"HKU\Default", "")));
        assert_eq!((split("HKU"), split(r"HKU\"), split(r"HKUX\a\b"), split(r"HKU\\a")), (None, None, None, None));
    }

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
