//! Checks of pending servicing: setup, updates, and files to be replaced at the next start.

use super::check::Check;
use super::facts::Facts;
use super::outcome::{Answer, Outcome, fail, pass, unknown, warn, worst};
use crate::windows::setting::SetupState;
use coldforge_base::utf16;

const SERVICING: &str = r"Microsoft\Windows\CurrentVersion\Component Based Servicing";
const STATE_FILE: &str = r"\Windows\Setup\State\State.ini";
/// The files of setup's state are a few lines.
const STATE_LIMIT_BYTES: u64 = 64 << 10;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "P22",
        title: "Setup has finished, or is prepared by sysprep",
        requires: "an installed Windows, or one that sysprep prepared for its first start",
        prevents: "FirstBootFailure; agents refuse to start while the image state is undeployable",
        hint: "start the machine once and let setup finish, or run `sysprep /generalize /oobe /shutdown`",
        run: setup,
    },
    Check {
        id: "P23",
        title: "No update waits for a restart",
        requires: "servicing at rest: drivers cannot be installed while a restart is pending",
        prevents: "FirstBootFailure: the first start installs updates",
        hint: "start the machine once, let the updates finish, shut it down and take the image again",
        run: servicing,
    },
    Check {
        id: "P24",
        title: "No file waits to be replaced",
        requires: "no pending renames; files that are only deleted do no harm",
        prevents: "FirstBootFailure: files change under the first start",
        hint: "start the machine once, shut it down and take the image again",
        run: renames,
    },
];

fn setup(facts: &Facts<'_>) -> Answer {
    let number =
        |name: &str| facts.system("Setup", name).and_then(|found| found.dword()).map(Option::unwrap_or_default);
    let (kind, running, oobe) = (number("SetupType")?, number("SystemSetupInProgress")?, number("OOBEInProgress")?);
    let image = facts.software(r"Microsoft\Windows\CurrentVersion\Setup\State", "ImageState")?;
    let Some(state) = image.text()? else {
        return Ok(unknown("Windows's own word for the state of the image is absent").at(image.at));
    };
    if let Some(file) = facts.evidence.head(STATE_FILE, STATE_LIMIT_BYTES)? {
        let text = match file.strip_prefix(&[0xff, 0xfe]) {
            Some(rest) => utf16::decode(rest),
            None => String::from_utf8_lossy(&file).into_owned(),
        };
        let in_report = text.lines().find_map(|line| line.trim().strip_prefix("ImageState="));
        if in_report.is_some_and(|in_report| in_report.trim() != state) {
            let found = format!("the registry says {state}, and the file {}", in_report.unwrap_or_default());
            return Ok(unknown(found).at(image.at).at(STATE_FILE));
        }
    }
    if kind == 0 && (running != 0 || oobe != 0) {
        let found =
            format!("SetupType 0, SystemSetupInProgress {running}, OOBEInProgress {oobe} contradict each other");
        return Ok(fail(found).at(r"HKLM\SYSTEM\Setup"));
    }
    Ok(match facts.evidence.setup_state()? {
        SetupState::Installed => pass(state),
        SetupState::Prepared => pass(format!("{state}: AWS adds an answer file")),
        SetupState::Audit | SetupState::Unfinished => fail(state),
        SetupState::Unknown => unknown(format!("{state}, and SetupType {kind} does not go with it")),
    }
    .at(image.at))
}

fn servicing(facts: &Facts<'_>) -> Answer {
    let root = format!(r"HKLM\SOFTWARE\{SERVICING}");
    let mut parts: Vec<Outcome> = Vec::new();
    let pending = facts.evidence.servicing()?.pending;
    if let Some(first) = pending.first() {
        parts.push(fail(format!("{} pending, the first: {first}", pending.len())).at(root.clone()));
    }
    let update = r"Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired";
    if facts.software_keys(update)?.is_some() {
        parts.push(fail("Windows Update asks for a restart").at(format!(r"HKLM\SOFTWARE\{update}")));
    }
    if facts.evidence.is_there(r"\Windows\WinSxS\pending.xml")? {
        parts.push(fail("servicing left work").at(r"\Windows\WinSxS\pending.xml"));
    }
    let programs = facts.current(r"Control\Session Manager", "SetupExecute")?;
    if !programs.texts()?.is_empty() {
        parts.push(fail(format!("at the next start runs {:?}", programs.texts()?)).at(programs.at));
    }
    // The key alone means nothing: every machine has it.
    let sessions = format!(r"{SERVICING}\SessionsPending");
    for name in ["Exclusive", "TotalSessionPhases"] {
        let value = facts.software(&sessions, name)?;
        if value.dword()?.unwrap_or(0) != 0 {
            parts.push(warn(format!("{name} is not 0")).at(value.at));
        }
    }
    for session in facts.software_keys(&sessions)?.unwrap_or_default() {
        let complete = facts.software(&format!(r"{sessions}\{session}"), "Complete")?;
        if complete.dword()? != Some(1) {
            parts.push(warn(format!("session {session} is not complete")).at(complete.at));
        }
    }
    parts.push(pass("servicing is at rest"));
    Ok(worst(parts))
}

fn renames(facts: &Facts<'_>) -> Answer {
    let mut parts = Vec::new();
    for name in ["PendingFileRenameOperations", "PendingFileRenameOperations2"] {
        let value = facts.current(r"Control\Session Manager", name)?;
        let Some(data) = &value.value else { continue };
        value.texts()?;
        // Empty texts count: they are what deletes a file.
        let text = utf16::decode(&data.data);
        let texts: Vec<&str> = text.split('\0').collect();
        let pairs = texts.chunks(2).filter(|pair| pair.first().is_some_and(|source| !source.is_empty()));
        for pair in pairs {
            let (source, target) = (pair.first().unwrap_or(&""), pair.get(1).unwrap_or(&""));
            // A deletion leaves the system as it runs now; a replacement is a part of an update that is not done.
            parts.push(
                match target.is_empty() {
                    true => warn(format!("{source} is deleted")),
                    false => fail(format!("{source} becomes {target}")),
                }
                .at(value.at.clone()),
            );
        }
    }
    let most = 3;
    let count = parts.len();
    parts.sort_by_key(|part| part.verdict != super::Verdict::Fail);
    parts.truncate(most);
    parts.push(pass("nothing waits"));
    let mut outcome = worst(parts);
    if count > most {
        outcome.found.push_str(&format!(" ({count} in all)"));
    }
    Ok(outcome)
}
