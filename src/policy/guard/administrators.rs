//! Whether somebody can still administer a machine behind a plan: an enabled administrator who may log on must stay.
//!
//! Looked at are the members of Administrators, whether they are enabled, and the rights to log on at the console and
//! through Remote Desktop with the rights that deny it. A member of a joined machine's domain counts as enabled: the
//! machine's hives do not tell otherwise. Where no member can be told (a domain controller keeps them elsewhere), the
//! group itself stands for them. Whom a right names is compared with the SIDs of the token that such a logon gets: the
//! account and its groups, the machine's own group of its accounts, how and from where it logs on, and the integrity of the
//! token. Groups of the machine that a right names are looked into; groups in groups are not.

use std::collections::BTreeSet;

use crate::policy::error::Error;
use crate::policy::plan::step::Plan;
use crate::windows::setting::{AccountProperty, Readings, Role, Setting, Value};
use coldforge_base::sid::Sid;

const ADMINISTRATORS_RID: u32 = 544;

/// Every token of an administrator who logs on holds these, beside his own SID: Administrators, Everyone, Authenticated
/// Users, Users, This Organization, Interactive, Local, and the high and medium levels of integrity, the latter before he
/// confirms what he does.
const GROUPS: [&str; 9] = [
    "S-1-5-32-544",
    "S-1-1-0",
    "S-1-5-11",
    "S-1-5-32-545",
    "S-1-5-15",
    "S-1-5-4",
    "S-1-2-0",
    "S-1-16-12288",
    "S-1-16-8192",
];

/// Tokens of the machine's own accounts hold these: Local account, Local account and member of Administrators group, NTLM
/// Authentication.
const LOCAL: [&str; 3] = ["S-1-5-113", "S-1-5-114", "S-1-5-64-10"];

/// The group of a machine to which each of its own accounts belongs, `None` by name.
const OWN_GROUP_RID: u32 = 513;

/// What the SIDs of groups of the machine begin with.
const BUILT_IN: &str = "S-1-5-32-";

/// A way to log on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Console,
    RemoteDesktop,
}

impl Way {
    const ALL: [Self; 2] = [Self::Console, Self::RemoteDesktop];

    /// Returns the right that admits, and the one that denies.
    fn rights(self) -> [&'static str; 2] {
        match self {
            Self::Console => ["SeInteractiveLogonRight", "SeDenyInteractiveLogonRight"],
            Self::RemoteDesktop => ["SeRemoteInteractiveLogonRight", "SeDenyRemoteInteractiveLogonRight"],
        }
    }

    /// Returns the SID that only tokens of this way hold: Console Logon, Remote Interactive Logon.
    fn sid(self) -> &'static str {
        match self {
            Self::Console => "S-1-2-1",
            Self::RemoteDesktop => "S-1-5-14",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Console => "at the console",
            Self::RemoteDesktop => "through Remote Desktop",
        }
    }
}

/// Somebody who administers the machine.
struct Administrator {
    sid: Sid,
    /// The account of this machine, if it is one.
    rid: Option<u32>,
    name: String,
}

/// Refuses a plan behind which no enabled administrator may log on any more, or on a machine of no domain none through
/// Remote Desktop, where one may now.
///
/// # Errors
/// [`Error::LastAdministrator`] (`E-LAST-ADMINISTRATOR`), which tells who may now and who would remain.
pub fn keep_an_administrator(plan: &Plan, machine: &dyn Readings) -> Result<(), Error> {
    let concerns = |setting: &Setting| match setting {
        Setting::UserRight { right } => Way::ALL.iter().any(|way| way.rights().contains(&right.as_str())),
        Setting::Account { property: AccountProperty::Enabled, .. } => true,
        _ => false,
    };
    let steps: Vec<_> = plan.steps.iter().filter(|step| concerns(&step.setting)).collect();
    if steps.is_empty() {
        return Ok(());
    }
    let administrators = administrators(machine);
    let who = |plan: Option<&Plan>, way: Way| -> Vec<&str> {
        let may = administrators.iter().filter(|one| may_log_on(one, way, plan, machine));
        may.map(|one| one.name.as_str()).collect()
    };
    let [console, remote] = Way::ALL.map(|way| who(None, way));
    let [console_then, remote_then] = Way::ALL.map(|way| who(Some(plan), way));
    let is_locked = (!console.is_empty() || !remote.is_empty()) && console_then.is_empty() && remote_then.is_empty();
    let is_alone = machine.identity().domain_joined != Some(true);
    let is_cut_off = is_alone && !remote.is_empty() && remote_then.is_empty();
    if !is_locked && !is_cut_off {
        return Ok(());
    }
    let said = |names: [&[&str]; 2]| {
        let one = |(way, names): (Way, &[&str])| match names {
            [] => format!("nobody {}", way.words()),
            names => format!("{} {}", names.join(", "), way.words()),
        };
        Way::ALL.into_iter().zip(names).map(one).collect::<Vec<_>>().join(", ")
    };
    let rules: BTreeSet<&str> = steps.iter().flat_map(|step| &step.rules).map(String::as_str).collect();
    Err(Error::LastAdministrator {
        rules: rules.into_iter().collect::<Vec<_>>().join(", "),
        now: said([&console, &remote]),
        remain: said([&console_then, &remote_then]),
    })
}

/// Returns the members of Administrators, or the group where they cannot be told.
fn administrators(machine: &dyn Readings) -> Vec<Administrator> {
    let group = || -> Option<Vec<Administrator>> {
        let sid: Sid = GROUPS.first()?.parse().ok()?;
        Some(vec![Administrator { sid, rid: None, name: "Administrators".to_owned() }])
    };
    let identity = machine.identity();
    let members = machine.get(&Setting::GroupMembers { rid: ADMINISTRATORS_RID }).ok().and_then(|found| found.value);
    let members = match (identity.role, members) {
        (Role::DomainController, _) => None,
        (_, Some(Value::Sids(members))) => Some(members),
        _ => None,
    };
    let Some(members) = members else { return group().unwrap_or_default() };
    let own = identity.machine_sid.as_ref().map(|sid| format!("{sid}-"));
    let rid = |sid: &Sid| sid.to_string().strip_prefix(own.as_deref()?)?.parse::<u32>().ok();
    let one = |sid: Sid| -> Option<Administrator> {
        let rid = rid(&sid);
        if rid.is_none() && identity.domain_joined != Some(true) {
            return None; // nobody vouches for an account from elsewhere
        }
        let property = AccountProperty::Name;
        let name = rid.and_then(|rid| machine.get(&Setting::Account { rid: Some(rid), property }).ok()?.value);
        let name = match name {
            Some(Value::Text(name)) => format!("{name} ({sid})"),
            _ => sid.to_string(),
        };
        Some(Administrator { sid, rid, name })
    };
    members.into_iter().filter_map(one).collect()
}

/// Tells whether somebody may log on, behind a plan or as it is now.
fn may_log_on(who: &Administrator, way: Way, plan: Option<&Plan>, machine: &dyn Readings) -> bool {
    let value = |setting: &Setting| -> Option<Value> {
        let step = plan.and_then(|plan| plan.steps.iter().find(|step| step.setting == *setting));
        match step {
            Some(step) => step.to.clone(),
            None => machine.get(setting).ok()?.value,
        }
    };
    if let Some(rid) = who.rid {
        let enabled = value(&Setting::Account { rid: Some(rid), property: AccountProperty::Enabled });
        if enabled != Some(Value::Flag(true)) {
            return false;
        }
    }
    let mut token: BTreeSet<String> = GROUPS.iter().chain([&way.sid()]).map(|sid| (*sid).to_owned()).collect();
    token.insert(who.sid.to_string());
    if who.rid.is_some() {
        token.extend(LOCAL.map(str::to_owned));
        let machine_sid = machine.identity().machine_sid.as_ref();
        token.extend(machine_sid.and_then(|sid| sid.child(OWN_GROUP_RID)).map(|sid| sid.to_string()));
    }
    let is_member = |group: &str| {
        let own = machine.identity().machine_sid.as_ref().map(|sid| format!("{sid}-"));
        let rid = group.strip_prefix(BUILT_IN).or_else(|| group.strip_prefix(own.as_deref()?));
        let members = rid.and_then(|rid| rid.parse().ok()).and_then(|rid| {
            let found = machine.get(&Setting::GroupMembers { rid }).ok()?;
            found.value
        });
        matches!(members, Some(Value::Sids(members)) if members.iter().any(|member| token.contains(&member.to_string())))
    };
    let holds = |right: &str| match value(&Setting::UserRight { right: right.to_owned() }) {
        Some(Value::Sids(holders)) => {
            holders.iter().map(ToString::to_string).any(|holder| token.contains(&holder) || is_member(&holder))
        }
        _ => false,
    };
    let [admits, denies] = way.rights();
    holds(admits) && !holds(denies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fake_machine::{self, FakeMachine};
    use crate::policy::plan::step::Step;
    use crate::windows::setting::Identity;
    use coldforge_base::Failure as _;

    const MACHINE: &str = "S-1-5-21-1-2-3";

    fn sids(texts: &[&str]) -> Value {
        Value::Sids(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn right(right: &str) -> Setting {
        Setting::UserRight { right: right.into() }
    }

    fn enabled(rid: u32) -> Setting {
        Setting::Account { rid: Some(rid), property: AccountProperty::Enabled }
    }

    /// Returns a server whose one enabled administrator is 1001; 500 is disabled, and a group of the domain is a member.
    fn server(joined: bool) -> FakeMachine {
        let identity = Identity {
            domain_joined: Some(joined),
            machine_sid: Some(MACHINE.parse().unwrap()),
            ..fake_machine::member_server()
        };
        let mut machine = FakeMachine::new(identity);
        let members = sids(&["S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-1001", "S-1-5-21-7-8-9-512"]);
        machine.put(&Setting::GroupMembers { rid: 544 }, Some(members));
        machine.put(&Setting::GroupMembers { rid: 1008 }, Some(sids(&["S-1-5-21-1-2-3-1001"])));
        machine.put(&Setting::GroupMembers { rid: 555 }, Some(sids(&["S-1-5-21-1-2-3-1001"])));
        machine.put(&enabled(500), Some(Value::Flag(false)));
        machine.put(&enabled(1001), Some(Value::Flag(true)));
        let name = Setting::Account { rid: Some(1001), property: AccountProperty::Name };
        machine.put(&name, Some(Value::Text("boss".into())));
        for way in Way::ALL {
            let [admits, denies] = way.rights();
            machine.put(&right(admits), Some(sids(&["S-1-5-32-544"])));
            machine.put(&right(denies), Some(sids(&[])));
        }
        machine
    }

    fn refused(machine: &FakeMachine, steps: &[(Setting, Value)]) -> Option<String> {
        let step = |(setting, to): &(Setting, Value)| Step {
            rules: vec!["T-1".into()],
            setting: setting.clone(),
            to: Some(to.clone()),
        };
        let plan = Plan { steps: steps.iter().map(step).collect(), ..Plan::default() };
        keep_an_administrator(&plan, machine).err().map(|error| {
            assert_eq!(error.code(), Some("E-LAST-ADMINISTRATOR"));
            assert!(error.hint().is_some());
            error.to_string()
        })
    }

    #[test]
    fn the_last_enabled_administrator_is_not_disabled() {
        let disable = [(enabled(1001), Value::Flag(false))];
        let said = refused(&server(false), &disable).unwrap();
        assert!(said.contains("boss (S-1-5-21-1-2-3-1001) at the console"), "{said}");
        assert!(said.contains("nobody at the console, nobody through Remote Desktop"), "{said}");
        assert_eq!(refused(&server(true), &disable), None, "a group of the domain remains");
        assert_eq!(refused(&server(false), &[(enabled(500), Value::Flag(false))]), None, "another one remains");
        let swapped = [disable[0].clone(), (enabled(500), Value::Flag(true))];
        assert_eq!(refused(&server(false), &swapped), None, "one is enabled for the other");
    }

    #[test]
    fn a_server_of_no_domain_is_not_cut_off_from_afar_by_a_right() {
        let denies = right("SeDenyRemoteInteractiveLogonRight");
        for who in [
            "S-1-5-113",
            "S-1-5-114",
            "S-1-5-15",
            "S-1-5-64-10",
            "S-1-5-21-1-2-3-513",
            "S-1-16-12288",
            "S-1-16-8192",
            "S-1-5-4",
            "S-1-2-0",
            "S-1-5-11",
            "S-1-5-32-545",
            "S-1-5-32-555",
            "S-1-5-21-1-2-3-1008",
            "S-1-5-32-544",
            "S-1-1-0",
            "S-1-5-14",
            "S-1-5-21-1-2-3-1001",
        ] {
            let steps = [(denies.clone(), sids(&["S-1-5-32-546", who]))];
            let said = refused(&server(false), &steps).unwrap();
            assert!(said.contains("nobody through Remote Desktop"), "{who}: {said}");
        }
        let console = [(denies.clone(), sids(&["S-1-2-1"]))];
        assert_eq!(refused(&server(false), &console), None, "nobody at the console comes through Remote Desktop");
        let local = [(denies.clone(), sids(&["S-1-5-113"]))];
        assert_eq!(refused(&server(true), &local), None, "those of the domain remain");
        assert_eq!(refused(&server(false), &[(denies, sids(&["S-1-5-32-546"]))]), None, "guests administer nothing");
    }

    #[test]
    fn a_list_without_administrators_is_refused_where_no_other_way_remains() {
        let admits = |way: Way| right(way.rights()[0]);
        let nobody = [(admits(Way::Console), sids(&[])), (admits(Way::RemoteDesktop), sids(&[]))];
        for joined in [false, true] {
            assert!(refused(&server(joined), &nobody).is_some());
        }
        assert_eq!(refused(&server(false), &nobody[..1]), None, "Remote Desktop remains");
        let keeps = [(admits(Way::RemoteDesktop), sids(&["S-1-5-32-544", "S-1-5-32-555"]))];
        assert_eq!(refused(&server(false), &keeps), None);
    }

    #[test]
    fn where_members_cannot_be_told_the_group_stands_for_them() {
        let mut machine = server(false);
        machine.put(&Setting::GroupMembers { rid: 544 }, None);
        let denies = right("SeDenyRemoteInteractiveLogonRight");
        assert!(refused(&machine, &[(denies.clone(), sids(&["S-1-5-32-544"]))]).is_some());
        assert_eq!(refused(&machine, &[(denies, sids(&["S-1-5-32-546"]))]), None);
    }

    #[test]
    fn who_could_not_log_on_before_is_not_missed() {
        let mut machine = server(false);
        machine.put(&enabled(1001), Some(Value::Flag(false)));
        assert_eq!(refused(&machine, &[(right("SeDenyInteractiveLogonRight"), sids(&["S-1-5-113"]))]), None);
    }
}
