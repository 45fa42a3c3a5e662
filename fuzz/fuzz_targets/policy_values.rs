//! Read a value of SAM or SECURITY: it is written back as it was read, and what is set is read again.
//!
//! Input: which structure, what is set, then the value.
#![no_main]

use coldforge::windows::sam::account_policy::AccountPolicy;
use coldforge::windows::sam::groups::Alias;
use coldforge::windows::sam::user_f::{Control, UserF};
use coldforge::windows::sam::user_v::UserV;
use coldforge::windows::security::audit_policy::{AuditPolicy, Subcategory};
use coldforge::windows::security::descriptor::PolicyDescriptor;
use coldforge::windows::security::privilege_set::PrivilegeSet;
use coldforge::windows::setting::{AccountPolicyField, AuditFlags};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(([kind, what], value)) = input.split_first_chunk::<2>() else { return };
    match kind % 7 {
        0 => audit_policy(*what, value),
        1 => account_policy(*what, value),
        2 => user_f(*what, value),
        3 => user_v(*what, value),
        4 => alias(value),
        5 => privilege_set(*what, value),
        _ => descriptor(*what, value),
    }
});

fn audit_policy(what: u8, value: &[u8]) {
    let Ok(mut policy) = AuditPolicy::decode(value) else { return };
    assert_eq!(policy.encode(), value);
    let flags = AuditFlags { success: what & 0x40 != 0, failure: what & 0x80 != 0 };
    let known = &Subcategory::all()[usize::from(what & 0x3f) % Subcategory::all().len()];
    if policy.set(known, flags).is_ok() {
        assert_eq!(policy.get(known), Some(flags));
        assert_eq!(AuditPolicy::decode(policy.encode()), Ok(policy.clone()));
    }
}

fn account_policy(what: u8, value: &[u8]) {
    let Ok(mut policy) = AccountPolicy::decode(value) else { return };
    assert_eq!(policy.encode(), value);
    let _ = (policy.locks_administrators(), policy.forces_logoff());
    for field in AccountPolicyField::ALL {
        let _ = (policy.get(*field), policy.contradiction(*field));
        if policy.set(*field, what.into()).is_ok() {
            assert_eq!(policy.get(*field), Ok(what.into()));
        }
    }
    assert_eq!(policy.encode().len(), value.len());
}

fn user_f(what: u8, value: &[u8]) {
    let Ok(mut user) = UserF::decode(value) else { return };
    assert_eq!(user.encode(), value);
    let bits = [Control::Disabled, Control::PasswordNotRequired, Control::PasswordNeverExpires, Control::Locked];
    let bit = bits[usize::from(what & 3)];
    user.set(bit, what & 4 != 0);
    assert_eq!(user.is(bit), what & 4 != 0);
    let _ = (user.rid(), user.password_last_set(), user.account_expires());
}

fn user_v(what: u8, value: &[u8]) {
    let Ok(mut user) = UserV::decode(value) else { return };
    assert_eq!(user.encode(), value);
    let _ = (user.name(), user.full_name(), user.comment());
    let name = "x".repeat(usize::from(what % 21));
    user.set_name(&name);
    assert_eq!(UserV::decode(&user.encode()).and_then(|user| user.name()), Ok(name));
}

fn alias(value: &[u8]) {
    if let Ok(alias) = Alias::decode(value) {
        assert!(alias.members.len() * 8 <= value.len());
    }
}

fn privilege_set(what: u8, value: &[u8]) {
    let Ok(mut set) = PrivilegeSet::decode(value) else { return };
    assert_eq!(set.encode(), value);
    set.insert(what.into());
    assert!(set.contains(what.into()));
    set.remove(what.into());
    assert!(!set.contains(what.into()) && set.encode().len() <= value.len());
}

fn descriptor(what: u8, value: &[u8]) {
    let Ok(mut policy) = PolicyDescriptor::decode(value) else { return };
    assert_eq!(policy.encode(), value);
    let allow = what & 1 != 0;
    if policy.allow_anonymous(allow).is_ok() {
        assert_eq!(policy.allows_anonymous(), Ok(allow));
    }
}
