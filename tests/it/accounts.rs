//! What SAM and SECURITY hold: read as an independent decoder reads it, written so that it and foreign tools agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use coldforge::windows::sam::accounts::Flag;
use coldforge::windows::sam::groups::Domain;
use coldforge::windows::sam::user_f::Control;
use coldforge::windows::sam::{self, account_policy, accounts, groups};
use coldforge::windows::security::audit_policy::{self, AuditPolicy, Layout, Subcategory};
use coldforge::windows::security::lsa;
use coldforge::windows::security::right::Right;
use coldforge::windows::security::user_rights;
use coldforge::windows::setting::{
    AccountPolicyField as Field, AccountProperty, AuditFlags, Readings as _, SecurityOption, Setting, SettingError,
    Settings as _, Value,
};
use coldforge::windows::{Error, Machine, OpenOptions, ReadOnlyMachine};
use coldforge_base::Failure as _;
use coldforge_base::sid::Sid;
use coldforge_base::time::FileTime;
use coldforge_base::time::Moment;
use coldforge_disk::{Image, Overlay};
use coldforge_regf::{Accept, Hive};
use serde_json::Value as Json;

use crate::support::{self, Seeded, ask, fixture, oracle, real_image, text};

const NOW: FileTime = FileTime(0x01dc_0000_0000_0000);
const SAMS: [&str; 3] = ["velociraptor__SAM", "dfwinreg__SAM", "Registry__SAM_hasBigEndianDWord"];
const SECURITIES: [&str; 2] = ["regipy__SECURITY", "dfwinreg__SECURITY"];

/// Returns one real hive, with a dirty one taken as it lies there.
fn hive(name: &str) -> Option<Hive> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| Some(support::corpus("^hives/.*(SAM|SECURITY)")?.join("hives"))).as_ref()?;
    let mut bytes = std::fs::read(folder.join(name)).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    if word(&bytes, 4) != word(&bytes, 8) {
        bytes.copy_within(4..8, 8);
        let sum = (0..508).step_by(4).fold(0, |sum, at| sum ^ word(&bytes, at));
        bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    }
    Some(Hive::parse(bytes).unwrap())
}

/// A folder in which hives are shown to others.
struct Judges {
    folder: tempfile::TempDir,
    checks: PathBuf,
}

impl Judges {
    fn new() -> Option<Self> {
        let checks = support::shared()?.join("check");
        oracle("python3").then(|| Self { folder: tempfile::tempdir().unwrap(), checks })
    }

    /// Seals a copy of a hive and writes it where others can read it.
    fn show(&self, hive: &Hive) -> PathBuf {
        let mut hive = hive.clone();
        hive.seal().unwrap();
        let path = self.folder.path().join("HIVE");
        std::fs::write(&path, hive.bytes()).unwrap();
        path
    }

    /// Asks the independent decoder, which must find nothing wrong.
    fn decoded(&self, command: &str, hive: &Hive) -> Json {
        let path = self.show(hive);
        let done = ask("python3", &[text(&self.checks.join("winpolicy.py")), command, text(&path)]);
        let json: Json = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("{command}: {error}: {}", String::from_utf8_lossy(&done.stderr)));
        assert_eq!(json["problems"], serde_json::json!([]), "{command}");
        json
    }

    /// Asks the independent checker of hives, which must find nothing wrong.
    #[track_caller]
    fn sound(&self, hive: &Hive) {
        let path = self.show(hive);
        let done = ask("python3", &[text(&self.checks.join("regf_check.py")), text(&path)]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        assert!(hive.verify().iter().all(|finding| finding.severity != coldforge_regf::Severity::Error));
    }

    /// Asks a plugin of RegRipper.
    fn ripped(&self, plugin: &str, hive: &Hive) -> Option<String> {
        let path = self.show(hive);
        let done = oracle("regripper").then(|| ask("regripper", &["-r", text(&path), "-p", plugin]))?;
        Some(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Asks a tool of chntpw about a copy of its own.
    fn stranger(&self, tool: &str, option: &str, hive: &Hive) -> Option<Vec<String>> {
        let path = self.show(hive);
        let done = oracle(tool).then(|| ask(tool, &[option, text(&path)]))?;
        Some(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
    }
}

fn value(hive: &Hive, key: &str, name: &str) -> Vec<u8> {
    hive.key(key).unwrap().unwrap().value(name).unwrap().unwrap().data().unwrap().into_owned()
}

/// Returns every value of a hive, by key and name, with its type.
fn everything(hive: &Hive) -> BTreeMap<(String, String), (u32, Vec<u8>)> {
    let mut names: Vec<String> = Vec::new();
    let mut all = BTreeMap::new();
    for step in hive.walk() {
        let (depth, key) = step.unwrap();
        names.truncate(depth.saturating_sub(1));
        if depth > 0 {
            names.push(key.name().to_string());
        }
        for value in key.values().unwrap() {
            let value = value.unwrap();
            let place = (names.join("\\"), value.name().to_string());
            all.insert(place, (value.kind(), value.data().unwrap().into_owned()));
        }
    }
    all
}

/// Returns the keys and names of the values that differ between two hives.
fn changed(before: &Hive, after: &Hive) -> BTreeSet<String> {
    let (before, after) = (everything(before), everything(after));
    let places = before.keys().chain(after.keys()).filter(|place| before.get(place) != after.get(place));
    places.map(|(key, name)| format!("{key}!{name}")).collect()
}

fn code(error: &Error) -> &'static str {
    assert!(error.hint().is_some(), "{error}");
    error.code().unwrap_or("none")
}

fn sids(json: &Json) -> BTreeSet<String> {
    json.as_array().unwrap().iter().map(|sid| sid.as_str().unwrap().to_owned()).collect()
}

fn words(flags: AuditFlags) -> &'static str {
    match (flags.success, flags.failure) {
        (false, false) => "none",
        (true, false) => "success",
        (false, true) => "failure",
        (true, true) => "both",
    }
}

#[test]
fn security_reads_as_the_independent_decoder_reads_it() {
    let Some(judges) = Judges::new() else { return };
    for name in SECURITIES {
        let hive = hive(name).unwrap();
        let audit = judges.decoded("audit", &hive);
        let rows = audit["subcategories"].as_array().unwrap();
        let policy = AuditPolicy::decode(&value(&hive, audit_policy::KEY, "")).unwrap();
        assert_eq!(policy.layout().to_string(), audit["layout"].as_str().unwrap());
        assert_eq!(policy.layout().subcategories().count(), rows.len());
        for (known, row) in policy.layout().subcategories().zip(rows) {
            assert_eq!(
                (known.name(), known.category()),
                (row["name"].as_str().unwrap(), row["category"].as_str().unwrap())
            );
            assert_eq!(format!("{{{}}}", known.guid()).to_uppercase(), row["guid"].as_str().unwrap());
            let (flags, cell) = audit_policy::get(&hive, known.name()).unwrap();
            assert_eq!(words(flags.unwrap()), row["setting"].as_str().unwrap(), "{}", known.name());
            assert!(cell.is_some());
        }
        let rights = judges.decoded("rights", &hive);
        for right in Right::all() {
            let holders: BTreeSet<String> =
                user_rights::holders(&hive, right.name()).unwrap().iter().map(Sid::to_string).collect();
            assert_eq!(holders, sids(&rights["rights"][right.name()]), "{}", right.name());
        }
        assert_eq!(rights["rights"].as_object().unwrap().len(), Right::all().len());
        for account in user_rights::accounts(&hive).unwrap() {
            let own: BTreeSet<String> = account.rights().map(|right| right.name().to_owned()).collect();
            assert_eq!(own, sids(&rights["accounts"][account.sid.to_string()]["rights"]));
        }
        let known = judges.decoded("lsa", &hive);
        assert_eq!(lsa::machine_sid(&hive).unwrap().unwrap().to_string(), known["machine_sid"].as_str().unwrap());
        assert_eq!(lsa::machine_name(&hive).unwrap().as_deref(), known["machine_name"].as_str());
        let domain = lsa::primary_domain(&hive).unwrap();
        assert_eq!(domain.name.as_deref(), known["primary_domain"].as_str());
        assert_eq!(domain.sid.map(|sid| sid.to_string()).as_deref(), known["primary_domain_sid"].as_str());
        assert_eq!(
            lsa::anonymous_names(&hive).unwrap().0,
            known["anonymous_lookup_denied"].as_bool().map(|denied| !denied)
        );
    }
}

#[test]
fn sam_reads_as_the_independent_decoder_and_a_stranger_read_it() {
    let Some(judges) = Judges::new() else { return };
    for name in SAMS {
        let hive = hive(name).unwrap();
        same_policy(&judges, &hive);
        same_users(&judges, &hive);
        let known = judges.decoded("groups", &hive);
        for (domain, member) in [(Domain::Builtin, "Builtin"), (Domain::Account, "Account")] {
            let aliases = groups::aliases(&hive, domain).unwrap();
            let rows = known[member]["aliases"].as_array().unwrap();
            assert_eq!(aliases.len(), rows.len());
            for alias in aliases {
                let row = rows.iter().find(|row| row["rid"] == alias.rid).unwrap();
                assert_eq!(
                    (alias.name.as_str(), alias.comment.as_str()),
                    (row["name"].as_str().unwrap(), row["comment"].as_str().unwrap())
                );
                let members: Vec<String> = alias.members.iter().map(Sid::to_string).collect();
                assert_eq!(serde_json::json!(members), row["members"], "{}", alias.name);
                let found = groups::members(&hive, alias.rid).unwrap().0.unwrap();
                assert_eq!(found, alias.members.iter().cloned().collect());
                for member in &alias.members {
                    assert!(groups::memberships(&hive, member).unwrap().contains(&alias.rid), "{member}");
                }
            }
        }
        let Some(said) = judges.stranger("samusrgrp", "-L", &hive) else { continue };
        for line in said.iter().filter(|line| line.contains(":S-1-")) {
            let (rid, member) = (line.split(':').next().unwrap(), line.rsplit(':').next().unwrap());
            let rid = u32::from_str_radix(rid, 16).unwrap();
            let members = groups::members(&hive, rid).unwrap().0.unwrap();
            assert!(members.iter().any(|sid| sid.to_string() == member), "{line}");
        }
        assert!(said.iter().filter(|line| line.contains(":S-1-")).count() > 5, "{said:?}");
    }
}

/// Compares the policy of a SAM hive with what the independent decoder reads.
#[track_caller]
fn same_policy(judges: &Judges, hive: &Hive) {
    let known = judges.decoded("account", hive);
    let properties = sids(&known["password_properties"]);
    let endless = |member: &str| known[member].as_u64().map_or(0, |number| u32::try_from(number).unwrap());
    for &field in Field::ALL {
        let expected = match field {
            Field::PasswordHistory => endless("password_history_length"),
            Field::MaximumPasswordAge => endless("maximum_password_age_days"),
            Field::MinimumPasswordAge => endless("minimum_password_age_days"),
            Field::MinimumPasswordLength => endless("minimum_password_length"),
            Field::PasswordComplexity => properties.contains("complexity").into(),
            Field::ReversibleEncryption => properties.contains("store-cleartext").into(),
            Field::LockoutDuration => endless("lockout_duration_minutes"),
            Field::LockoutThreshold => endless("lockout_threshold"),
            Field::LockoutWindow => endless("lockout_window_minutes"),
        };
        assert_eq!(account_policy::get(hive, field).unwrap().0.unwrap().number, expected, "{field:?}");
    }
    assert_eq!(sam::machine_sid(hive).unwrap().to_string(), known["machine_sid"].as_str().unwrap());
}

/// Compares the accounts of a SAM hive with what the independent decoder and a stranger read.
#[track_caller]
fn same_users(judges: &Judges, hive: &Hive) {
    let known = judges.decoded("users", hive);
    let rows = known["users"].as_array().unwrap();
    let accounts = accounts::accounts(hive).unwrap();
    assert_eq!(accounts.len(), rows.len());
    let said = judges.stranger("sampasswd", "-l", hive);
    let ripped = judges.ripped("samparse", hive);
    for (account, row) in accounts.iter().zip(rows) {
        assert_eq!(account.rid, u32::try_from(row["rid"].as_u64().unwrap()).unwrap());
        let texts = [&account.name, &account.full_name, &account.comment];
        assert_eq!(
            texts.map(String::as_str),
            ["name", "full_name", "comment"].map(|member| row[member].as_str().unwrap())
        );
        let flags = sids(&row["flags"]);
        assert_eq!(account.is(Flag::Enabled), !flags.contains("disabled"));
        assert_eq!(account.is(Flag::PasswordRequired), !flags.contains("password-not-required"));
        assert_eq!(account.is(Flag::PasswordExpires), !flags.contains("password-never-expires"));
        assert_eq!(account.fixed.is(Control::Locked), flags.contains("auto-locked"));
        assert_eq!(format!("{:#x}", account.fixed.control()), row["flags_raw"].as_str().unwrap());
        let set = account.fixed.password_last_set().map(|time| time.moment().unwrap().to_string());
        let theirs = row["password_last_set"].as_str();
        assert_eq!(set.is_some(), theirs.is_some());
        assert!(set.is_none_or(|set| theirs.unwrap().starts_with(set.trim_end_matches('Z'))));
        if let Some(ripped) = &ripped {
            let head = format!(" {} [{}]\n", account.name, account.rid);
            let block = ripped.split("Username").find(|block| block.contains(&head));
            let block = block.unwrap_or_else(|| panic!("{head}: {ripped}")).split("\n\n").next().unwrap();
            assert_eq!(account.is(Flag::Enabled), !block.contains("--> Account Disabled"), "{block}");
            assert_eq!(account.is(Flag::PasswordRequired), !block.contains("--> Password not required"), "{block}");
            assert_eq!(account.is(Flag::PasswordExpires), !block.contains("--> Password does not expire"), "{block}");
        }
        let Some(said) = &said else { continue };
        let line = said.iter().find(|line| line.starts_with(&format!("{:04x}:", account.rid)));
        let line: Vec<&str> = line.unwrap_or_else(|| panic!("{said:?}")).split(':').collect();
        let control = u32::from_str_radix(line[3], 16).unwrap();
        assert_eq!((line[1], control & 0x7fff), (account.name.as_str(), account.fixed.control() & 0x7fff));
    }
}

/// Compares the audit policy with what RegRipper reads, where it knows the layout and calls a subcategory as Windows does.
#[track_caller]
fn same_as_ripped(judges: &Judges, hive: &Hive) {
    let Some(said) = judges.ripped("auditpol", hive) else { return };
    let layout = AuditPolicy::decode(&value(hive, audit_policy::KEY, "")).unwrap().layout();
    let rows: BTreeMap<&str, &str> = said
        .lines()
        .filter_map(|line| line.split_once(':')?.1.trim_end().rsplit_once("  "))
        .map(|(name, flags)| (name.trim_end(), flags))
        .collect();
    let mut agreed = 0;
    for known in layout.subcategories() {
        // Its table looks for this one at the wrong place: it says N whatever is set.
        let Some(flags) = rows.get(known.name()).filter(|_| known.name() != "Other Account Logon Events") else {
            continue;
        };
        let ours = match audit_policy::get(hive, known.name()).unwrap().0.unwrap() {
            AuditFlags { success: true, failure: true } => "S/F",
            AuditFlags { success: true, failure: false } => "S",
            AuditFlags { success: false, failure: true } => "F",
            AuditFlags { success: false, failure: false } => "N",
        };
        assert_eq!(ours, *flags, "{}", known.name());
        agreed += 1;
    }
    assert!(agreed > 40 || layout != Layout::L59, "{agreed}: {said}");
}

#[test]
fn every_subcategory_is_set_to_everything_and_back() {
    let Some(judges) = Judges::new() else { return };
    for name in SECURITIES {
        let original = hive(name).unwrap();
        let before = value(&original, audit_policy::KEY, "");
        let layout = AuditPolicy::decode(&before).unwrap().layout();
        let mut hive = original.clone();
        for round in 0..4u8 {
            for (number, known) in layout.subcategories().enumerate() {
                let word = (round + u8::try_from(number).unwrap()) % 4;
                let to = AuditFlags { success: word & 1 != 0, failure: word & 2 != 0 };
                let old = audit_policy::get(&hive, known.name()).unwrap().0;
                let data = value(&hive, audit_policy::KEY, "");
                let done = audit_policy::set(&mut hive, &known.name().to_lowercase(), to, NOW).unwrap();
                assert_eq!((done.before, done.touched.is_empty()), (old, old == Some(to)));
                assert_eq!(audit_policy::get(&hive, known.name()).unwrap().0, Some(to));
                for (at, (new, old)) in value(&hive, audit_policy::KEY, "").iter().zip(&data).enumerate() {
                    assert!(new == old || at == 12 + 2 * number, "{} {at}", known.name());
                }
            }
            same_as_ripped(&judges, &hive);
            let theirs = judges.decoded("audit", &hive);
            for (known, row) in layout.subcategories().zip(theirs["subcategories"].as_array().unwrap()) {
                assert_eq!(words(audit_policy::get(&hive, known.name()).unwrap().0.unwrap()), row["setting"]);
            }
        }
        judges.sound(&hive);
        assert_eq!(changed(&original, &hive), BTreeSet::from([format!("{}!", audit_policy::KEY)]));
        for known in layout.subcategories() {
            let old = audit_policy::get(&original, known.name()).unwrap().0.unwrap();
            audit_policy::set(&mut hive, known.name(), old, NOW).unwrap();
        }
        assert_eq!(value(&hive, audit_policy::KEY, ""), before);
    }
}

#[test]
fn every_layout_that_is_known_is_written_so_that_the_independent_decoder_reads_it() {
    let Some(judges) = Judges::new() else { return };
    let mut random = Seeded(60);
    for layout in [Layout::L56, Layout::L57, Layout::L59, Layout::L60] {
        let mut hive = hive("regipy__SECURITY").unwrap();
        let words_count: u16 = layout.counts().iter().sum();
        let mut bytes = vec![0, 1, 0, 0, 9, 0, 0, 0];
        bytes.extend((u32::from(words_count) * 2 + 14).to_le_bytes());
        bytes.extend(vec![0; usize::from(words_count) * 2 + 2]);
        bytes.extend(layout.counts().iter().flat_map(|count| count.to_le_bytes()));
        hive.set_value(audit_policy::KEY, "", 0, &bytes, NOW).unwrap();
        for known in layout.subcategories() {
            let to = AuditFlags { success: random.below(2) == 1, failure: random.below(2) == 1 };
            audit_policy::set(&mut hive, known.name(), to, NOW).unwrap();
        }
        let theirs = judges.decoded("audit", &hive);
        assert_eq!(theirs["layout"], layout.to_string());
        for row in theirs["subcategories"].as_array().unwrap() {
            let flags = audit_policy::get(&hive, row["name"].as_str().unwrap()).unwrap().0.unwrap();
            assert_eq!(words(flags), row["setting"], "{layout} {row}");
        }
        for known in Subcategory::all() {
            let here = layout.subcategories().any(|other| other == known);
            let answer = audit_policy::set(&mut hive, known.name(), AuditFlags::default(), NOW);
            assert_eq!(answer.map_err(|error| code(&error)).is_ok(), here, "{layout} {}", known.name());
        }
    }
}

#[test]
fn every_field_of_the_policy_is_set_and_the_ties_between_them_hold() {
    let Some(judges) = Judges::new() else { return };
    for name in SAMS {
        let original = hive(name).unwrap();
        let before = value(&original, r"SAM\Domains\Account", "F");
        let mut hive = original.clone();
        // Each in an order in which no step alone contradicts another.
        let rounds: [[u32; 9]; 3] = [
            [24, 60, 1, 14, 1, 0, 15, 3, 15],
            [0, 0, 998, 0, 0, 1, 0, 999, 99_999],
            [1, 999, 0, 7, 1, 1, 99_999, 0, 1],
        ];
        for numbers in rounds {
            let fields: Vec<(Field, u32)> = Field::ALL.iter().copied().zip(numbers).collect();
            for (answer, (field, number)) in account_policy::set_all(&mut hive, &fields, NOW).into_iter().zip(&fields) {
                answer.unwrap_or_else(|error| panic!("{field:?} {number}: {error:?}"));
            }
            same_policy(&judges, &hive);
            for (field, number) in fields {
                assert_eq!(account_policy::get(&hive, field).unwrap().0.unwrap().number, number);
                assert!(account_policy::set(&mut hive, field, number, NOW).unwrap().touched.is_empty());
            }
        }
        judges.sound(&hive);
        assert_eq!(changed(&original, &hive), BTreeSet::from([r"SAM\Domains\Account!F".to_owned()]));
        let back: Vec<(Field, u32)> = Field::ALL
            .iter()
            .map(|field| (*field, account_policy::get(&original, *field).unwrap().0.unwrap().number))
            .collect();
        for answer in account_policy::set_all(&mut hive, &back, NOW) {
            answer.unwrap();
        }
        assert_eq!(value(&hive, r"SAM\Domains\Account", "F"), before);

        account_policy::set(&mut hive, Field::LockoutWindow, 10, NOW).unwrap();
        let error = account_policy::set(&mut hive, Field::LockoutDuration, 9, NOW).unwrap_err();
        assert_eq!(code(&error), "E-POLICY-RANGE");
        let answers = account_policy::set_all(
            &mut hive,
            &[(Field::LockoutDuration, 9), (Field::LockoutThreshold, 5), (Field::MinimumPasswordLength, 129)],
            NOW,
        );
        let answers: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|_| ()).map_err(code)).collect();
        assert_eq!(answers, [Err("E-POLICY-RANGE"), Ok(()), Err("E-POLICY-RANGE")]);
        assert_eq!(account_policy::get(&hive, Field::LockoutThreshold).unwrap().0.unwrap().number, 5);
    }
}

#[test]
fn every_right_is_given_to_others_and_given_back() {
    let Some(judges) = Judges::new() else { return };
    for name in SECURITIES {
        let original = hive(name).unwrap();
        let mut hive = original.clone();
        let administrators = Sid::new(5, &[32, 544]);
        let everyone = Sid::new(1, &[0]);
        let guests = Sid::new(5, &[32, 546]);
        let local = Sid::new(5, &[113]);
        let longest = Sid::new(5, &[4_294_967_295; 15]);
        let wanted = [
            BTreeSet::new(),
            BTreeSet::from([administrators.clone()]),
            BTreeSet::from([guests, local, longest, administrators, everyone]),
        ];
        for to in &wanted {
            for right in Right::all() {
                let old = user_rights::holders(&hive, right.name()).unwrap();
                let done = user_rights::set_holders(&mut hive, right.name(), to, NOW).unwrap();
                assert_eq!((done.touched.is_empty(), done.before), (old == *to, Some(old)));
                assert_eq!(user_rights::holders(&hive, right.name()).unwrap(), *to);
            }
            let theirs = judges.decoded("rights", &hive);
            let to: BTreeSet<String> = to.iter().map(Sid::to_string).collect();
            for right in Right::all() {
                assert_eq!(sids(&theirs["rights"][right.name()]), to, "{}", right.name());
            }
            judges.sound(&hive);
        }
        for right in Right::all() {
            let back = user_rights::holders(&original, right.name()).unwrap();
            user_rights::set_holders(&mut hive, right.name(), &back, NOW).unwrap();
        }
        judges.sound(&hive);
        assert_eq!(judges.decoded("rights", &hive)["rights"], judges.decoded("rights", &original)["rights"]);
        // Nothing outside of the accounts, and in them nothing but rights and new accounts.
        let places = changed(&original, &hive);
        assert!(
            !places.is_empty() && places.iter().all(|place| place.starts_with(r"Policy\Accounts\S-1-")),
            "{places:?}"
        );
        for place in places.iter().filter(|place| place.ends_with(r"\Sid!") || place.ends_with(r"\SecDesc!")) {
            assert!(
                ["S-1-5-32-546\\", "S-1-5-113\\", "S-1-5-4294967295-", "S-1-1-0\\"]
                    .iter()
                    .any(|new| place.contains(new)),
                "{place}"
            );
        }
    }
}

#[test]
fn a_right_that_is_given_and_taken_leaves_the_bytes_as_they_were() {
    for name in SECURITIES {
        let Some(original) = hive(name) else { return };
        for account in user_rights::accounts(&original).unwrap() {
            let mut hive = original.clone();
            for right in Right::all().iter().filter(|right| !account.holds(**right)) {
                let given = user_rights::grant(&mut hive, right.name(), &account.sid, NOW).unwrap();
                assert_eq!((given.before, given.touched.is_empty()), (Some(false), false));
                assert!(user_rights::grant(&mut hive, right.name(), &account.sid, NOW).unwrap().touched.is_empty());
                let taken = user_rights::revoke(&mut hive, right.name(), &account.sid, NOW).unwrap();
                assert_eq!((taken.before, taken.touched.is_empty()), (Some(true), false));
                assert!(user_rights::revoke(&mut hive, right.name(), &account.sid, NOW).unwrap().touched.is_empty());
            }
            let places = changed(&original, &hive);
            let empty = format!(r"Policy\Accounts\{}\ActSysAc!", account.sid);
            assert!(places.iter().all(|place| *place == empty), "{places:?}");
        }
    }
}

#[test]
fn an_account_that_is_made_looks_like_those_that_windows_made() {
    let Some(mut made) = hive("regipy__SECURITY") else { return };
    let sid = Sid::new(5, &[32, 546]);
    user_rights::grant(&mut made, "SeDenyNetworkLogonRight", &sid, NOW).unwrap();
    user_rights::grant(&mut made, "SeChangeNotifyPrivilege", &sid, NOW).unwrap();
    let shape = |path: &str| {
        let key = made.key(path).unwrap().unwrap();
        let children: Vec<String> = key.subkeys().unwrap().map(|child| child.unwrap().name().to_string()).collect();
        let values: Vec<(String, u32, usize)> = key
            .values()
            .unwrap()
            .map(|value| {
                let value = value.unwrap();
                (value.name().to_string(), value.kind(), value.data().unwrap().len())
            })
            .collect();
        (children, values, key.security().unwrap().to_vec(), key.class().unwrap())
    };
    let real = |child: &str| format!(r"Policy\Accounts\S-1-5-32-544{child}");
    let own = |child: &str| format!(r"Policy\Accounts\{sid}{child}");
    for child in ["", r"\ActSysAc", r"\SecDesc", r"\Sid"] {
        assert_eq!(shape(&own(child)), shape(&real(child)), "{child}");
    }
    assert_eq!(value(&made, &own(r"\SecDesc"), ""), value(&made, &real(r"\SecDesc"), ""));
    assert_eq!(value(&made, &own(r"\ActSysAc"), ""), [0x80, 0, 0, 0]);
    assert_eq!(value(&made, &own(r"\Privilgs"), "")[..12], [1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0]);
}

#[test]
fn rights_of_accounts_that_are_gone_are_told() {
    let (Some(mut security), Some(sam)) = (hive("dfwinreg__SECURITY"), hive("dfwinreg__SAM")) else { return };
    let machine = sam::machine_sid(&sam).unwrap();
    assert_eq!(lsa::machine_sid(&security).unwrap(), Some(machine.clone()));
    assert_eq!(user_rights::orphans(&security, &sam).unwrap(), BTreeSet::new());
    let parts: Vec<u32> = machine.to_string().split('-').skip(3).map(|part| part.parse().unwrap()).collect();
    let local = |rid: u32| Sid::new(5, &[&parts[..], &[rid]].concat());
    for sid in [local(1001), local(1000), local(4711), Sid::new(5, &[21, 9, 9, 9, 4711]), Sid::new(5, &[32, 9999])] {
        user_rights::grant(&mut security, "SeBatchLogonRight", &sid, NOW).unwrap();
    }
    assert_eq!(user_rights::orphans(&security, &sam).unwrap(), BTreeSet::from([local(4711)]));
}

#[test]
fn accounts_that_are_not_as_windows_writes_them_are_refused() {
    let Some(good) = hive("regipy__SECURITY") else { return };
    let own = |child: &str| format!(r"Policy\Accounts\S-1-5-32-544{child}");
    let refused = |spoil: &dyn Fn(&mut Hive)| {
        let mut hive = good.clone();
        spoil(&mut hive);
        let before = hive.bytes().to_vec();
        let error = user_rights::holders(&hive, "SeDebugPrivilege").unwrap_err();
        let none = BTreeSet::new();
        assert!(user_rights::set_holders(&mut hive, "SeDebugPrivilege", &none, NOW).is_err());
        assert!(hive.bytes() == before, "a refusal changes nothing");
        code(&error)
    };
    let set = |key: String, kind: u32, data: Vec<u8>| {
        move |hive: &mut Hive| drop(hive.set_value(&key, "", kind, &data, NOW).unwrap())
    };
    assert_eq!(refused(&set(own(""), 4, vec![])), "E-LSA-ACCOUNT");
    assert_eq!(refused(&set(own(""), 3, vec![1])), "E-LSA-ACCOUNT");
    assert_eq!(refused(&set(own(r"\Sid"), 0, Sid::new(5, &[32, 545]).to_bytes())), "E-LSA-ACCOUNT");
    assert_eq!(refused(&set(own(r"\Sid"), 0, vec![1; 9])), "E-LSA-ACCOUNT");
    assert_eq!(refused(&set(own(r"\ActSysAc"), 0, vec![1; 5])), "E-LSA-ACCOUNT");
    assert_eq!(refused(&set(own(r"\ActSysAc"), 3, vec![1; 4])), "E-LSA-ACCOUNT");
    assert_eq!(refused(&set(own(r"\Privilgs"), 0, vec![1; 21])), "E-LSA-ACCOUNT");
    assert_eq!(
        refused(&|hive| drop(hive.set_value(&own(r"\Privilgs"), "more", 3, &[1], NOW).unwrap())),
        "E-LSA-ACCOUNT"
    );
    assert_eq!(refused(&|hive| drop(hive.create_key(&own(r"\Privilgs\More"), NOW).unwrap())), "E-LSA-ACCOUNT");
    assert_eq!(refused(&|hive| drop(hive.create_key(r"Policy\Accounts\Somebody", NOW).unwrap())), "E-LSA-ACCOUNT");
    assert_eq!(refused(&|hive| drop(hive.delete_tree(r"Policy\Accounts", NOW).unwrap())), "E-POLICY-MISSING");
    let unknown = user_rights::holders(&good, "SeUnsolicitedInputPrivilege").unwrap_err();
    assert_eq!(code(&unknown), "E-RIGHT-UNKNOWN");
    // What is unknown and does not matter is kept.
    let mut hive = good.clone();
    hive.set_value(&own(r"\QuotaLimits"), "", 0, &[5; 48], NOW).unwrap();
    hive.set_value(&own(r"\ActSysAc"), "", 0, &0xffff_f407u32.to_le_bytes(), NOW).unwrap();
    user_rights::set_holders(&mut hive, "SeNetworkLogonRight", &BTreeSet::new(), NOW).unwrap();
    assert_eq!(value(&hive, &own(r"\QuotaLimits"), ""), [5; 48]);
    assert_eq!(value(&hive, &own(r"\ActSysAc"), ""), 0xffff_f405u32.to_le_bytes());
}

#[test]
fn anonymous_translation_is_switched_on_and_off_without_a_trace() {
    let Some(judges) = Judges::new() else { return };
    for name in SECURITIES {
        let mut hive = hive(name).unwrap();
        let before = value(&hive, r"Policy\SecDesc", "");
        for (allow, unchanged) in [(false, true), (true, false), (true, true), (false, false)] {
            let done = lsa::set_anonymous_names(&mut hive, allow, NOW).unwrap();
            assert_eq!((done.before, done.touched.is_empty()), (Some(allow == unchanged), unchanged));
            assert_eq!(lsa::anonymous_names(&hive).unwrap().0, Some(allow));
            let theirs = judges.decoded("lsa", &hive);
            assert_eq!(
                (&theirs["anonymous_lookup_denied"], &theirs["deny_ace_first"]),
                (&(!allow).into(), &(!allow).into())
            );
            judges.sound(&hive);
        }
        assert_eq!(value(&hive, r"Policy\SecDesc", ""), before);
    }
}

#[test]
fn every_flag_of_every_account_is_set_and_set_back() {
    let Some(judges) = Judges::new() else { return };
    for name in SAMS {
        let original = hive(name).unwrap();
        let mut hive = original.clone();
        let flags = [Flag::Enabled, Flag::PasswordRequired, Flag::PasswordExpires];
        for to in [true, false, true] {
            for account in accounts::accounts(&original).unwrap() {
                for flag in flags {
                    let before = accounts::flag(&hive, account.rid, flag).unwrap().0;
                    let done = accounts::set_flag(&mut hive, account.rid, flag, to, NOW).unwrap();
                    assert_eq!((done.before, done.touched.is_empty()), (before, before == Some(to)));
                    assert_eq!(accounts::flag(&hive, account.rid, flag).unwrap().0, Some(to));
                }
            }
            same_users(&judges, &hive);
        }
        judges.sound(&hive);
        let places = changed(&original, &hive);
        assert!(
            !places.is_empty() && places.iter().all(|place| place.ends_with("!F") && place.contains(r"\Users\")),
            "{places:?}"
        );
        for account in accounts::accounts(&original).unwrap() {
            for flag in flags {
                accounts::set_flag(&mut hive, account.rid, flag, account.is(flag), NOW).unwrap();
            }
        }
        assert_eq!(changed(&original, &hive), BTreeSet::new());
        let error = accounts::set_flag(&mut hive, 4711, Flag::Enabled, false, NOW).unwrap_err();
        assert_eq!((code(&error), accounts::flag(&hive, 4711, Flag::Enabled).unwrap()), ("E-NO-ACCOUNT", (None, None)));
    }
}

#[test]
fn a_renamed_account_is_found_by_everybody_and_gets_its_name_back() {
    let Some(judges) = Judges::new() else { return };
    for name in SAMS {
        let original = hive(name).unwrap();
        let members = judges.decoded("groups", &original);
        let mut hive = original.clone();
        for (rid, names) in [
            (500, ["X_Admin", "x_ADMIN", "Жуковский", "a", "Administrador de red", "Administrator"]),
            (501, ["Visitor", "Gast", "12345678901234567890", "guest", "ÄÖÜ\u{1F600}", "Guest"]),
        ] {
            for (number, to) in names.into_iter().enumerate() {
                let before = accounts::name(&hive, rid).unwrap().0;
                let done = accounts::rename(&mut hive, rid, to, NOW).unwrap();
                assert_eq!((done.before, done.touched.is_empty()), (before, false));
                assert_eq!(accounts::name(&hive, rid).unwrap().0.as_deref(), Some(to));
                assert!(accounts::rename(&mut hive, rid, to, NOW).unwrap().touched.is_empty());
                // Others take their time: they see every name in one hive, and the last one in each.
                if name != SAMS[0] && number + 1 < names.len() {
                    continue;
                }
                let row = judges.decoded("users", &hive);
                let row = row["users"].as_array().unwrap().iter().find(|row| row["rid"] == rid).unwrap().clone();
                assert_eq!(row["name"], to);
                if to.is_ascii() {
                    same_users(&judges, &hive);
                }
                judges.sound(&hive);
            }
        }
        assert_eq!(judges.decoded("groups", &hive)["Builtin"], members["Builtin"]);
        // All that can differ is what filled the name up to four bytes.
        let places = changed(&original, &hive);
        assert!(places.iter().all(|place| place.ends_with("!V")), "{places:?}");
        for (key, name) in places.iter().map(|place| place.split_once('!').unwrap()) {
            let (old, new) = (value(&original, key, name), value(&hive, key, name));
            let differing = old.iter().zip(&new).filter(|(old, new)| old != new).count();
            assert!(old.len() == new.len() && differing <= 2, "{key}");
        }
    }
}

#[test]
fn a_name_that_is_taken_forbidden_or_contradicted_is_refused() {
    let Some(good) = hive("velociraptor__SAM") else { return };
    let refused = |hive: &Hive, rid: u32, to: &str| {
        let mut hive = hive.clone();
        let before = (hive.bytes().to_vec(), hive.touched());
        let error = accounts::rename(&mut hive, rid, to, NOW).unwrap_err();
        assert!((hive.bytes(), hive.touched()) == (&before.0, before.1), "a refusal changes nothing");
        code(&error)
    };
    for name in ["test", "TEST", "Guest", "administrators", "None", "Device Owners"] {
        assert_eq!(refused(&good, 500, name), "E-ACCOUNT-NAME-TAKEN", "{name}");
    }
    for name in ["", "a/b", "a\\b", ".", "123456789012345678901"] {
        assert_eq!(refused(&good, 500, name), "E-ACCOUNT-NAME", "{name}");
    }
    assert_eq!(refused(&good, 4711, "Nobody"), "E-NO-ACCOUNT");
    let names = r"SAM\Domains\Account\Users\Names";
    let spoiled = |spoil: &dyn Fn(&mut Hive)| {
        let mut hive = good.clone();
        spoil(&mut hive);
        refused(&hive, 500, "X_Admin")
    };
    let set = |key: &str, kind: u32, data: &'static [u8]| {
        let key = format!(r"{names}\{key}");
        move |hive: &mut Hive| drop(hive.set_value(&key, "", kind, data, NOW).unwrap())
    };
    assert_eq!(spoiled(&set("Second", 500, &[])), "E-SAM-INDEX");
    assert_eq!(spoiled(&set("Administrator", 499, &[])), "E-SAM-INDEX");
    assert_eq!(spoiled(&set("Guest", 501, &[1])), "E-SAM-INDEX");
    assert_eq!(spoiled(&|hive| drop(hive.create_key(&format!(r"{names}\Empty"), NOW).unwrap())), "E-SAM-INDEX");
    assert_eq!(spoiled(&|hive| drop(hive.create_key(&format!(r"{names}\Guest\Sub"), NOW).unwrap())), "E-SAM-INDEX");
    assert_eq!(spoiled(&|hive| drop(hive.delete_key(&format!(r"{names}\Administrator"), NOW).unwrap())), "E-SAM-INDEX");
    let own = r"SAM\Domains\Account\Users\000001F4";
    let spoil = |name: &'static str, change: &'static dyn Fn(&mut Vec<u8>)| {
        move |hive: &mut Hive| {
            let mut data = value(hive, own, name);
            change(&mut data);
            hive.set_value(own, name, 3, &data, NOW).unwrap();
        }
    };
    assert_eq!(spoiled(&spoil("F", &|data| data[0x30] ^= 1)), "E-SAM-USER");
    assert_eq!(spoiled(&spoil("F", &|data| data.truncate(79))), "E-SAM-USER");
    assert_eq!(spoiled(&spoil("V", &|data| data[24] ^= 4)), "E-SAM-USER");
    assert_eq!(spoiled(&spoil("V", &|data| data.truncate(300))), "E-SAM-USER");
    assert_eq!(spoiled(&spoil("V", &|data| data[16] -= 1)), "E-SAM-USER");
}

#[test]
fn a_full_hive_grows_for_a_name_and_for_rights() {
    let Some(mut security) = hive("regipy__SECURITY") else { return };
    let Some(mut sam) = hive("velociraptor__SAM") else { return };
    let (security_len, sam_len) = (security.bytes().len(), sam.bytes().len());
    for number in 0..400 {
        user_rights::grant(&mut security, "SeDebugPrivilege", &Sid::new(5, &[21, 1, 2, 3, number]), NOW).unwrap();
    }
    // Until neither a large nor a small value finds room.
    for length in [900, 16] {
        let full = (0..4000)
            .any(|number| sam.set_value("Filler", &format!("{length}-{number}"), 3, &vec![1; length], NOW).is_err());
        assert!(full);
    }
    accounts::rename(&mut sam, 500, "A rather longer name", NOW).unwrap();
    assert!(security.bytes().len() > security_len && sam.bytes().len() > sam_len);
    assert_eq!(user_rights::holders(&security, "SeDebugPrivilege").unwrap().len(), 401);
    if let Some(judges) = Judges::new() {
        judges.sound(&security);
        judges.sound(&sam);
        assert_eq!(judges.decoded("rights", &security)["rights"]["SeDebugPrivilege"].as_array().unwrap().len(), 401);
        judges.decoded("users", &sam);
    }
}

#[test]
fn no_damage_of_a_value_makes_a_reader_panic_or_a_writer_change_another_value() {
    let (Some(security), Some(sam)) = (hive("regipy__SECURITY"), hive("velociraptor__SAM")) else { return };
    let mut random = Seeded(4711);
    let places = [
        (&security, audit_policy::KEY, "", 0),
        (&security, r"Policy\SecDesc", "", 0),
        (&security, r"Policy\PolAcDmS", "", 0),
        (&security, r"Policy\PolPrDmN", "", 0),
        (&security, r"Policy\Accounts\S-1-5-32-544\Privilgs", "", 0),
        (&security, r"Policy\Accounts\S-1-5-32-544\Sid", "", 0),
        (&sam, r"SAM\Domains\Account", "F", 3),
        (&sam, r"SAM\Domains\Account", "V", 3),
        (&sam, r"SAM\Domains\Account\Users\000001F4", "F", 3),
        (&sam, r"SAM\Domains\Account\Users\000001F4", "V", 3),
        (&sam, r"SAM\Domains\Builtin\Aliases\00000220", "C", 3),
    ];
    for (good, key, name, kind) in places {
        let whole = value(good, key, name);
        for round in 0..120 {
            let mut data = whole.clone();
            if round % 3 == 0 {
                data.truncate(random.below(whole.len() as u64) as usize);
            }
            for _ in 0..random.below(3) {
                if !data.is_empty() {
                    let at = random.below(data.len() as u64) as usize;
                    data[at] = random.next() as u8;
                }
            }
            let mut hive = good.clone();
            hive.set_value(key, name, kind, &data, NOW).unwrap();
            let _ = (sam::machine_sid(&hive), accounts::accounts(&hive), groups::aliases(&hive, Domain::Builtin));
            let _ = (user_rights::orphans(&hive, &sam), lsa::primary_domain(&hive), lsa::machine_sid(&hive));
            let damaged = hive.clone();
            let administrators = Sid::new(5, &[32, 544]);
            let writes = [
                account_policy::set(&mut hive, Field::LockoutThreshold, 3, NOW).is_ok(),
                accounts::set_flag(&mut hive, 500, Flag::Enabled, true, NOW).is_ok(),
                accounts::rename(&mut hive, 500, "X_Admin", NOW).is_ok(),
                audit_policy::set(&mut hive, "Logon", AuditFlags::default(), NOW).is_ok(),
                lsa::set_anonymous_names(&mut hive, true, NOW).is_ok(),
                user_rights::revoke(&mut hive, "SeDebugPrivilege", &administrators, NOW).is_ok(),
            ];
            let most = if std::ptr::eq(good, &raw const sam) { 5 } else { 3 };
            assert!(changed(&damaged, &hive).len() <= most, "{key} {writes:?}");
            assert!(hive.verify().iter().all(|finding| finding.severity != coldforge_regf::Severity::Error));
        }
    }
}

#[test]
fn a_hive_of_another_kind_answers_that_nothing_is_there() {
    let (Some(mut security), Some(mut sam)) = (hive("regipy__SECURITY"), hive("velociraptor__SAM")) else { return };
    assert_eq!(audit_policy::get(&sam, "Logon").unwrap(), (None, None));
    assert_eq!(account_policy::get(&security, Field::LockoutThreshold).unwrap(), (None, None));
    assert_eq!(lsa::anonymous_names(&sam).unwrap(), (None, None));
    assert_eq!(groups::members(&security, 544).unwrap(), (None, None));
    let errors = [
        audit_policy::set(&mut sam, "Logon", AuditFlags::default(), NOW).unwrap_err(),
        account_policy::set(&mut security, Field::LockoutThreshold, 3, NOW).unwrap_err(),
        lsa::set_anonymous_names(&mut sam, false, NOW).unwrap_err(),
        accounts::accounts(&security).unwrap_err(),
        sam::machine_sid(&security).unwrap_err(),
        user_rights::accounts(&sam).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| code(error) == "E-POLICY-MISSING"), "{errors:?}");
    assert_eq!(code(&audit_policy::get(&security, "No Such Thing").unwrap_err()), "E-AUDIT-SUBCATEGORY");
}

#[test]
fn a_rule_on_a_subcategory_that_this_windows_does_not_have_is_not_reviewed_and_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    // The subcategories that each release lacks, as rules of Windows Server 2022 ask for them.
    for (layout, lacking) in [
        (Layout::L56, &["Plug and Play Events", "Group Membership"][..]),
        (Layout::L57, &["Group Membership"]),
        (Layout::L59, &[]),
    ] {
        let words = layout.subcategories().count();
        let trailer = u32::try_from(12 + 2 * words + 2).unwrap();
        let mut policy: Vec<u8> = [0x0100, 9, trailer].into_iter().flat_map(u32::to_le_bytes).collect();
        policy.resize(12 + 2 * words + 2, 0);
        policy.extend(layout.counts().into_iter().flat_map(u16::to_le_bytes));
        let image = support::copy_of("ws2022.vhd", home.path());
        let set = ["reg", "set", text(&image), r"HKLM\SECURITY\Policy\PolAdtEv", "@"];
        let digits: String = policy.iter().map(|byte| format!("{byte:02x}")).collect();
        support::coldforge([&set[..], &[&digits, "--type", "REG_NONE"]].concat()).expect(0);
        let out = home.path().join("out");
        support::coldforge(["harden", text(&image), "-o", text(&out), "--fail-on", "none"]).expect(0);
        support::coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
        let assessment: Json =
            serde_json::from_slice(&std::fs::read(out.join("reports/assessment.json")).unwrap()).unwrap();
        let audited = assessment["findings"].as_array().unwrap().iter().filter(|one| one["kind"] == "audit_policy");
        let mut passed = 0;
        for finding in audited {
            let is_lacking = lacking.iter().any(|name| finding["setting"].to_string().contains(name));
            if !is_lacking {
                passed += usize::from(finding["status"] == "pass");
                continue;
            }
            let reason = finding["reason"].as_str().unwrap_or_default();
            assert_eq!(finding["status"], "not_reviewed", "{layout}: {finding:#}");
            assert!(reason.contains("subcategories") && reason.contains("is not one of them"), "{layout}: {reason}");
        }
        assert!(passed > 20, "{layout}: {passed}");
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::remove_file(&image).unwrap();
    }
}

/// Returns one step of every kind, in an order in which some would be refused if each was taken by itself.
fn every_kind() -> Vec<(Setting, Option<Value>)> {
    let sids = |sids: &[Sid]| Value::Sids(sids.iter().cloned().collect());
    let field = |field, number| (Setting::AccountPolicy { field }, Some(Value::Number(number)));
    let right = |right: &str, to| (Setting::UserRight { right: right.into() }, Some(to));
    let account = |rid, property, to| (Setting::Account { rid: Some(rid), property }, Some(to));
    let audit = |subcategory: &str, success, failure| {
        let to = Value::Audit(AuditFlags { success, failure });
        (Setting::AuditPolicy { subcategory: subcategory.into() }, Some(to))
    };
    let option = SecurityOption::AnonymousNameTranslation;
    vec![
        field(Field::LockoutWindow, 45),
        field(Field::LockoutDuration, 60),
        field(Field::LockoutThreshold, 3),
        field(Field::MinimumPasswordAge, 50),
        field(Field::MaximumPasswordAge, 60),
        field(Field::MinimumPasswordLength, 14),
        field(Field::PasswordHistory, 24),
        field(Field::PasswordComplexity, 1),
        field(Field::ReversibleEncryption, 1),
        audit("Credential Validation", true, true),
        audit("Process Creation", true, false),
        audit("Logon", false, true),
        audit("Group Membership", true, false),
        right("SeDebugPrivilege", sids(&[])),
        right("SeBackupPrivilege", sids(&[Sid::new(5, &[32, 544])])),
        right("SeDenyNetworkLogonRight", sids(&[Sid::new(5, &[32, 546]), Sid::new(5, &[113])])),
        account(500, AccountProperty::Name, Value::Text("X_Admin".into())),
        account(501, AccountProperty::Name, Value::Text("Visitor".into())),
        account(500, AccountProperty::Enabled, Value::Flag(true)),
        account(501, AccountProperty::Enabled, Value::Flag(true)),
        account(501, AccountProperty::PasswordRequired, Value::Flag(true)),
        account(501, AccountProperty::PasswordExpires, Value::Flag(true)),
        (Setting::SecurityOption { option }, Some(Value::Flag(true))),
    ]
}

/// Sets every kind of setting on an image and reads it back: through a fresh machine, and by the judges.
fn set_all_and_read_back(image: &Path) {
    let opening = OpenOptions {
        now: Moment(1_767_225_600).filetime(),
        accept: Accept { dirty: true, refcounts: false },
        ..OpenOptions::default()
    };
    let image = Image::open(image, None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), opening).unwrap();
    let steps = every_kind();
    let answers = machine.set_all(&steps);
    let mut changes = Vec::new();
    for (answer, (setting, to)) in answers.into_iter().zip(&steps) {
        let error = |error| panic!("{setting}: {:?}", std::error::Error::source(&error));
        let Some(change) = answer.unwrap_or_else(error) else { continue };
        assert_eq!((&change.setting, &change.after, change.before == *to), (setting, to, false));
        assert!(!change.touched.is_empty() && !machine.extents(&change).unwrap().is_empty());
        changes.push(change);
    }
    assert!(changes.len() > 15, "{changes:?}");
    let refusals: [(Setting, Option<Value>, &str); 6] = [
        (Setting::AccountPolicy { field: Field::LockoutWindow }, Some(Value::Number(61)), "E-POLICY-RANGE"),
        (Setting::AccountPolicy { field: Field::LockoutWindow }, Some(Value::Flag(true)), "E-SETTING-UNSUPPORTED"),
        (Setting::AuditPolicy { subcategory: "Logon".into() }, None, "E-POLICY-RANGE"),
        (Setting::GroupMembers { rid: 544 }, Some(Value::Sids(BTreeSet::new())), "E-SETTING-READ-ONLY"),
        (
            Setting::Account { rid: None, property: AccountProperty::Enabled },
            Some(Value::Flag(true)),
            "E-SETTING-UNSUPPORTED",
        ),
        (Setting::UserRight { right: "SeNoPrivilege".into() }, Some(Value::Sids(BTreeSet::new())), "E-RIGHT-UNKNOWN"),
    ];
    for (setting, to, expected) in refusals {
        let error = machine.set(&setting, to.as_ref()).unwrap_err();
        assert_eq!((error.code(), error.hint().is_some()), (Some(expected), true), "{setting}");
    }
    let written = machine.commit().unwrap();
    for name in ["SAM", "SECURITY"] {
        assert!(written.iter().any(|file| file.file.ends_with(&format!(r"\config\{name}"))), "{name}");
    }
    let disk = machine.into_device();
    let mut again = Machine::open(Overlay::new(&disk), opening).unwrap();
    for (setting, to) in &steps {
        assert_eq!(again.get(setting).unwrap().value, *to, "{setting}");
        assert!(again.get(setting).unwrap().file.contains("config"));
    }
    let administrators = again.get(&Setting::GroupMembers { rid: 544 }).unwrap().value;
    assert!(matches!(administrators, Some(Value::Sids(sids)) if !sids.is_empty()));
    let enabled = again.places(&Setting::Account { rid: None, property: AccountProperty::PasswordExpires });
    let has = |rid| enabled.contains(&Setting::Account { rid: Some(rid), property: AccountProperty::PasswordExpires });
    assert!(has(500) && has(501) && !has(504), "{enabled:?}");
    for name in ["SAM", "SECURITY"] {
        let bytes = again.read_file(&format!(r"\Windows\System32\config\{name}")).unwrap().unwrap();
        let hive = Hive::parse(bytes).unwrap();
        let Some(judges) = Judges::new() else { continue };
        judges.sound(&hive);
        if name == "SAM" {
            same_policy(&judges, &hive);
            same_users(&judges, &hive);
            let known = judges.decoded("account", &hive);
            assert_eq!(
                (&known["lockout_duration_minutes"], &known["minimum_password_age_days"]),
                (&60.into(), &50.into())
            );
        } else {
            let rights = &judges.decoded("rights", &hive)["rights"];
            assert_eq!(rights["SeDebugPrivilege"], serde_json::json!([]));
            assert_eq!(
                sids(&rights["SeDenyNetworkLogonRight"]),
                ["S-1-5-113", "S-1-5-32-546"].map(str::to_owned).into()
            );
            assert_eq!(judges.decoded("lsa", &hive)["anonymous_lookup_denied"], false);
            let audit = judges.decoded("audit", &hive);
            let row = |name: &str| {
                audit["subcategories"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["setting"]
                    .clone()
            };
            assert_eq!(
                [row("Credential Validation"), row("Process Creation"), row("Logon")],
                ["both", "success", "failure"]
            );
        }
    }
    assert!(again.set_all(&steps).into_iter().all(|answer| answer.unwrap().is_none()), "all of it is so already");
    assert_eq!(again.commit().unwrap(), []);
}

#[test]
fn every_kind_is_set_on_an_image_and_read_back() {
    set_all_and_read_back(&fixture("ws2022.vhd"));
}

#[test]
fn every_kind_is_set_on_an_image_around_real_hives_and_read_back() {
    let home = tempfile::tempdir().unwrap();
    let Some(image) = real_image(home.path(), "real.raw", &["--os", "ws2022", "--size", "1G"]) else { return };
    set_all_and_read_back(&image.path);
}

#[test]
fn a_view_answers_what_a_machine_answers() {
    let opening = OpenOptions::default();
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let machine = Machine::open(Overlay::new(&image), opening).unwrap();
    let read_only = ReadOnlyMachine::open(Image::open(&fixture("ws2022.vhd"), None).unwrap(), opening).unwrap();
    let rights = Right::all().iter().map(|right| Setting::UserRight { right: right.name().into() });
    let audit = Subcategory::all().iter().map(|known| Setting::AuditPolicy { subcategory: known.name().into() });
    let fields = Field::ALL.iter().map(|field| Setting::AccountPolicy { field: *field });
    let groups = [544, 545, 4711].map(|rid| Setting::GroupMembers { rid });
    let accounts = AccountProperty::ALL
        .iter()
        .flat_map(|property| [None, Some(500), Some(4711)].map(|rid| Setting::Account { rid, property: *property }));
    let mut asked = 0;
    for setting in rights.chain(audit).chain(fields).chain(groups).chain(accounts) {
        assert_eq!(machine.places(&setting), read_only.places(&setting));
        for place in machine.places(&setting) {
            asked += 1;
            // A subcategory of another release is an error, the same for both.
            let [own, other] = [machine.get(&place), read_only.get(&place)];
            let said = |error: SettingError| format!("{error}: {}", error.source);
            assert_eq!(own.map_err(said), other.map_err(said), "{place}");
        }
    }
    assert!(asked > 110 && !read_only.met_damage(), "{asked}");
}
