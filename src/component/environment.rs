//! The environment variables that a program running as SYSTEM would see, as far as the offline registry defines them.

use super::pending_changes::PendingChanges;

const MACHINE: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";
const VERSION: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion";
const PROFILES: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
/// Variables that Windows makes of values elsewhere.
const MADE: [(&str, &str, &str); 13] = [
    ("systemroot", r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "SystemRoot"),
    ("windir", r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "SystemRoot"),
    ("programfiles", VERSION, "ProgramFilesDir"),
    ("programw6432", VERSION, "ProgramW6432Dir"),
    ("programfiles(x86)", VERSION, "ProgramFilesDir (x86)"),
    ("commonprogramfiles", VERSION, "CommonFilesDir"),
    ("commonprogramw6432", VERSION, "CommonW6432Dir"),
    ("commonprogramfiles(x86)", VERSION, "CommonFilesDir (x86)"),
    ("programdata", PROFILES, "ProgramData"),
    ("allusersprofile", PROFILES, "ProgramData"),
    ("public", PROFILES, "Public"),
    ("computername", r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName", "ComputerName"),
    ("processor_architecture", MACHINE, "PROCESSOR_ARCHITECTURE"),
];
/// One value names another, which names a third: no chain of Windows is longer.
const MAX_TURNS: u32 = 4;

/// Returns the value of a variable with nested variables expanded; `None` if it is unknown.
pub(super) fn variable(name: &str, pending: &PendingChanges<'_>) -> Option<String> {
    found(name, pending, MAX_TURNS)
}

fn found(name: &str, pending: &PendingChanges<'_>, turns: u32) -> Option<String> {
    let folded = name.to_ascii_lowercase();
    if folded == "systemdrive" {
        return Some(format!("{}:", pending.drive()));
    }
    let made = MADE.iter().find(|(known, ..)| *known == folded);
    let text = match made {
        Some((_, key, value)) => pending.registry_text(key, value),
        None => pending.registry_text(MACHINE, name),
    }?;
    unfolded(&text, pending, turns)
}

/// Returns a text with the variables between its percent signs put in.
fn unfolded(text: &str, pending: &PendingChanges<'_>, turns: u32) -> Option<String> {
    let mut parts = text.split('%');
    let mut unfolded = parts.next()?.to_owned();
    while let Some(name) = parts.next() {
        unfolded.push_str(&found(name, pending, turns.checked_sub(1)?)?);
        unfolded.push_str(parts.next()?);
    }
    Some(unfolded)
}
