//! What the catalogs call a risk to the first boot of an imported machine, and where this machine's own hives disprove it.
//!
//! A rule of [`Advice::Guard`] is held back before an import unless everything that it would change is shown harmless
//! here. What only a password's hash, its age or an answer file's text could tell is never shown, and stays held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::harm::Harm;
use crate::policy::catalog::catalogs;
use crate::policy::finding::{Assessment, CheckResult, Remediation, Status};
use crate::policy::plan::step::{Step, folded};
use crate::policy::rule::{Advice, Check, ImportRisk};
use crate::windows::setting::{AccountPolicyField, Readings, Setting, Value, ValueType};
use coldforge_base::sid::Sid;

/// Administrators, without whom a list of those who may log on locks everybody out.
const ADMINISTRATORS: &str = "S-1-5-32-544";

/// Those to whom logging on can be denied without locking an administrator out: guests and the anonymous.
const HARMLESS: [&str; 2] = ["S-1-5-32-546", "S-1-5-7"];

/// Locked for longer than an hour is locked for the time that a first logon is waited for.
pub(in crate::policy) const LONGEST_LOCKOUT_MINUTES: u32 = 60;

/// The release number of .NET Framework 4.7.2, the first whose programs keep to approved algorithms by default.
const NET_4_7_2: u32 = 461_808;

const WINLOGON: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon";
const SETUP: &str = r"HKLM\SYSTEM\Setup";
const SETUP_STATE: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State";
const NET: &str = r"HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full";
const EC2_CONFIG: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Ec2Config";

/// A check of a built-in catalog whose setting is a risk.
struct Known {
    check: &'static Check,
    risk: &'static ImportRisk,
}

/// The settings that a rule of a built-in catalog calls a risk.
static KNOWN: LazyLock<BTreeMap<Setting, Known>> = LazyLock::new(|| {
    let mut known = BTreeMap::new();
    for rule in catalogs().into_iter().flat_map(|catalog| &catalog.rules) {
        let Some(risk) = &rule.import_risk else { continue };
        for check in &rule.checks {
            known.entry(folded(&check.setting)).or_insert(Known { check, risk });
        }
    }
    known
});

/// Returns what the built-in catalogs know of the risk in a setting as a rule names it.
pub(in crate::policy) fn known_risk(setting: &Setting) -> Option<&'static ImportRisk> {
    KNOWN.get(&folded(setting)).map(|known| known.risk)
}

/// Judges a step by what the built-in catalogs know of its setting, unless one of its rules tells its own risk, by which the
/// plan has judged it.
pub(super) fn judge(step: &Step, assessment: &Assessment, machine: &dyn Readings) -> Option<Harm> {
    let tells = |id: &String| {
        let own = assessment.findings.iter().find(|finding| finding.stig_id == *id);
        own.is_some_and(|finding| finding.import_risk.is_some())
    };
    if step.rules.iter().any(tells) {
        return None;
    }
    let known = KNOWN.get(&folded(&as_named(&step.setting)))?;
    let to = step.to.as_ref();
    // A registry value is the risk that its rule demands; another value of it is none.
    let is_other =
        matches!(step.setting, Setting::Registry { .. }) && known.check.require.judge(known.check.form, to).is_err();
    if known.risk.advice == Advice::Apply || is_other {
        return None;
    }
    let is_safe = to.and_then(Value::as_dword).is_some_and(|number| known.risk.safe_values.contains(&number));
    let found = machine.get(&step.setting).ok().and_then(|found| found.value);
    let amend = to.cloned().map_or(Remediation::Remove, Remediation::Write);
    let is_harmless = || is_harmless((&step.setting, &amend, found.as_ref()), assessment, machine);
    match known.risk.advice {
        Advice::Guard if is_safe || is_harmless() => None,
        _ => Some(Harm::Risk(known.risk.reason.clone())),
    }
}

/// Returns a concrete setting as rules name it: in the current control set, and of every enabled account.
fn as_named(setting: &Setting) -> Setting {
    match setting {
        Setting::Registry { key, name } => {
            let in_current = || {
                let rest = key.get(..r"HKLM\SYSTEM\ControlSet".len())?.eq_ignore_ascii_case(r"HKLM\SYSTEM\ControlSet");
                let below = key.get(r"HKLM\SYSTEM\ControlSet".len()..).filter(|_| rest)?.split_once('\\')?;
                below
                    .0
                    .bytes()
                    .all(|digit| digit.is_ascii_digit())
                    .then(|| format!(r"HKLM\SYSTEM\CurrentControlSet\{}", below.1))
            };
            Setting::Registry { key: in_current().unwrap_or_else(|| key.clone()), name: name.clone() }
        }
        Setting::Account { property, .. } => Setting::Account { rid: None, property: *property },
        other => other.clone(),
    }
}

/// Returns the STIG ids of the guarded rules whose risk is disproved for a machine.
pub(in crate::policy) fn disproved(assessment: &Assessment, machine: &dyn Readings) -> BTreeSet<String> {
    let guarded = assessment.findings.iter().filter(|finding| {
        finding.status == Status::Open && finding.import_risk.as_ref().is_some_and(|risk| risk.advice == Advice::Guard)
    });
    let harmless =
        |check: &CheckResult| is_harmless((&check.setting, &check.to, check.found.as_ref()), assessment, machine);
    let open = |check: &&CheckResult| check.status == Status::Open && !matches!(check.to, Remediation::Beyond(_));
    guarded
        .filter(|finding| {
            finding.checks.iter().any(|check| open(&check)) && finding.checks.iter().filter(open).all(harmless)
        })
        .map(|finding| finding.stig_id.clone())
        .collect()
}

/// Tells whether a change of a setting, from what was found, is no risk on this machine.
fn is_harmless(
    (setting, to, found): (&Setting, &Remediation, Option<&Value>),
    assessment: &Assessment,
    machine: &dyn Readings,
) -> bool {
    match setting {
        Setting::UserRight { right } if right.starts_with("SeDeny") => denies_only_the_harmless(to, found),
        Setting::UserRight { .. } => match to {
            Remediation::Write(Value::Sids(sids)) => sids.iter().any(|sid| is(sid, ADMINISTRATORS)),
            // Nobody loses anything.
            Remediation::Include(_) => true,
            _ => false,
        },
        Setting::AccountPolicy { field: AccountPolicyField::LockoutDuration } => {
            matches!(to, Remediation::Write(Value::Number(minutes)) if ends_soon(*minutes))
        }
        Setting::AccountPolicy { field: AccountPolicyField::LockoutThreshold } => {
            lockout_minutes(assessment, machine).is_some_and(ends_soon)
        }
        Setting::AccountPolicy {
            field: AccountPolicyField::MinimumPasswordLength | AccountPolicyField::PasswordComplexity,
        } => is_set_up(machine),
        Setting::Registry { name, .. } if name.to_ascii_lowercase().starts_with("legalnotice") => {
            is_set_up(machine) && !logs_on_by_itself(machine)
        }
        Setting::Registry { key, name }
            if name.eq_ignore_ascii_case("Enabled") && key.to_ascii_lowercase().ends_with("fipsalgorithmpolicy") =>
        {
            number(machine, NET, "Release").is_some_and(|release| release >= NET_4_7_2)
                && is_absent(machine, EC2_CONFIG, "Start")
        }
        _ => false,
    }
}

/// Tells whether nobody is denied anything more but those who administer nothing.
fn denies_only_the_harmless(to: &Remediation, found: Option<&Value>) -> bool {
    let denied = match to {
        Remediation::Write(Value::Sids(sids)) | Remediation::Include(Value::Sids(sids)) => sids,
        Remediation::Remove => return true,
        _ => return false,
    };
    let before = match found {
        Some(Value::Sids(sids)) => sids.clone(),
        _ => BTreeSet::new(),
    };
    denied.difference(&before).all(|sid| HARMLESS.iter().any(|known| is(sid, known)))
}

fn ends_soon(minutes: u32) -> bool {
    (1..=LONGEST_LOCKOUT_MINUTES).contains(&minutes)
}

/// Returns how long an account stays locked after the run: what is to be written, else what is there.
fn lockout_minutes(assessment: &Assessment, machine: &dyn Readings) -> Option<u32> {
    let setting = Setting::AccountPolicy { field: AccountPolicyField::LockoutDuration };
    let checks = assessment.findings.iter().flat_map(|finding| &finding.checks);
    let mut planned = checks.filter(|check| check.setting == setting && check.status == Status::Open);
    match planned.next().map(|check| &check.to) {
        Some(Remediation::Write(Value::Number(minutes))) => Some(*minutes),
        Some(_) => None,
        None => machine.get(&setting).ok()?.value?.as_number(),
    }
}

/// Tells whether setup is through, so that the first boot asks no answer file and makes no account.
fn is_set_up(machine: &dyn Readings) -> bool {
    let off = |name: &str| is_absent(machine, SETUP, name) || number(machine, SETUP, name) == Some(0);
    let state = text(machine, SETUP_STATE, "ImageState");
    off("SystemSetupInProgress")
        && off("OOBEInProgress")
        && off("SetupType")
        && state.is_some_and(|state| state.eq_ignore_ascii_case("IMAGE_STATE_COMPLETE"))
}

/// Tells whether somebody is logged on without being asked, or that cannot be told.
fn logs_on_by_itself(machine: &dyn Readings) -> bool {
    let is_off = is_absent(machine, WINLOGON, "AutoAdminLogon")
        || text(machine, WINLOGON, "AutoAdminLogon").is_some_and(|text| text.trim() == "0");
    !is_off
}

fn get(machine: &dyn Readings, key: &str, name: &str) -> Option<Option<Value>> {
    let setting = Setting::Registry { key: key.to_owned(), name: name.to_owned() };
    let places = machine.places(&setting);
    // Every control set that matters must agree.
    let mut found = places.iter().map(|place| machine.get(place).ok().map(|found| found.value));
    let first = found.next()??;
    found.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

fn is_absent(machine: &dyn Readings, key: &str, name: &str) -> bool {
    get(machine, key, name) == Some(None)
}

fn number(machine: &dyn Readings, key: &str, name: &str) -> Option<u32> {
    get(machine, key, name)??.as_dword()
}

fn text(machine: &dyn Readings, key: &str, name: &str) -> Option<String> {
    let value = get(machine, key, name)??;
    value.as_data().filter(|data| data.kind == ValueType::SZ)?.as_text()
}

fn is(sid: &Sid, text: &str) -> bool {
    sid.to_string() == text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::assess::assess;
    use crate::policy::catalog::Catalog;
    use crate::policy::fake_machine::{self, FakeMachine, setting};
    use crate::policy::selection::Selection;
    use crate::policy::values::Values;
    use crate::windows::setting::Identity;

    fn disproved_on(machine: &FakeMachine) -> Vec<String> {
        let assessment = assess(Catalog::ws2022(), &Selection::default(), &Values::default(), machine);
        disproved(&assessment, machine).into_iter().map(|id| id[5..].to_owned()).collect()
    }

    fn sids(texts: &[&str]) -> Option<Value> {
        Some(Value::Sids(texts.iter().map(|text| text.parse().unwrap()).collect()))
    }

    fn right(right: &str) -> Setting {
        Setting::UserRight { right: right.into() }
    }

    /// Returns a fake server whose rights, lockout and passwords are those of a fresh installation.
    fn server(joined: bool) -> FakeMachine {
        let identity = Identity { domain_joined: Some(joined), ..fake_machine::member_server() };
        let mut machine =
            FakeMachine::new(Identity { domain_sid: Some("S-1-5-21-1-2-3".parse().unwrap()), ..identity });
        for name in ["SeNetworkLogonRight", "SeInteractiveLogonRight"] {
            machine.put(&right(name), sids(&["S-1-5-32-544", "S-1-5-32-545"]));
        }
        for name in ["SeDenyNetworkLogonRight", "SeDenyRemoteInteractiveLogonRight"] {
            machine.put(&right(name), sids(&[]));
        }
        for (field, to) in [
            (AccountPolicyField::LockoutDuration, 10),
            (AccountPolicyField::LockoutThreshold, 0),
            (AccountPolicyField::MinimumPasswordLength, 0),
            (AccountPolicyField::PasswordComplexity, 0),
            (AccountPolicyField::MaximumPasswordAge, 0),
        ] {
            machine.put(&Setting::AccountPolicy { field }, Some(Value::Number(to)));
        }
        machine
    }

    #[test]
    fn lists_that_keep_administrators_and_deny_guests_alone_are_no_risk() {
        let rights = ["MS-000070", "MS-000080", "MS-000120", "UR-000030"];
        let of = |machine: &FakeMachine| {
            let ids = disproved_on(machine);
            rights.into_iter().filter(|id| ids.iter().any(|own| own == id)).collect::<Vec<_>>()
        };
        assert_eq!(of(&server(false)), rights);
    }

    #[test]
    fn denying_local_administrators_is_a_risk() {
        for (denied, is_disproved) in [("S-1-5-32-546", true), ("S-1-5-114", false), ("S-1-5-113", false)] {
            let catalog = Catalog::parse(&format!(
                "schema = \"coldforge/catalog/1\"\nid = \"t\"\ntitle = \"T\"\nbenchmark = \"T\"\nversion = 1\n\
                release = 1\ndate = \"2026-01-01\"\nbuilds = [20348]\n[[rule]]\nstig_id = \"T-0\"\nvuln_id = \"V-0\"\n\
                rule_id = \"SV-0r1_rule\"\ntitle = \"T\"\nseverity = \"low\"\nkind = \"user_right\"\nrole = \"both\"\n\
                import_risk = {{ advice = \"guard\", reason = \"r\" }}\n[[rule.check]]\n\
                user_right = \"SeDenyNetworkLogonRight\"\nincludes = [[\"{denied}\"]]\n"
            ));
            let machine = server(true);
            let assessment = assess(&catalog.unwrap(), &Selection::default(), &Values::default(), &machine);
            assert_eq!(disproved(&assessment, &machine).contains("T-0"), is_disproved, "{denied}");
        }
    }

    #[test]
    fn a_lockout_that_ends_is_no_risk_and_one_without_end_is() {
        assert!(disproved_on(&server(false)).iter().any(|id| id == "AC-000010"));
        assert!(disproved_on(&server(false)).iter().any(|id| id == "AC-000020"));
        let mut machine = server(false);
        let duration = Setting::AccountPolicy { field: AccountPolicyField::LockoutDuration };
        machine.put(&duration, Some(Value::Number(0)));
        let ids = disproved_on(&machine);
        assert!(!ids.iter().any(|id| id == "AC-000020"), "0 passes, and locks for ever");
    }

    #[test]
    fn what_an_answer_file_could_stumble_over_is_no_risk_where_setup_is_through() {
        let rules = ["AC-000070", "AC-000080", "SO-000130", "SO-000140"];
        let of = |machine: &FakeMachine| {
            let ids = disproved_on(machine);
            rules.into_iter().filter(|id| ids.iter().any(|own| own == id)).collect::<Vec<_>>()
        };
        let mut machine = server(false);
        assert!(of(&machine).is_empty(), "the state of setup is not known");
        machine.put(&setting(SETUP_STATE, "ImageState"), Some(Value::sz("IMAGE_STATE_COMPLETE")));
        assert_eq!(of(&machine), rules);
        machine.put(&setting(WINLOGON, "AutoAdminLogon"), Some(Value::sz("1")));
        assert_eq!(of(&machine), rules[..2]);
        machine.put(&setting(SETUP, "OOBEInProgress"), Some(Value::dword(1)));
        assert!(of(&machine).is_empty());
    }

    #[test]
    fn approved_algorithms_are_no_risk_where_the_framework_is_new_enough() {
        let is_disproved = |machine: &FakeMachine| disproved_on(machine).iter().any(|id| id == "SO-000360");
        let mut machine = server(false);
        assert!(!is_disproved(&machine));
        machine.put(&setting(NET, "Release"), Some(Value::dword(NET_4_7_2)));
        assert!(is_disproved(&machine));
        machine.put(&setting(EC2_CONFIG, "Start"), Some(Value::dword(2)));
        assert!(!is_disproved(&machine));
    }

    #[test]
    fn what_only_hashes_and_ages_tell_is_never_disproved() {
        let mut machine = server(false);
        machine.put(&setting(SETUP_STATE, "ImageState"), Some(Value::sz("IMAGE_STATE_COMPLETE")));
        let ids = disproved_on(&machine);
        for id in ["AC-000050", "SO-000020", "00-000200", "00-000210"] {
            assert!(!ids.iter().any(|own| own == id), "{id}");
        }
    }
}
