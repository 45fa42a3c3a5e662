//! Paths of a component as paths of the Windows volume: one drive, no way out of it, and nothing that belongs to Windows
//! itself.

/// Names of devices, whatever their extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Where nothing is written, and nothing below: what Windows is started from, and what this program writes in its own
/// ways.
const CLOSED: [&str; 7] = [
    r"WINDOWS\SYSTEM32\CONFIG",
    r"WINDOWS\SYSTEM32\GROUPPOLICY",
    r"SYSTEM VOLUME INFORMATION",
    r"BOOT",
    r"EFI",
    r"WINDOWS\BOOT",
    r"WINDOWS\SETUP\SCRIPTS\COLDFORGE",
];

/// Files that are not written in any folder, by the beginnings of their names.
const CLOSED_NAMES: [&str; 6] =
    ["NTUSER.DAT", "USRCLASS.DAT", "BOOTMGR", "PAGEFILE.SYS", "HIBERFIL.SYS", "SWAPFILE.SYS"];

/// Returns a path on the Windows volume, without a separator in front; `Err` says what is wrong with it. A path without a
/// drive is taken from the root, which is where components work.
///
/// `drive` is the letter of the Windows volume.
pub(super) fn on_volume(path: &str, drive: char) -> Result<String, &'static str> {
    let path = path.replace('/', r"\");
    if path.starts_with(r"\\") {
        return Err("is a path of the network or of a device");
    }
    let mut rest = path.as_str();
    let mut chars = path.chars();
    if let (Some(letter), Some(':')) = (chars.next(), chars.next()) {
        if !letter.eq_ignore_ascii_case(&drive) {
            return Err("is on another drive than Windows");
        }
        rest = chars.as_str();
        if !rest.starts_with('\\') {
            return Err("is relative to a drive");
        }
    }
    let mut names = Vec::new();
    for name in rest.split('\\').filter(|name| !name.is_empty()) {
        check(name)?;
        names.push(name);
    }
    match names.is_empty() {
        true => Err("is the root of the volume"),
        false => Ok(names.join(r"\")),
    }
}

/// Returns a path on the Windows volume where the letter of that volume is not known yet: whatever drive it names is taken for
/// it.
pub(super) fn on_some_volume(path: &str) -> Result<String, &'static str> {
    let letter = path.chars().next().filter(char::is_ascii_alphabetic).unwrap_or('C');
    on_volume(path, letter)
}

/// Returns whether a path of the volume may be written.
pub(super) fn is_open(path: &str) -> bool {
    let path = path.to_uppercase();
    let is_below =
        |closed: &str| path.strip_prefix(closed).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'));
    let name = path.rsplit('\\').next().unwrap_or_default();
    // The root's own files that begin so are the file system's.
    !(CLOSED.iter().any(|closed| is_below(closed))
        || CLOSED_NAMES.iter().any(|closed| name.starts_with(*closed))
        || path.starts_with('$')
        || matches!(path.as_str(), "WINDOWS" | r"WINDOWS\SYSTEM32"))
}

/// Checks one name.
fn check(name: &str) -> Result<(), &'static str> {
    if name == ".." || name == "." {
        return Err("goes up or stays in its folder with dots");
    }
    if name.contains(':') {
        return Err("names an alternate stream");
    }
    if name.contains('*') || name.contains('?') {
        return Err("has a wildcard: name each file");
    }
    if name.chars().any(|c| c.is_control() || "\"<>|".contains(c)) {
        return Err("holds a character that Windows does not allow");
    }
    if name.ends_with([' ', '.']) {
        return Err("has a name that ends in a space or a dot");
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let is_port = |head: &str| {
        stem.strip_prefix(head)
            .is_some_and(|rest| rest.chars().count() == 1 && rest.chars().all(|c| "123456789¹²³".contains(c)))
    };
    if DEVICES.contains(&stem.as_str()) || is_port("COM") || is_port("LPT") {
        return Err("has the name of a device");
    }
    // A short (8.3) name is an alias of another name, which is not known here.
    if name.split('~').skip(1).any(|tail| tail.starts_with(|c: char| c.is_ascii_digit())) {
        return Err("has a short name: write it out");
    }
    // These names compare differently on the volume.
    if name.chars().any(|c| c.to_uppercase().count() != 1) {
        return Err("has a letter whose upper case is not one letter");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_windows_volume_is_found_in_each_spelling() {
        for path in [r"C:\Tools\a.txt", "c:/Tools/a.txt", r"\Tools\a.txt", "Tools/a.txt", r"C:\\Tools\a.txt"] {
            assert_eq!(on_volume(path, 'C').as_deref(), Ok(r"Tools\a.txt"), "{path}");
        }
    }

    #[test]
    fn every_way_out_is_refused_by_name() {
        for (path, why) in [
            (r"C:\Tools\..\Windows", "dots"),
            (r"..\x", "dots"),
            (r"D:\x", "another drive"),
            (r"C:x", "relative"),
            (r"\\server\share\x", "network"),
            (r"\\?\C:\x", "device"),
            (r"\\.\PhysicalDrive0", "device"),
            ("//server/x", "network"),
            (r"C:\a.txt:hidden", "stream"),
            (r"C:\a.txt::$DATA", "stream"),
            (r"C:\CON", "name of a device"),
            (r"C:\logs\nul.txt", "name of a device"),
            (r"C:\com1.log", "name of a device"),
            (r"C:\LPT²", "name of a device"),
            (r"C:\a.", "a dot"),
            (r"C:\a \b", "a space"),
            ("C:\\a\tb", "character"),
            (r"C:\a|b", "character"),
            (r"C:\*.log", "wildcard"),
            (r"C:\PROGRA~1\x", "short name"),
            (r"C:\A~BCDE~1.TXT", "short name"),
            (r"C:\", "root"),
            ("", "root"),
            ("C:\\stra\u{df}e", "upper case"),
        ] {
            let said = on_volume(path, 'C').unwrap_err();
            assert!(said.contains(why), "{path}: {said}");
        }
    }

    #[test]
    fn what_windows_starts_from_is_closed() {
        for path in [
            r"Windows\System32\config\SYSTEM",
            r"windows\system32\CONFIG\new.txt",
            r"Windows\System32\GroupPolicy\gpt.ini",
            r"Users\Default\NTUSER.DAT.LOG1",
            "bootmgr",
            "$MFT",
            r"$Extend\x",
            r"Boot\BCD",
            "Windows",
        ] {
            assert!(!is_open(path), "{path}");
        }
        for path in [r"Windows\Setup\Scripts\x.cmd", r"Windows\System32\drivers\etc\hosts", r"Boots\x", r"Tools\a"] {
            assert!(is_open(path), "{path}");
        }
    }
}
