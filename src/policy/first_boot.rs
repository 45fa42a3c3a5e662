//! What setup may set anew when an image starts that was prepared for a new machine, and a script that sets it again.
//!
//! Windows runs `Windows\Setup\Scripts\SetupComplete.cmd` once, as SYSTEM, when setup has ended and before anybody can
//! log on. The call that is put at its head runs `reapply.cmd` beside a security template, with Windows's own tools:
//! `secedit /configure` for passwords, lockout, rights and accounts, `auditpol /set` for the audit policy. Both set what
//! the image was hardened to, so that running them again changes nothing, and they delete nothing.
//!
//! Which of these settings setup really changes differs with the release and the answer file, and cannot be seen in an
//! image: all of them are at risk. What names accounts of the machine by SID is not put into the script, because the new
//! machine has a new SID.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::error::Error;
use super::finding::{Assessment, Status};
use super::plan::step::{Held, Plan, Step, folded};
use super::selection::UnknownWord;
use crate::formats::audit_csv::Subcategory;
use crate::windows::setting::{
    AccountPolicyField, AccountProperty, AuditFlags, Readings, SecurityOption, Setting, SetupState, Value,
};
use coldforge_base::sid::Sid;

/// What Windows runs when setup has ended, as SYSTEM and once.
pub const SETUP_COMPLETE: &str = r"Windows\Setup\Scripts\SetupComplete.cmd";
/// The script that it calls, and the template of that.
const SCRIPT: &str = r"Windows\Setup\Scripts\coldforge\reapply.cmd";
const TEMPLATE: &str = r"Windows\Setup\Scripts\coldforge\reapply.inf";
/// The call, whose second line tells that it is there.
const CALL: &str = "@rem What this image was hardened to is set again when setup has ended.\r\n\
                    @call \"%~dp0coldforge\\reapply.cmd\"\r\n";
/// The second line of the call.
const CALL_LINE: &str = "@call \"%~dp0coldforge\\reapply.cmd\"";
/// The relative identifiers of the built-in accounts.
const ADMINISTRATOR: u32 = 500;
const GUEST: u32 = 501;

/// What a run does about settings that setup may set anew.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FirstBoot {
    /// It tells which they are.
    #[default]
    Report,
    /// It also puts a script into the image that sets them again.
    Stage,
}

impl fmt::Display for FirstBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Report => "report",
            Self::Stage => "stage",
        })
    }
}

impl FromStr for FirstBoot {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "report" => Ok(Self::Report),
            "stage" => Ok(Self::Stage),
            _ => Err(UnknownWord),
        }
    }
}

impl Plan {
    /// Returns the plan with what it says and does about the first start of an image that setup has not finished. Where
    /// the next start is an ordinary one, nothing is at risk and no script would run.
    ///
    /// # Errors
    /// That of reading a `SetupComplete.cmd` that is there already.
    pub fn with_first_boot(
        mut self,
        assessment: &Assessment,
        machine: &dyn Readings,
        first_boot: FirstBoot,
    ) -> Result<Self, Error> {
        let state = machine.identity().setup;
        let is_certain = matches!(state, SetupState::Prepared | SetupState::Audit | SetupState::Unfinished);
        let is_staged = first_boot == FirstBoot::Stage && state != SetupState::Installed;
        if !is_certain && !is_staged {
            return Ok(self);
        }
        let mut script = Script::default();
        let mut rules = Vec::new();
        let own = machine.identity().machine_sid.as_ref();
        for finding in &assessment.findings {
            let wanted = finding.checks.iter().filter_map(|check| {
                let step = self.steps.iter().find(|step| folded(&step.setting) == folded(&check.setting));
                match step {
                    Some(step) => Some((&check.setting, step.to.clone())),
                    None => (check.status == Status::Pass).then(|| (&check.setting, check.found.clone())),
                }
            });
            let at_risk: Vec<_> = wanted.filter(|(setting, _)| is_at_risk(setting)).collect();
            let Some((first, _)) = at_risk.first() else { continue };
            let missed: Vec<String> = at_risk
                .iter()
                .filter(|(setting, to)| !(is_staged && script.add(setting, to.as_ref(), own)))
                .map(|(setting, _)| setting.to_string())
                .collect();
            let reason = match missed.is_empty() {
                true => format!("setup may set {first} anew; SetupComplete.cmd sets it again"),
                false => format!("setup may set {} anew when the image starts", missed.join(", ")),
            };
            if missed.len() < at_risk.len() {
                rules.push(finding.stig_id.clone());
            }
            self.at_risk.push(Held { rule: finding.stig_id.clone(), reason });
        }
        if !rules.is_empty() {
            let content = |path: &str| Setting::FileContent { path: path.to_owned() };
            let file = content(SETUP_COMPLETE);
            let found = machine
                .get(&file)
                .map_err(|source| Error::Step { rules: rules.clone(), source: Box::new(source) })?
                .value;
            let text = match found {
                Some(Value::Text(text)) => with_call(&text, CALL, CALL_LINE, None),
                _ => CALL.to_owned(),
            };
            for (setting, text) in
                [(content(TEMPLATE), script.template()), (content(SCRIPT), script.commands()), (file, text)]
            {
                self.steps.push(Step { rules: rules.clone(), setting, to: Some(Value::Text(text)) });
            }
        }
        Ok(self)
    }
}

/// Returns a batch file that runs a call before anything else, or right behind the call that sets policies again.
///
/// A call counts as there only where it is certain to be run: among the lines at the head of the file that do nothing else.
/// One in a comment, behind `exit` or a label, or in a block is not, and is put to the head. `line` is the line of `call`
/// that calls.
pub fn with_call_first(text: &str, call: &str, line: &str) -> String {
    with_call(text, call, line, Some(CALL_LINE))
}

fn with_call(text: &str, call: &str, line: &str, behind: Option<&str>) -> String {
    let is_line = |found: &str, wanted: &str| found.trim().eq_ignore_ascii_case(wanted);
    let (mut at, mut read) = (0_usize, 0_usize);
    for found in text.split_inclusive('\n') {
        read = read.saturating_add(found.len());
        if is_line(found, line) {
            return text.to_owned();
        }
        if behind.is_some_and(|behind| is_line(found, behind)) {
            at = read;
        } else if !does_nothing(found) && !is_line(found, CALL_LINE) {
            break;
        }
    }
    let (before, after) = text.split_at_checked(at).unwrap_or(("", text));
    format!("{before}{call}{after}")
}

/// Tells whether a line of a batch file is empty, a comment, or says that commands are not shown.
fn does_nothing(line: &str) -> bool {
    let line = line.trim_end_matches(['\r', '\n']);
    // A caret joins the next line to this one, an ampersand adds a command, and other control characters are cut at.
    if line.ends_with('^')
        || line.contains(['&', '|', '<', '>', '%', '!'])
        || line.chars().any(|c| c.is_control() && c != '\t')
    {
        return false;
    }
    let words: Vec<String> = line.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(|word| word.trim_start_matches('@')).collect();
    match words.as_slice() {
        [] | ["rem" | "::", ..] | ["echo", "off"] => true,
        [first, ..] => first.starts_with("::"),
    }
}

/// Tells whether a setting lies where setup writes: accounts, rights and the security policy.
fn is_at_risk(setting: &Setting) -> bool {
    matches!(
        setting,
        Setting::AccountPolicy { .. }
            | Setting::UserRight { .. }
            | Setting::Account { .. }
            | Setting::SecurityOption { .. }
            | Setting::AuditPolicy { .. }
    )
}

/// What is set again, in the order of its names.
#[derive(Debug, Default)]
struct Script {
    /// `[System Access]`.
    access: BTreeMap<&'static str, String>,
    /// `[Privilege Rights]`.
    rights: BTreeMap<String, String>,
    /// What each subcategory records, by its GUID as `auditpol` takes it.
    audit: BTreeMap<String, AuditFlags>,
}

impl Script {
    /// Adds a setting; tells whether it can be set by the script.
    fn add(&mut self, setting: &Setting, to: Option<&Value>, machine: Option<&Sid>) -> bool {
        match (setting, to) {
            (Setting::AccountPolicy { field }, Some(Value::Number(number) | Value::Interval { number, .. })) => {
                let (name, value) = system_access(*field, *number);
                self.access.insert(name, value);
            }
            (Setting::SecurityOption { option: SecurityOption::AnonymousNameTranslation }, Some(Value::Flag(on))) => {
                self.access.insert("LSAAnonymousNameLookup", u8::from(*on).to_string());
            }
            (Setting::Account { rid: Some(rid), property }, Some(to)) => {
                let Some((name, value)) = account(*rid, *property, to) else { return false };
                self.access.insert(name, value);
            }
            (Setting::UserRight { right }, None) => {
                self.rights.insert(right.clone(), String::new());
            }
            (Setting::UserRight { right }, Some(Value::Sids(sids))) => {
                // Where the machine's own SID is unknown, its accounts and those of a domain are not told apart.
                let own = machine.map_or_else(|| "S-1-5-21-".to_owned(), |machine| format!("{machine}-"));
                if sids.iter().any(|sid| sid.to_string().starts_with(&own)) {
                    return false;
                }
                let list: Vec<String> = sids.iter().map(|sid| format!("*{sid}")).collect();
                self.rights.insert(right.clone(), list.join(","));
            }
            (Setting::AuditPolicy { subcategory }, Some(Value::Audit(flags))) => {
                let Some(known) = Subcategory::from_name(subcategory) else { return false };
                self.audit.insert(known.guid().to_string(), *flags);
            }
            _ => return false,
        }
        true
    }

    /// Returns the security template, in the form that `secedit` reads.
    fn template(&self) -> String {
        let mut text = String::from("[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n");
        let mut access = self.access.clone();
        // Windows has no duration and no window where accounts are never locked.
        if access.get("LockoutBadCount").is_none_or(|count| count == "0") {
            access.retain(|name, _| !matches!(*name, "LockoutDuration" | "ResetLockoutCount"));
        }
        let sections = [
            ("System Access", access.iter().map(|(name, value)| format!("{name} = {value}\r\n")).collect::<String>()),
            ("Privilege Rights", self.rights.iter().map(|(name, value)| format!("{name} = {value}\r\n")).collect()),
        ];
        for (name, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
            text.push_str(&format!("[{name}]\r\n{lines}"));
        }
        text
    }

    /// Returns the script.
    fn commands(&self) -> String {
        let mut text = String::from(
            "@echo off\r\n\
             rem Sets again what this image was hardened to. It may run at any time, as SYSTEM or an administrator.\r\n\
             setlocal\r\n\
             set \"here=%~dp0\"\r\n\
             set \"log=%here%reapply.log\"\r\n",
        );
        if !(self.access.is_empty() && self.rights.is_empty()) {
            text.push_str(
                "\"%SystemRoot%\\System32\\secedit.exe\" /configure /db \"%here%reapply.sdb\" /cfg \"%here%reapply.inf\" \
                 /overwrite /areas SECURITYPOLICY USER_RIGHTS /log \"%here%secedit.log\" /quiet\r\n\
                 echo secedit ended with %ERRORLEVEL% >> \"%log%\"\r\n",
            );
        }
        let word = |on: bool| if on { "enable" } else { "disable" };
        for (guid, flags) in &self.audit {
            text.push_str(&format!(
                "\"%SystemRoot%\\System32\\auditpol.exe\" /set /subcategory:{{{guid}}} /success:{} /failure:{} >> \"%log%\" 2>&1\r\n",
                word(flags.success),
                word(flags.failure)
            ));
        }
        text.push_str("exit /b 0\r\n");
        text
    }
}

/// Returns a field's name and value in a template.
fn system_access(field: AccountPolicyField, number: u32) -> (&'static str, String) {
    use AccountPolicyField as Field;
    let (name, none) = match field {
        Field::PasswordHistory => ("PasswordHistorySize", None),
        Field::MaximumPasswordAge => ("MaximumPasswordAge", Some("-1")),
        Field::MinimumPasswordAge => ("MinimumPasswordAge", None),
        Field::MinimumPasswordLength => ("MinimumPasswordLength", None),
        Field::PasswordComplexity => ("PasswordComplexity", None),
        Field::ReversibleEncryption => ("ClearTextPassword", None),
        Field::LockoutDuration => ("LockoutDuration", Some("-1")),
        Field::LockoutThreshold => ("LockoutBadCount", None),
        Field::LockoutWindow => ("ResetLockoutCount", None),
    };
    // Never, and until an administrator unlocks it, are 0 here and -1 there.
    let value = none.filter(|_| number == 0).map_or_else(|| number.to_string(), str::to_owned);
    (name, value)
}

/// Returns the name and value that a template has for a property of a built-in account.
fn account(rid: u32, property: AccountProperty, to: &Value) -> Option<(&'static str, String)> {
    match (rid, property, to) {
        (ADMINISTRATOR, AccountProperty::Enabled, Value::Flag(on)) => {
            Some(("EnableAdminAccount", u8::from(*on).to_string()))
        }
        (GUEST, AccountProperty::Enabled, Value::Flag(on)) => Some(("EnableGuestAccount", u8::from(*on).to_string())),
        (ADMINISTRATOR | GUEST, AccountProperty::Name, Value::Text(name)) => {
            // The template is read with the machine's code page, and ends a text at a quotation mark.
            let is_plain =
                name.bytes().all(|byte| matches!(byte, b' ' | b'-' | b'.' | b'_') || byte.is_ascii_alphanumeric());
            let key = if rid == GUEST { "NewGuestName" } else { "NewAdministratorName" };
            is_plain.then(|| (key, format!("\"{name}\"")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::security_template::SecurityTemplate;

    fn script(settings: &[(Setting, Option<Value>)]) -> Script {
        let mut script = Script::default();
        for (setting, to) in settings {
            assert!(script.add(setting, to.as_ref(), None), "{setting}");
        }
        script
    }

    #[test]
    fn a_call_counts_only_where_it_is_run() {
        let with = |text: &str| with_call(text, CALL, CALL_LINE, None);
        for text in [
            CALL.to_owned(),
            format!("@echo off\r\n\r\nREM own\r\n:: own\r\n{CALL}exit /b\r\n"),
            CALL_LINE.to_uppercase(),
        ] {
            assert_eq!(with(&text), text);
        }
        for text in [
            format!("@echo off\r\nrem {CALL_LINE}\r\n"),
            format!("rem {CALL_LINE}"),
            format!(":: {CALL_LINE}\r\n"),
            format!("exit /b 0\r\n{CALL_LINE}\r\n"),
            format!("goto end\r\n{CALL_LINE}\r\n:end\r\n"),
            format!("if exist x (\r\n{CALL_LINE}\r\n)\r\n"),
            format!("rem ^\r\n{CALL_LINE}\r\n"),
            format!("rem a & exit\r\n{CALL_LINE}\r\n"),
            format!(":end\r\n{CALL_LINE}\r\n"),
            format!("echo {CALL_LINE}\r\n"),
            "echo mine\r\n".to_owned(),
            String::new(),
        ] {
            let made = with(&text);
            assert_eq!(made, format!("{CALL}{text}"));
            assert_eq!(with(&made), made, "again");
        }
        let other = "@call \"%~dp0coldforge\\other.cmd\"";
        let both = format!("{CALL}{other}\r\nexit\r\n");
        assert_eq!(with_call_first(&format!("{CALL}exit\r\n"), &format!("{other}\r\n"), other), both);
        assert_eq!(with_call_first(&both, &format!("{other}\r\n"), other), both);
        let behind = format!("exit\r\n{CALL}");
        assert_eq!(with_call_first(&behind, &format!("{other}\r\n"), other), format!("{other}\r\n{behind}"));
    }

    #[test]
    fn a_template_reads_as_what_is_to_be_set() {
        let sids = ["S-1-5-32-544", "S-1-5-19"].map(|sid| sid.parse().unwrap());
        let field = |field| Setting::AccountPolicy { field };
        let right = |right: &str| Setting::UserRight { right: right.into() };
        let script = script(&[
            (field(AccountPolicyField::MaximumPasswordAge), Some(Value::Number(0))),
            (field(AccountPolicyField::LockoutDuration), Some(Value::Number(15))),
            (right("SeDebugPrivilege"), Some(Value::Sids(sids.into_iter().collect()))),
            (right("SeTcbPrivilege"), None),
            (Setting::Account { rid: Some(501), property: AccountProperty::Name }, Some(Value::Text("Visitor".into()))),
            (
                Setting::AuditPolicy { subcategory: "Logon".into() },
                Some(Value::Audit(AuditFlags { success: true, failure: false })),
            ),
        ]);
        let template = SecurityTemplate::parse(script.template().as_bytes()).unwrap();
        let access: Vec<_> =
            template.system_access().unwrap().into_iter().map(|named| (named.name, named.value)).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            access,
            [pair("MaximumPasswordAge", "-1"), pair("NewGuestName", "Visitor")],
            "no lockout, no duration"
        );
        let rights: Vec<_> =
            template.privilege_rights().unwrap().into_iter().map(|right| (right.right, right.holders.len())).collect();
        assert_eq!(rights, [("SeDebugPrivilege".to_owned(), 2), ("SeTcbPrivilege".to_owned(), 0)]);
        let commands = script.commands();
        assert!(commands.contains("auditpol.exe\" /set /subcategory:{0cce9215-69ae-11d9-bed3-505054503030} /success:enable /failure:disable >>"), "{commands}");
        assert!(commands.split_inclusive('\n').all(|line| line.ends_with("\r\n")));
    }

    #[test]
    fn what_names_accounts_of_the_machine_is_not_put_into_the_script() {
        let right = Setting::UserRight { right: "SeDebugPrivilege".into() };
        let sids = |text: &str| Some(Value::Sids([text.parse().unwrap()].into_iter().collect()));
        let own: Sid = "S-1-5-21-1-2-3".parse().unwrap();
        let add = |text: &str| Script::default().add(&right, sids(text).as_ref(), Some(&own));
        assert!(!add("S-1-5-21-1-2-3-1001"));
        assert!(add("S-1-5-21-9-9-9-512") && add("S-1-5-32-544"));
        assert!(!Script::default().add(&right, sids("S-1-5-21-9-9-9-512").as_ref(), None));
        assert_eq!(account(500, AccountProperty::Name, &Value::Text("Müller".into())), None);
        assert_eq!(account(500, AccountProperty::Name, &Value::Text("a\" & b".into())), None);
    }
}
