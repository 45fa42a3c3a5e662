//! PowerShell commands that can be translated to offline operations: a closed list, with literal arguments.
//!
//! A script is translated as a whole or not at all. `sc` without `.exe` is not on the list, because PowerShell takes it
//! for Set-Content. Paths and names that PowerShell would take for patterns are not literal, and neither are relative paths.

use std::fmt;
use std::str::FromStr;

use super::document::Step;
use super::fault::{Fault, Flaw};
use crate::windows::setting::AccountPolicyField;

/// What becomes of the scripts of components.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Scripts {
    /// A component with one is refused.
    #[default]
    Fail,
    /// They are left out, and the report says so.
    Skip,
    /// Those that can be translated are; a component with another one is refused.
    Translate,
    /// They run when the machine starts for the first time, and so do programs and installers.
    FirstBoot,
}

impl fmt::Display for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Translate => "translate",
            Self::FirstBoot => "first-boot",
        })
    }
}

/// The text names no [`Scripts`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownScripts;

impl FromStr for Scripts {
    type Err = UnknownScripts;

    fn from_str(text: &str) -> Result<Self, UnknownScripts> {
        let all = [Self::Fail, Self::Skip, Self::Translate, Self::FirstBoot];
        all.into_iter().find(|one| one.to_string() == text).ok_or(UnknownScripts)
    }
}

/// What a command does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    /// Sets a value; the key must be there unless it may be made.
    SetValue { key: String, name: String, kind: String, data: String, makes_key: bool },
    /// Removes a value, which may be missing.
    RemoveValue { key: String, name: String, may_miss: bool },
    /// Makes a key that is not there; the one above it must be unless it may be made, too.
    MakeKey { key: String, makes_above: bool },
    /// Makes a folder, which may be there already.
    MakeFolder { path: String, may_exist: bool },
    /// Makes a file; `is_forced` overwrites an existing file and creates the folder.
    MakeFile { path: String, text: String, is_forced: bool },
    /// Copies a file to another name, or into an existing folder.
    CopyFile { source: String, destination: String },
    /// Sets how a service starts.
    Service { name: String, start: &'static str },
    /// Sets a field of the account policy.
    Account { field: AccountPolicyField, number: u32 },
    /// Sets what a subcategory records; what is not said stays.
    Audit { subcategory: String, success: Option<bool>, failure: Option<bool> },
}

/// Returns why a step with a script cannot be carried out under this policy.
pub(super) fn beyond(step: &Step, scripts: Scripts) -> Vec<Fault> {
    let at = step.at;
    match scripts {
        Scripts::Skip | Scripts::FirstBoot => Vec::new(),
        Scripts::Fail => vec![Fault::new(at, Flaw::NeedsWindows, "ExecutePowerShell (choose what becomes of scripts)")],
        Scripts::Translate => {
            let mut faults = Vec::new();
            for input in &step.inputs {
                let Some(commands) = input.get("commands").and_then(|commands| commands.list()) else {
                    faults.push(Fault::new(at, Flaw::Script, "a script in a file is not read"));
                    continue;
                };
                for command in commands {
                    // The value of an expression is known later, and checked then.
                    let text = command.text().unwrap_or_default();
                    if !text.contains("{{")
                        && let Err(what) = translate(text)
                    {
                        faults.push(Fault::new(command.at, Flaw::Script, what));
                    }
                }
            }
            faults
        }
    }
}

/// Translates a piece of a script; `Err` says which line is not on the list.
pub(super) fn translate(script: &str) -> Result<Vec<Operation>, String> {
    let mut operations = Vec::new();
    for line in script.lines().map(str::trim) {
        if line.is_empty()
            || line.starts_with('#')
            || line.replace(' ', "").eq_ignore_ascii_case("$ErrorActionPreference='Stop'")
        {
            continue;
        }
        let words = words(line.strip_suffix("| Out-Null").unwrap_or(line));
        let done = words.and_then(|words| command(&words));
        operations.extend(done.ok_or_else(|| format!("`{line}`"))?);
    }
    Ok(operations)
}

/// Cuts a line into literal words; `None` if one is not literal.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(words);
        }
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
            match c {
                '\'' => loop {
                    match (chars.next()?, chars.peek()) {
                        ('\'', Some('\'')) => {
                            chars.next();
                            word.push('\'');
                        }
                        ('\'', _) => break,
                        (c, _) => word.push(c),
                    }
                },
                '"' => loop {
                    match chars.next()? {
                        '"' if chars.peek() == Some(&'"') => return None,
                        '"' => break,
                        '$' | '`' => return None,
                        c => word.push(c),
                    }
                },
                c if c.is_ascii_alphanumeric() || r"-_.:\/=+".contains(c) => word.push(c),
                _ => return None,
            }
        }
        words.push(word);
    }
}

fn command(words: &[String]) -> Option<Vec<Operation>> {
    let (verb, rest) = words.split_first()?;
    let verb = verb.to_ascii_lowercase();
    Some(match verb.as_str() {
        "write-host" => Vec::new(),
        "reg" | "reg.exe" => vec![reg(rest)?],
        "set-itemproperty" | "new-itemproperty" => {
            let given = Given::of(rest, &["path", "name", "value", "type", "propertytype"], &["force"])?;
            let kind = given.one("type").or_else(|| given.one("propertytype"))?;
            let kind = match kind.to_ascii_lowercase().as_str() {
                "dword" => "DWORD",
                "qword" => "QWORD",
                "string" => "SZ",
                "expandstring" => "EXPAND_SZ",
                _ => return None,
            };
            let (key, name) = (key(given.one("path")?)?, literal(given.one("name")?)?.to_owned());
            let data = given.one("value")?.to_owned();
            vec![Operation::SetValue { key, name, kind: kind.to_owned(), data, makes_key: false }]
        }
        "remove-itemproperty" => {
            let given = Given::of(rest, &["path", "name", "erroraction"], &["force"])?;
            let may_miss = match given.one("erroraction").map(str::to_ascii_lowercase).as_deref() {
                None | Some("stop") => false,
                Some("silentlycontinue" | "ignore") => true,
                Some(_) => return None,
            };
            let name = literal(given.one("name")?)?.to_owned();
            vec![Operation::RemoveValue { key: key(given.one("path")?)?, name, may_miss }]
        }
        "new-item" => {
            let given = Given::of(rest, &["path", "itemtype", "value"], &["force"])?;
            let (path, is_forced) = (given.one("path")?, given.has("force"));
            let kind = given.one("itemtype").map(str::to_ascii_lowercase);
            match (kind.as_deref(), given.one("value")) {
                (None, None) => vec![Operation::MakeKey { key: key(path)?, makes_above: is_forced }],
                (Some("directory"), None) => vec![Operation::MakeFolder { path: file(path)?, may_exist: is_forced }],
                (Some("file"), text) => {
                    let text = text.unwrap_or_default();
                    // Beyond these the bytes are a matter of encoding.
                    let text = text.is_ascii().then(|| text.to_owned())?;
                    vec![Operation::MakeFile { path: file(path)?, text, is_forced }]
                }
                _ => return None,
            }
        }
        "copy-item" => {
            let given = Given::of(rest, &["path", "destination"], &["force"])?;
            vec![Operation::CopyFile {
                source: file(given.one("path")?)?,
                destination: file(given.one("destination")?)?,
            }]
        }
        "set-service" => {
            let given = Given::of(rest, &["name", "startuptype"], &[])?;
            let start = given.one("startuptype")?;
            let start =
                ["Automatic", "Manual", "Disabled"].into_iter().find(|word| word.eq_ignore_ascii_case(start))?;
            vec![Operation::Service { name: literal(given.one("name")?)?.to_owned(), start }]
        }
        "sc.exe" => {
            let [what, name, option, start] = rest else { return None };
            if !what.eq_ignore_ascii_case("config") || !option.eq_ignore_ascii_case("start=") {
                return None;
            }
            let start = match start.to_ascii_lowercase().as_str() {
                "auto" => "Automatic",
                "demand" => "Manual",
                "disabled" => "Disabled",
                _ => return None,
            };
            vec![Operation::Service { name: name.clone(), start }]
        }
        "net" | "net.exe" => accounts(rest)?,
        "auditpol" | "auditpol.exe" => vec![audit(rest)?],
        _ => return None,
    })
}

/// The parameters of a command, each once.
struct Given(Vec<(String, String)>);

impl Given {
    fn of(words: &[String], named: &[&str], switches: &[&str]) -> Option<Self> {
        let mut given: Vec<(String, String)> = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix('-')?.to_ascii_lowercase();
            let value = match (named.contains(&name.as_str()), switches.contains(&name.as_str())) {
                (true, _) => words.next()?.clone(),
                (_, true) => String::new(),
                _ => return None,
            };
            if given.iter().any(|(known, _)| *known == name) {
                return None;
            }
            given.push((name, value));
        }
        Some(Self(given))
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.one(name).is_some()
    }
}

/// Returns a text unless PowerShell takes it for a pattern.
fn literal(text: &str) -> Option<&str> {
    (!text.contains(['*', '?', '[', ']', '`'])).then_some(text)
}

/// Returns a key from a path with a PowerShell drive, such as `HKLM:\\`.
fn key(path: &str) -> Option<String> {
    let (drive, key) = literal(path)?.split_once(':')?;
    drive.eq_ignore_ascii_case("HKLM").then(|| format!(r"HKLM\{}", key.trim_start_matches('\\')))
}

/// Returns the path of a file that begins with the letter of a drive.
fn file(path: &str) -> Option<String> {
    let mut chars = literal(path)?.chars();
    let head = (chars.next()?, chars.next()?, chars.next()?);
    let is_whole = matches!(head, (letter, ':', '\\' | '/') if letter.is_ascii_alphabetic());
    is_whole.then(|| path.to_owned())
}

/// `reg add` and `reg delete` of one value; both ask before they overwrite unless `/f` is given.
fn reg(words: &[String]) -> Option<Operation> {
    let (verb, rest) = words.split_first()?;
    let (path, rest) = rest.split_first()?;
    let (root, below) = path.split_once('\\')?;
    if !matches!(root.to_ascii_uppercase().as_str(), "HKLM" | "HKEY_LOCAL_MACHINE") {
        return None;
    }
    let key = format!(r"HKLM\{below}");
    let (mut name, mut kind, mut data, mut is_forced) = (None, None, None, false);
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.to_ascii_lowercase().as_str() {
            "/v" => name = Some(rest.next()?.clone()),
            "/ve" => name = Some(String::new()),
            "/t" => kind = Some(rest.next()?.clone()),
            "/d" => data = Some(rest.next()?.clone()),
            "/f" => is_forced = true,
            _ => return None,
        }
    }
    let name = name.filter(|_| is_forced)?;
    match verb.to_ascii_lowercase().as_str() {
        "add" => {
            let kind = kind.unwrap_or_else(|| "REG_SZ".to_owned()).to_ascii_uppercase();
            let kind =
                kind.strip_prefix("REG_").filter(|kind| matches!(*kind, "SZ" | "EXPAND_SZ" | "DWORD" | "QWORD"))?;
            Some(Operation::SetValue { key, name, kind: kind.to_owned(), data: data?, makes_key: true })
        }
        "delete" if kind.is_none() && data.is_none() => Some(Operation::RemoveValue { key, name, may_miss: false }),
        _ => None,
    }
}

/// `net accounts` with numbers; `unlimited` and `never` are not numbers, and not on the list.
fn accounts(words: &[String]) -> Option<Vec<Operation>> {
    use AccountPolicyField as Field;
    let (verb, options) = words.split_first()?;
    if !verb.eq_ignore_ascii_case("accounts") || options.is_empty() {
        return None;
    }
    let one = |option: &String| {
        let (name, number) = option.strip_prefix('/')?.split_once(':')?;
        let field = match name.to_ascii_lowercase().as_str() {
            "minpwlen" => Field::MinimumPasswordLength,
            "maxpwage" => Field::MaximumPasswordAge,
            "minpwage" => Field::MinimumPasswordAge,
            "uniquepw" => Field::PasswordHistory,
            "lockoutthreshold" => Field::LockoutThreshold,
            "lockoutduration" => Field::LockoutDuration,
            "lockoutwindow" => Field::LockoutWindow,
            _ => return None,
        };
        Some(Operation::Account { field, number: number.parse().ok()? })
    };
    options.iter().map(one).collect()
}

/// `auditpol /set` of one subcategory by its English name.
fn audit(words: &[String]) -> Option<Operation> {
    let (verb, options) = words.split_first()?;
    if !verb.eq_ignore_ascii_case("/set") {
        return None;
    }
    let (mut subcategory, mut success, mut failure) = (None, None, None);
    for option in options {
        let (name, value) = option.split_once(':')?;
        let flag = || match value.to_ascii_lowercase().as_str() {
            "enable" => Some(true),
            "disable" => Some(false),
            _ => None,
        };
        match name.to_ascii_lowercase().as_str() {
            "/subcategory" => subcategory = Some(value.to_owned()),
            "/success" => success = Some(flag()?),
            "/failure" => failure = Some(flag()?),
            _ => return None,
        }
    }
    let is_said = success.is_some() || failure.is_some();
    Some(Operation::Audit { subcategory: subcategory.filter(|_| is_said)?, success, failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_the_list_are_understood() {
        let script = r#"
            # a comment
            $ErrorActionPreference = 'Stop'
            Write-Host "hello there"
            reg add "HKLM\SOFTWARE\Acme Inc" /v Level /t REG_DWORD /d 0x5 /f | Out-Null
            reg.exe delete HKLM\SOFTWARE\Acme /v Old /f
            Set-ItemProperty -Path 'HKLM:\SOFTWARE\Acme' -Name 'It''s' -Value 1 -Type DWord -Force
            New-Item -Path C:\Tools -ItemType Directory -Force | Out-Null
            New-Item -Path C:\Tools\a.txt -ItemType File -Value 'a text'
            Copy-Item -Path 'C:\Tools\a.txt' -Destination C:\Tools\b.txt -Force
            New-Item -Path 'HKLM:\SOFTWARE\Acme\New' -Force
            Set-Service -Name Spooler -StartupType Disabled
            sc.exe config RemoteRegistry start= demand
            net accounts /minpwlen:14 /lockoutthreshold:3
            auditpol /set /subcategory:"Credential Validation" /success:enable
        "#;
        let operations = translate(script).unwrap();
        assert_eq!(operations.len(), 12);
        let set = |name: &str, data: &str, key: &str, makes_key| Operation::SetValue {
            key: key.into(),
            name: name.into(),
            kind: "DWORD".into(),
            data: data.into(),
            makes_key,
        };
        assert_eq!(operations[0], set("Level", "0x5", r"HKLM\SOFTWARE\Acme Inc", true));
        assert_eq!(operations[2], set("It's", "1", r"HKLM\SOFTWARE\Acme", false));
        assert_eq!(operations[6], Operation::MakeKey { key: r"HKLM\SOFTWARE\Acme\New".into(), makes_above: true });
        assert_eq!(operations[8], Operation::Service { name: "RemoteRegistry".into(), start: "Manual" });
        let subcategory = "Credential Validation".to_owned();
        assert_eq!(operations[11], Operation::Audit { subcategory, success: Some(true), failure: None });
    }

    #[test]
    fn one_line_that_is_not_on_the_list_is_named() {
        for line in [
            "Invoke-WebRequest https://example.com",
            "sc config Spooler start= disabled",
            "reg add HKLM\\SOFTWARE\\Acme /v A /t REG_DWORD /d 1",
            "reg add HKCU\\SOFTWARE\\Acme /v A /d 1 /f",
            "reg delete HKLM\\SOFTWARE\\Acme /f",
            "New-Item -Path HKLM:\\SOFTWARE\\Acme -ItemType Directory -Force",
            "New-Item -Path HKLM:\\SOFTWARE\\Acme -Value x",
            "New-Item -Path 'HKLM:\\SOFTWARE\\A[bc]me'",
            "New-Item -Path Tools -ItemType Directory",
            "New-Item -Path C:\\a.txt -ItemType File -Value \u{fc}",
            "Copy-Item -Path C:\\a -Destination C:\\b -Recurse",
            "Copy-Item -Path 'C:\\a*' -Destination C:\\b",
            "Remove-ItemProperty -Path HKLM:\\SOFTWARE\\Acme -Name 'A*'",
            "Remove-ItemProperty -Path HKLM:\\SOFTWARE\\Acme -Name A -ErrorAction Inquire",
            "Set-ItemProperty -Path HKLM:\\SOFTWARE\\Acme -Name A -Value 1",
            "Set-ItemProperty -Path \"HKLM:\\$x\" -Name A -Value 1 -Type DWord",
            "Set-Service -Name Spooler -StartupType Disabled; Remove-Item C:\\x",
            "Set-Service -Name Spooler -StartupType $(x)",
            "if ($true) { Write-Host x }",
            "Write-Host 'open",
            "net accounts /maxpwage:unlimited",
            "auditpol /set /category:* /success:enable",
        ] {
            let script = format!("Write-Host a\n{line}\nWrite-Host b");
            assert_eq!(translate(&script), Err(format!("`{line}`")));
        }
    }
}
