//! Rules made of what group policy and registry files set.
//!
//! These files name values, not demands: each entry becomes a rule that its setting has exactly this value, of medium
//! severity because they tell none. The rule's id is the policy's name and the setting, and stays the same as long as
//! both do. An entry without a twin on a powered-off machine becomes a rule that is not reviewed.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Fault;
use crate::formats::audit_csv::{AuditCsv, Subcategory};
use crate::formats::reg_file::Section;
use crate::formats::registry_pol::{Effect, RegistryPol};
use crate::formats::security_template::{self, Named, SecurityTemplate};
use crate::policy::catalog::Catalog;
use crate::policy::principal::Principal;
use crate::policy::require::Requirement;
use crate::policy::rule::{Check, Remedy, Rule, RuleKind, RuleScope, Severity};
use crate::windows::setting::{
    AccountPolicyField as Field, AccountProperty, AuditFlags, Data, Form, SecurityOption, Setting, Value, ValueType,
};
use coldforge_base::digest::Digest;
use coldforge_base::utf16;

/// A baseline has some hundred entries; each is compared with all others of its file.
const MOST_ENTRIES: usize = 5_000;
/// Rules of all files together.
const MOST_RULES: usize = 20_000;
const LONGEST_TITLE: usize = 200;
/// The day of a policy that tells none.
const NO_DAY: &str = "1970-01-01";

const ADMINISTRATOR: u32 = 500;
const GUEST: u32 = 501;

/// The roots of keys as `.reg` files write them, and where they lie.
const ROOTS: [(&str, &str); 5] = [
    ("HKEY_LOCAL_MACHINE", "HKLM"),
    ("HKEY_CURRENT_USER", "HKCU"),
    ("HKEY_USERS", "HKU"),
    ("HKEY_CLASSES_ROOT", r"HKLM\SOFTWARE\Classes"),
    ("HKCR", r"HKLM\SOFTWARE\Classes"),
];

/// Where the settings of rules lie.
const REACHED: [&str; 4] = [r"HKLM\SOFTWARE\", r"HKLM\SYSTEM\", r"HKCU\", r"HKU\.DEFAULT\"];

/// Fields of the account policy as templates name them.
const FIELDS: [(&str, Field); 9] = [
    ("PasswordHistorySize", Field::PasswordHistory),
    ("MaximumPasswordAge", Field::MaximumPasswordAge),
    ("MinimumPasswordAge", Field::MinimumPasswordAge),
    ("MinimumPasswordLength", Field::MinimumPasswordLength),
    ("PasswordComplexity", Field::PasswordComplexity),
    ("ClearTextPassword", Field::ReversibleEncryption),
    ("LockoutDuration", Field::LockoutDuration),
    ("LockoutBadCount", Field::LockoutThreshold),
    ("ResetLockoutCount", Field::LockoutWindow),
];

/// A catalog in the making.
#[derive(Debug)]
pub(super) struct Import {
    id: String,
    /// What the ids of the rules begin with.
    pub(super) prefix: String,
    day: Option<String>,
    rules: Vec<Rule>,
    ids: BTreeMap<String, usize>,
}

impl Import {
    pub(super) fn new(name: &str) -> Self {
        Self { id: name.to_owned(), prefix: name.to_owned(), day: None, rules: Vec::new(), ids: BTreeMap::new() }
    }

    /// Takes the day of the policy, if it is one and none was later.
    pub(super) fn dated(&mut self, day: &str) {
        let is_day = day.len() == 10
            && day.bytes().enumerate().all(|(at, c)| if at == 4 || at == 7 { c == b'-' } else { c.is_ascii_digit() });
        if is_day && self.day.as_deref().is_none_or(|known| known < day) {
            self.day = Some(day.to_owned());
        }
    }

    /// Returns the catalog.
    pub(super) fn into_catalog(self) -> Result<Catalog, Fault> {
        if self.rules.len() > MOST_RULES {
            return Err(Fault::TooMany { limit: MOST_RULES });
        }
        let made = catalog(&self.id, &format!("Policy {}", self.id), self.rules);
        Ok(Catalog { date: self.day.unwrap_or(made.date), ..made })
    }

    /// Adds a rule, unless the same one is there already.
    fn add(&mut self, name: &str, checks: Vec<Check>) {
        let said = |check: &Check| format!("{} is {}", check.setting, check.require);
        let title: String = checks.first().map(said).unwrap_or_default().chars().take(LONGEST_TITLE).collect();
        let rule = identified(&self.id, &format!("{}:{name}", self.prefix), title, checks);
        self.push(rule);
    }

    /// Adds a rule that is not reviewed.
    pub(super) fn unread(&mut self, name: &str, title: &str, reason: &str) {
        let title = title.chars().take(LONGEST_TITLE).collect();
        let rule = identified(&self.id, &format!("{}:{name}", self.prefix), title, Vec::new());
        self.push(Rule { not_reviewed: Some(reason.to_owned()), ..rule });
    }

    fn push(&mut self, rule: Rule) {
        let key = rule.stig_id.to_uppercase();
        let count = self.ids.get(&key).copied().unwrap_or_default();
        if count == 0 {
            self.ids.insert(key, 1);
            self.rules.push(rule);
            return;
        }
        let said = |rule: &Rule| (rule.checks.clone(), rule.not_reviewed.clone());
        let same =
            |known: &&Rule| known.stig_id.split('#').next().is_some_and(|id| id.eq_ignore_ascii_case(&rule.stig_id));
        if self.rules.iter().filter(same).any(|known| said(known) == said(&rule)) {
            return;
        }
        let count = count.saturating_add(1);
        self.ids.insert(key, count);
        let id = format!("{}#{count}", rule.stig_id);
        self.rules.push(Rule { not_reviewed: rule.not_reviewed, ..identified(&self.id, &id, rule.title, rule.checks) });
    }

    /// Adds the entries of a `Registry.pol`, those that stand at the end: of two for one value the later counts.
    pub(super) fn registry_pol(&mut self, path: &str, pol: &RegistryPol, is_users: bool) -> Result<(), Fault> {
        if let Some(broken) = pol.broken() {
            return Err(Fault::pol(path, broken.clone()));
        }
        bounded(pol.entries().len())?;
        let root = if is_users { "HKCU" } else { "HKLM" };
        for entry in pol.entries() {
            let key = format!(r"{root}\{}", entry.key);
            let order = entry.name.strip_prefix("**");
            let deleted = order
                .and_then(|order| order.get(..4).filter(|word| word.eq_ignore_ascii_case("del.")).and(order.get(4..)));
            let name = match (order, deleted) {
                (_, Some(deleted)) => deleted,
                (Some(_), None) => {
                    let reason = "an order about a whole key is not carried out offline";
                    self.unread(&format!(r"{key}\{}", entry.name), &format!("{key}: {}", entry.name), reason);
                    continue;
                }
                (None, None) if entry.name.is_empty() && entry.kind == 0 && entry.data.is_empty() => {
                    self.bare_key(&key);
                    continue;
                }
                (None, None) => &entry.name,
            };
            match pol.effect(&entry.key, name) {
                Effect::Sets(last) if std::ptr::eq(last, entry) => self.value(&key, name, entry.kind, &entry.data),
                Effect::Deletes(last) if std::ptr::eq(last, entry) => self.absent(&key, name),
                Effect::Unclear(order) => {
                    let reason = format!("the order {} in the same file may undo it", order.name);
                    self.unread(&format!(r"{key}\{name}"), &format!("{key}!{name}"), &reason);
                }
                // Something further down counts.
                Effect::Nothing | Effect::Sets(_) | Effect::Deletes(_) => {}
            }
        }
        Ok(())
    }

    /// Adds what a `.reg` file sets and deletes.
    pub(super) fn reg_file(&mut self, sections: &[Section]) {
        for (at, section) in sections.iter().take(MOST_RULES.saturating_add(1)).enumerate() {
            let key = rooted(&section.key);
            let goes = |later: &Section| {
                let gone = rooted(&later.key).to_uppercase();
                let rest = key.to_uppercase();
                later.delete && rest.strip_prefix(&gone).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
            };
            if !section.delete && sections.iter().skip(at + 1).any(goes) {
                let reason =
                    "the file deletes the key further down, and a key is not deleted with all that lies below it";
                self.unread(&key, &format!("{key} is set, and deleted"), reason);
                continue;
            }
            if section.delete {
                let reason = "a key is not deleted with all that lies below it";
                self.unread(&format!("-{key}"), &format!("{key} is deleted"), reason);
            } else if section.values.is_empty() {
                self.bare_key(&key);
            }
            for (name, content) in &section.values {
                match content {
                    Some((kind, data)) => self.value(&key, name, *kind, data),
                    None => self.absent(&key, name),
                }
            }
        }
    }

    /// Adds what an audit policy sets. Windows clears what its rows do not name; here that stays as it is.
    pub(super) fn audit_csv(&mut self, path: &str, csv: &AuditCsv) -> Result<(), Fault> {
        let failed = |source| Fault::csv(path, source);
        let settings = csv.settings().map_err(failed)?;
        bounded(settings.len())?;
        for (guid, audited) in settings {
            let Some(subcategory) = Subcategory::from_guid(guid) else {
                let reason = "no subcategory of the audit policy has this GUID";
                self.unread(&format!("audit:{guid}"), &format!("audit policy: {guid}"), reason);
                continue;
            };
            let subcategory = subcategory.name().to_owned();
            let flags = Value::Audit(AuditFlags { success: audited.success, failure: audited.failure });
            let name = format!("audit:{subcategory}");
            self.add(&name, vec![exactly(Setting::AuditPolicy { subcategory }, flags)]);
        }
        for (line, guid) in csv.unset().map_err(failed)? {
            let name = Subcategory::from_guid(guid).map_or_else(|| guid.to_string(), |known| known.name().to_owned());
            let reason = format!(
                "line {line} has the setting value 0, which group policy takes for \"not configured\"; 4 stands for No Auditing"
            );
            self.unread(&format!("audit:{name}"), &format!("audit policy: {name}"), &reason);
        }
        for (line, text) in csv.others().map_err(failed)? {
            let reason = "only what is audited of a subcategory for everybody is read";
            self.unread(&format!("audit:line-{line}"), text.trim(), reason);
        }
        Ok(())
    }

    /// Adds what a security template sets.
    pub(super) fn template(&mut self, path: &str, template: &SecurityTemplate) -> Result<(), Fault> {
        let failed = |source| Fault::template(path, source);
        for section in template.sections() {
            match section.to_ascii_lowercase().as_str() {
                // These describe the file.
                "unicode" | "version" | "profile description" => {}
                "system access" => {
                    for named in template.system_access().map_err(failed)? {
                        self.access(&named);
                    }
                }
                "registry values" => {
                    for value in template.registry_values().map_err(failed)? {
                        // Windows stores the lines of the banner as one text.
                        let is_banner = value.name.eq_ignore_ascii_case("LegalNoticeText");
                        match (is_banner, ValueType(value.kind)) {
                            (true, ValueType::MULTI_SZ) => self.banner(&value.key, &value.name, &value.data),
                            _ => self.value(&value.key, &value.name, value.kind, &value.data),
                        }
                    }
                }
                "privilege rights" => {
                    for right in template.privilege_rights().map_err(failed)? {
                        self.right(&right);
                    }
                }
                "service general setting" => {
                    for service in template.services().map_err(failed)? {
                        self.service(&service);
                    }
                }
                "event audit" => {
                    for named in template.event_audit().map_err(failed)? {
                        let reason = "the audit policy is read by subcategories, not by the categories of old";
                        self.named("event-audit", &named, reason);
                    }
                }
                "kerberos policy" => {
                    for named in template.kerberos_policy().map_err(failed)? {
                        self.named("kerberos", &named, "the Kerberos policy lies in the directory of a domain");
                    }
                }
                "group membership" => {
                    for named in template.group_membership().map_err(failed)? {
                        self.named("group", &named, "the members of groups are only read offline");
                    }
                }
                "registry keys" => {
                    for object in template.registry_keys().map_err(failed)? {
                        self.permissions("registry-acl", &object);
                    }
                }
                "file security" => {
                    for object in template.file_security().map_err(failed)? {
                        self.permissions("file-acl", &object);
                    }
                }
                _ => {
                    let title = format!("[{section}] is in force");
                    self.unread(&format!("section:{section}"), &title, "this section of a template is not read");
                }
            }
        }
        Ok(())
    }

    fn named(&mut self, word: &str, named: &Named, reason: &str) {
        let title = format!("{} is {:?}", named.name, named.value);
        self.unread(&format!("{word}:{}", named.name), &title, reason);
    }

    fn permissions(&mut self, word: &str, object: &security_template::Object) {
        let reason = "the permissions of a whole tree are not set offline; a rule document can set those of one object";
        let title = format!("permissions of {} are {:?}", object.name, object.sddl);
        self.unread(&format!("{word}:{}", object.name), &title, reason);
    }

    /// Adds a line of `[System Access]`.
    fn access(&mut self, named: &Named) {
        let is = |name: &str| named.name.eq_ignore_ascii_case(name);
        let number = named.value.parse::<u32>().ok();
        let flag = number.filter(|number| *number <= 1).map(|number| number == 1);
        let account = |rid, property| Setting::Account { rid: Some(rid), property };
        let text = |text: &str| Some(Value::Text(text.to_owned())).filter(|_| !text.trim().is_empty());
        let field = FIELDS.iter().find(|(name, _)| is(name)).map(|(_, field)| *field);
        let found = if let Some(field) = field {
            // For ever, and until an administrator unlocks it.
            let unending = matches!(field, Field::MaximumPasswordAge | Field::LockoutDuration) && named.value == "-1";
            let number = if unending { Some(0) } else { number };
            number.map(|number| (Setting::AccountPolicy { field }, Value::Number(number)))
        } else if is("NewAdministratorName") {
            text(&named.value).map(|name| (account(ADMINISTRATOR, AccountProperty::Name), name))
        } else if is("NewGuestName") {
            text(&named.value).map(|name| (account(GUEST, AccountProperty::Name), name))
        } else if is("EnableAdminAccount") {
            flag.map(|flag| (account(ADMINISTRATOR, AccountProperty::Enabled), Value::Flag(flag)))
        } else if is("EnableGuestAccount") {
            flag.map(|flag| (account(GUEST, AccountProperty::Enabled), Value::Flag(flag)))
        } else if is("LSAAnonymousNameLookup") {
            let option = SecurityOption::AnonymousNameTranslation;
            flag.map(|flag| (Setting::SecurityOption { option }, Value::Flag(flag)))
        } else {
            return self.named("access", named, "it lies in no hive that is read");
        };
        match found {
            Some((setting, value)) => self.add(&named.name, vec![exactly(setting, value)]),
            None => self.named("access", named, "its value is not understood"),
        }
    }

    fn right(&mut self, right: &security_template::Right) {
        let mut holders = BTreeSet::new();
        for holder in &right.holders {
            match holder {
                security_template::Principal::Sid(sid) => holders.insert(Principal::Sid(sid.clone())),
                security_template::Principal::Name(name) => {
                    let reason =
                        format!("{name:?} is a name, which only a running Windows or its domain turns into a SID");
                    let title = format!("user right: {}", right.right);
                    return self.unread(&right.right, &title, &reason);
                }
            };
        }
        let check = |require, remedy| Check {
            setting: Setting::user_right(&right.right),
            form: Form::Sids,
            require,
            remedy,
            applies: Vec::new(),
            organization: None,
        };
        // These and nobody else.
        let mut checks = vec![check(Requirement::Only(holders.clone()), Remedy::Assign(holders.clone()))];
        if !holders.is_empty() {
            let each = holders.iter().map(|one| BTreeSet::from([one.clone()])).collect();
            checks.push(check(Requirement::Includes(each), Remedy::Grant(holders)));
        }
        self.add(&right.right, checks);
    }

    fn service(&mut self, service: &security_template::Object) {
        let key = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{}", service.name);
        if (2..=4).contains(&service.mode) && !service.name.contains('\\') && !service.name.is_empty() {
            self.value(&key, "Start", ValueType::DWORD.0, &service.mode.to_le_bytes());
        } else {
            let title = format!("service {} starts as {}", service.name, service.mode);
            self.unread(&format!("service:{}", service.name), &title, "this way to start is not understood");
        }
        if !service.sddl.is_empty() {
            let title = format!("permissions of the service {} are {:?}", service.name, service.sddl);
            let reason = "the permissions of services are not set offline";
            self.unread(&format!("service-acl:{}", service.name), &title, reason);
        }
    }

    fn banner(&mut self, key: &str, name: &str, data: &[u8]) {
        let lines = Data { kind: ValueType::MULTI_SZ, data: data.to_vec() }.as_texts().unwrap_or_default();
        self.value(key, name, ValueType::SZ.0, &utf16::encode_with_nul(&lines.join("\r\n")));
    }

    fn bare_key(&mut self, key: &str) {
        self.unread(key, &format!("{key} is there"), "a key without a value is not made");
    }

    fn absent(&mut self, key: &str, name: &str) {
        let id = format!(r"{key}\{name}");
        match unreached(key) {
            Some(reason) => self.unread(&id, &format!("{key}!{name} is absent"), reason),
            None => {
                let setting = Setting::Registry { key: key.to_owned(), name: name.to_owned() };
                // The form says nothing where nothing may be.
                let form = Form::Data(ValueType::DWORD);
                let (require, remedy) = (Requirement::Absent, Remedy::Remove);
                self.add(&id, vec![Check { setting, form, require, remedy, applies: Vec::new(), organization: None }]);
            }
        }
    }

    fn value(&mut self, key: &str, name: &str, kind: u32, data: &[u8]) {
        let id = format!(r"{key}\{name}");
        let stored = Data { kind: ValueType(kind), data: data.to_vec() };
        let is_named = ValueType::from_name(&stored.kind.to_string()).is_some();
        let misshapen = stored.kind == ValueType::DWORD && stored.as_dword().is_none();
        let reason = match unreached(key) {
            _ if !is_named => Some("the type of the value has no name"),
            _ if misshapen => Some("a REG_DWORD has four bytes"),
            reason => reason,
        };
        match reason {
            Some(reason) => self.unread(&id, &format!("{key}!{name} is {stored}"), reason),
            None => {
                let setting = Setting::Registry { key: key.to_owned(), name: name.to_owned() };
                self.add(&id, vec![exactly(setting, Value::Data(stored))]);
            }
        }
    }
}

/// Returns why no setting lies below a key; `None` if one can.
fn unreached(key: &str) -> Option<&'static str> {
    let is_in = |root: &str| key.get(..root.len()).is_some_and(|head| head.eq_ignore_ascii_case(root));
    match REACHED.iter().find(|root| is_in(root)) {
        None => Some("the key lies in no hive that rules can reach"),
        Some(_) if key.split('\\').any(str::is_empty) => Some("the key has a part without a name"),
        Some(_) => None,
    }
}

/// Returns a key with the short name of its root.
fn rooted(key: &str) -> String {
    let (root, below) = key.split_once('\\').unwrap_or((key, ""));
    match ROOTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(root)) {
        Some((_, root)) => format!(r"{root}\{below}"),
        None => key.to_owned(),
    }
}

/// Returns the check that a setting has this value.
fn exactly(setting: Setting, value: Value) -> Check {
    let require = match &value {
        Value::Data(data) => match (data.as_dword(), data.kind, data.as_text()) {
            (Some(number), ..) => Requirement::Equals(number),
            (None, ValueType::SZ, Some(text)) => Requirement::Text(text),
            _ => Requirement::Exactly(value.clone()),
        },
        Value::Number(number) => Requirement::Equals(*number),
        Value::Flag(flag) => Requirement::Flag(*flag),
        Value::Text(text) => Requirement::Text(text.clone()),
        _ => Requirement::Exactly(value.clone()),
    };
    let form = value.form();
    Check { setting, form, require, remedy: Remedy::Set(value), applies: Vec::new(), organization: None }
}

fn bounded(entries: usize) -> Result<(), Fault> {
    if entries > MOST_ENTRIES { Err(Fault::TooMany { limit: MOST_ENTRIES }) } else { Ok(()) }
}

/// Returns what a rule about a setting is about.
pub(super) fn kind_of(setting: &Setting) -> RuleKind {
    match setting {
        Setting::Registry { key, name } => {
            let parts: Vec<String> = key.split('\\').map(str::to_ascii_uppercase).collect();
            match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["HKLM", "SYSTEM", _, "SERVICES", _] if name.eq_ignore_ascii_case("Start") => RuleKind::Service,
                _ => RuleKind::Registry,
            }
        }
        Setting::LocalPolicy { .. } => RuleKind::Registry,
        Setting::LocalAuditPolicy { .. } | Setting::AuditPolicy { .. } => RuleKind::AuditPolicy,
        Setting::AccountPolicy { .. } => RuleKind::AccountPolicy,
        Setting::UserRight { .. } => RuleKind::UserRight,
        Setting::Account { .. } | Setting::GroupMembers { .. } => RuleKind::Account,
        Setting::SecurityOption { .. } => RuleKind::SecurityOption,
        Setting::RegistryAcl { .. } => RuleKind::RegistryAcl,
        Setting::FileAcl { .. } => RuleKind::FileAcl,
        Setting::File { .. } | Setting::Folder { .. } | Setting::FileContent { .. } | Setting::FileData { .. } => {
            RuleKind::File
        }
        Setting::Certificate { .. } => RuleKind::Certificate,
        Setting::Feature { .. } => RuleKind::WindowsFeature,
    }
}

/// Returns a rule of medium severity for every server. Reports demand ids of plain letters; those are made of the digest
/// of the policy's id and the rule's.
pub(super) fn identified(policy: &str, id: &str, title: String, checks: Vec<Check>) -> Rule {
    const DIGITS: usize = 12;
    let digest: String =
        Digest::of(format!("{policy}\n{}", id.to_uppercase()).as_bytes()).to_string().chars().take(DIGITS).collect();
    Rule {
        vuln_id: format!("P-{digest}"),
        rule_id: format!("P-{digest}_rule"),
        stig_id: id.to_owned(),
        severity: Severity::Medium,
        kind: checks.first().map_or(RuleKind::Manual, |check| kind_of(&check.setting)),
        role: RuleScope::Both,
        applies: Vec::new(),
        only_where: None,
        title,
        ccis: Vec::new(),
        checks,
        not_reviewed: None,
        caveat: None,
        organization: None,
        import_risk: None,
        official: None,
    }
}

/// Returns the catalog of these rules; its digest is the caller's to set.
pub(super) fn catalog(id: &str, title: &str, rules: Vec<Rule>) -> Catalog {
    Catalog {
        id: id.to_owned(),
        title: title.to_owned(),
        benchmark: id.to_owned(),
        version: 1,
        release: 0,
        date: NO_DAY.to_owned(),
        builds: Vec::new(),
        sha256: Digest::of(&[]),
        rules,
        is_component: true,
        components: Vec::new(),
    }
}
