//! Steps staged for the first start of a machine: scripts that Windows runs when setup has ended.
//!
//! `Windows\Setup\Scripts\SetupComplete.cmd` runs once, as SYSTEM, before anybody can log on. It calls `steps.cmd`, which
//! runs each script once and in order, with one log and one line for each result. A script that ran leaves a mark, and so does
//! one that ended the run, so that running the whole again does nothing.

use super::document::{OnFailure, Step};
use super::fault::{Fault, Flaw};
use super::pending_changes::PendingChanges;
use super::yaml::{Node, Value as Yaml};
use crate::policy::{SETUP_COMPLETE, with_call_first};

/// The folder of the scripts, and what runs them.
const FOLDER: &str = r"Windows\Setup\Scripts\coldforge\steps";
const RUNNER: &str = r"Windows\Setup\Scripts\coldforge\steps.cmd";
/// What `SetupComplete.cmd` calls.
const CALL: &str = "@call \"%~dp0coldforge\\steps.cmd\"";
/// Properties of installers that are not given: those that start the machine anew, and those that install again.
const RESERVED: [&str; 2] = ["REBOOT", "REINSTALL"];
/// The number of a script has three digits.
const MAX_SCRIPTS: usize = 999;

/// A script that is left to the first start.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// The step, as the log names it.
    pub label: String,
    /// What it is in PowerShell.
    pub text: String,
    /// Whether later scripts are not run if it fails.
    pub ends_the_run: bool,
    /// How often it is tried.
    pub attempts: u32,
}

impl Script {
    /// Returns the script that a step is, whose inputs were resolved.
    pub(super) fn of(step: &Step, label: &str, input: &Node) -> Result<Self, Fault> {
        let text = |name: &str| input.get(name).and_then(Node::text).unwrap_or_default();
        let texts = |name: &str| -> Vec<&str> {
            input.get(name).and_then(Node::list).unwrap_or_default().iter().filter_map(Node::text).collect()
        };
        let quoted =
            |what: &str| quoted(what).map_err(|why| Fault::new(input.at, Flaw::Script, format!("{what:?} {why}")));
        let body = match step.action.as_str() {
            "ExecutePowerShell" if input.get("file").is_some() => {
                format!("& {}\r\nexit $LASTEXITCODE\r\n", quoted(text("file"))?)
            }
            "ExecutePowerShell" => format!("{}\r\n", texts("commands").join("\r\n")),
            "ExecuteBinary" => {
                let arguments = texts("arguments").into_iter().map(quoted).collect::<Result<Vec<_>, _>>()?;
                format!("& {} {}\r\nexit $LASTEXITCODE\r\n", quoted(text("path"))?, arguments.join(" "))
            }
            "InstallMSI" | "UninstallMSI" => msi(&step.action, input)?,
            action => return Err(Fault::new(input.at, Flaw::NeedsWindows, action)),
        };
        // A name of a component or a step is one line.
        let title: String = label.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Without the mark Windows PowerShell takes the text for one of the machine's code page.
        let text = format!("\u{feff}# {title}\r\n{body}");
        Ok(Self {
            label: label.to_owned(),
            text,
            ends_the_run: step.on_failure == OnFailure::Abort,
            attempts: step.attempts,
        })
    }
}

/// Plans the files that run the scripts, and the call in what `SetupComplete.cmd` will be.
///
/// Returns the text of `SetupComplete.cmd` with the call in it; the caller knows who else writes that file.
pub(super) fn plan(
    pending: &mut PendingChanges<'_>,
    scripts: &[Script],
    stands: Option<String>,
) -> Result<String, Fault> {
    if scripts.len() > MAX_SCRIPTS {
        return Err(pending.fault(Flaw::Script, format!("{} scripts are left to the first start", scripts.len())));
    }
    for (number, script) in (1_usize..).zip(scripts) {
        pending.put_own(format!(r"{FOLDER}\{number:03}.ps1"), script.text.clone(), &script.label);
    }
    for script in scripts {
        pending.put_own(RUNNER.to_owned(), runner(scripts), &script.label);
    }
    // At the top, because the existing text may end with `exit`; after the call that reapplies policies.
    Ok(with_call_first(&stands.unwrap_or_default(), &format!("{CALL}\r\n"), CALL))
}

/// The path of `SetupComplete.cmd`.
pub(super) const CALLED_BY: &str = SETUP_COMPLETE;

/// Returns what runs the scripts. The redirection precedes `echo`, because a digit right before it would name a handle.
fn runner(scripts: &[Script]) -> String {
    let mut text = String::from(
        "@echo off\r\n\
         rem Runs each script of the folder beside it once, in order: steps.log has what they say, steps.txt how each ended.\r\n\
         setlocal\r\n\
         set \"here=%~dp0steps\"\r\n\
         set \"log=%~dp0steps.log\"\r\n\
         set \"results=%~dp0steps.txt\"\r\n\
         if exist \"%here%\\aborted\" exit /b 0\r\n",
    );
    for (number, script) in (1_usize..).zip(scripts) {
        let word = if script.ends_the_run { "abort" } else { "continue" };
        let attempts = script.attempts;
        text.push_str(&format!("call :step {number:03} {word} {attempts}\r\nif errorlevel 1 exit /b 0\r\n"));
    }
    text.push_str(
        "exit /b 0\r\n\
         :step\r\n\
         if exist \"%here%\\%1.done\" exit /b 0\r\n\
         set \"left=%3\"\r\n\
         :again\r\n\
         >> \"%log%\" echo == %1 %DATE% %TIME%\r\n\
         \"%SystemRoot%\\System32\\WindowsPowerShell\\v1.0\\powershell.exe\" -NoProfile -NonInteractive \
         -ExecutionPolicy Bypass -File \"%here%\\%1.ps1\" >> \"%log%\" 2>&1\r\n\
         set \"code=%ERRORLEVEL%\"\r\n\
         >> \"%results%\" echo %1 ended with %code%\r\n\
         if \"%code%\"==\"0\" goto done\r\n\
         if \"%code%\"==\"3010\" goto done\r\n\
         set /a left-=1\r\n\
         if %left% gtr 0 goto again\r\n\
         > \"%here%\\%1.done\" echo %code%\r\n\
         if not \"%2\"==\"abort\" exit /b 0\r\n\
         > \"%here%\\aborted\" echo %1\r\n\
         exit /b 1\r\n\
         :done\r\n\
         > \"%here%\\%1.done\" echo %code%\r\n\
         exit /b 0\r\n",
    );
    text
}

/// Returns an installation in PowerShell: `msiexec` waits, and its success codes are those of the action.
fn msi(action: &str, input: &Node) -> Result<String, Fault> {
    let refuse = |what: String| Err(Fault::new(input.at, Flaw::Script, what));
    let text = |name: &str| input.get(name).and_then(Node::text);
    let path = text("path").unwrap_or_default();
    if path.contains("://") {
        return refuse(format!(
            "{path:?} is fetched from a network: put the file next to the document and use InstallFiles"
        ));
    }
    if text("reboot").is_some_and(|word| !word.eq_ignore_ascii_case("skip")) {
        return refuse("`reboot`: a script that runs when setup has ended does not start the machine anew".to_owned());
    }
    for name in ["logOptions", "ignoreAuthenticodeSignatureErrors", "allowUnsignedInstaller"] {
        if input.get(name).is_some() {
            return refuse(format!("`{name}` is not carried over"));
        }
    }
    let mut words = vec![if action == "InstallMSI" { "/i" } else { "/x" }.to_owned(), spaced(path, input)?];
    words.extend(["/qn", "/norestart"].map(str::to_owned));
    if let Some(log) = text("logFile") {
        words.extend(["/L*V".to_owned(), spaced(log, input)?]);
    }
    match input.get("properties").map(|node| (&node.value, node)) {
        None => {}
        Some((Yaml::Map(members), _)) => {
            for (name, _, value) in members {
                let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
                if !is_name || RESERVED.iter().any(|head| name.to_ascii_uppercase().starts_with(head)) {
                    return refuse(format!("the property {name:?}"));
                }
                words.push(format!("{name}={}", spaced(value.text().unwrap_or_default(), input)?));
            }
        }
        Some((_, node)) => return Err(Fault::new(node.at, Flaw::Form, "`properties` is not a map")),
    }
    let list = words.iter().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>();
    let Ok(list) = list else { return refuse("a word cannot be quoted".to_owned()) };
    let also = if action == "UninstallMSI" { ", 1605" } else { "" };
    Ok(format!(
        "$run = Start-Process -FilePath msiexec.exe -Wait -PassThru -ArgumentList @({})\r\n\
         if (@(0, 1614, 1641, 3010{also}) -contains $run.ExitCode) {{ exit 0 }}\r\nexit $run.ExitCode\r\n",
        list.join(", ")
    ))
}

/// Returns a word of a command line in quotation marks.
fn spaced(word: &str, input: &Node) -> Result<String, Fault> {
    match word.is_empty() || word.contains('"') || word.ends_with('\\') || word.chars().any(char::is_control) {
        true => Err(Fault::new(input.at, Flaw::Script, format!("{word:?} cannot stand on a command line"))),
        false => Ok(format!("\"{word}\"")),
    }
}

/// Returns a literal of PowerShell. It takes several characters for an apostrophe, and hands a quotation mark to programs
/// in ways of its own.
fn quoted(word: &str) -> Result<String, &'static str> {
    let is_odd = |c: char| c.is_control() || ('\u{2018}'..='\u{201f}').contains(&c);
    match word.chars().any(is_odd) || (word.contains('"') && !is_whole(word)) {
        true => Err("cannot be quoted for PowerShell"),
        false => Ok(format!("'{}'", word.replace('\'', "''"))),
    }
}

/// Returns whether quotation marks are paired, as [`spaced`] writes them.
fn is_whole(word: &str) -> bool {
    let inner = word.strip_suffix('"').and_then(|word| word.split_once('"')).map(|(_, inner)| inner);
    inner.is_some_and(|inner| !inner.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;

    fn script(step: &str) -> Result<String, Fault> {
        let text = format!("schemaVersion: 1.0\nphases: [{{name: build, steps: [{step}]}}]\n");
        let document = Document::parse(&text).unwrap();
        let step = &document.phases[0].steps[0];
        Script::of(step, "component a\nb", &step.inputs[0]).map(|script| script.text)
    }

    #[test]
    fn each_action_is_a_script() {
        let text = script("{name: A, action: ExecutePowerShell, inputs: {commands: [Get-Date, exit 3]}}").unwrap();
        assert_eq!(text, "\u{feff}# component a b\r\nGet-Date\r\nexit 3\r\n");
        let text =
            script(r"{name: A, action: ExecuteBinary, inputs: {path: 'C:\a b.exe', arguments: ['/x', it's]}}").unwrap();
        assert!(text.contains(r"& 'C:\a b.exe' '/x' 'it''s'"), "{text}");
        let text =
            script(r"{name: A, action: InstallMSI, inputs: {path: 'C:\a b.msi', properties: {PORT: '80'}}}").unwrap();
        assert!(text.contains(r#"@('/i', '"C:\a b.msi"', '/qn', '/norestart', 'PORT="80"')"#), "{text}");
        let text = script(r"{name: A, action: UninstallMSI, inputs: {path: 'C:\a.msi'}}").unwrap();
        assert!(text.contains("'/x'") && text.contains("1605"), "{text}");
    }

    #[test]
    fn what_cannot_be_carried_over_is_refused() {
        for step in [
            r#"{name: A, action: ExecuteBinary, inputs: {path: a, arguments: ['say "x" now']}}"#,
            "{name: A, action: ExecuteBinary, inputs: {path: a, arguments: [\"\u{2019}\"]}}",
            "{name: A, action: InstallMSI, inputs: {path: 's3://bucket/a.msi'}}",
            r"{name: A, action: InstallMSI, inputs: {path: 'C:\a.msi', reboot: Force}}",
            r"{name: A, action: InstallMSI, inputs: {path: 'C:\a.msi', properties: {REBOOT: x}}}",
            r#"{name: A, action: InstallMSI, inputs: {path: 'C:\a.msi', properties: {A: 'b"c'}}}"#,
        ] {
            assert_eq!(script(step).unwrap_err().flaw, Flaw::Script, "{step}");
        }
    }

    #[test]
    fn the_runner_goes_through_the_scripts_in_order_and_no_digit_stands_before_a_redirection() {
        let one = |ends_the_run| Script { label: String::new(), text: String::new(), ends_the_run, attempts: 2 };
        let text = runner(&[one(true), one(false)]);
        let order =
            ["call :step 001 abort 2", "call :step 002 continue 2", ":step\r\n"].map(|mark| text.find(mark).unwrap());
        assert!(order.is_sorted(), "{text}");
        assert!(text.split("\r\n").all(|line| !line.contains("%>") && !line.contains("1>>")), "{text}");
    }
}
