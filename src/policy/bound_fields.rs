//! Fields of the account policy that bind each other. Windows shows and takes them together: how often, for how long and
//! within what time accounts are locked; and when a password may and must be changed. They are applied, held back and refused
//! together.

use super::error::Error;
use super::guard::harm::HeldStep;
use super::guard::import_risk::LONGEST_LOCKOUT_MINUTES;
use super::guard::planned::Planned;
use super::plan::requirements::Requirements;
use super::plan::step::{Held, Step};
use crate::windows::setting::{AccountPolicyField as Field, Readings, Setting, Value};

/// The fields that are set together.
const GROUPS: [&[Field]; 2] = [
    &[Field::LockoutThreshold, Field::LockoutDuration, Field::LockoutWindow],
    &[Field::MinimumPasswordAge, Field::MaximumPasswordAge],
];

/// Returns the fields that are set together with a setting, without itself.
pub(super) fn bound_to(setting: &Setting) -> impl Iterator<Item = Setting> {
    let own = field_of(setting);
    let group = own.and_then(|own| GROUPS.iter().find(|group| group.contains(&own))).copied().unwrap_or_default();
    group.iter().filter(move |field| Some(**field) != own).map(|field| Setting::AccountPolicy { field: *field })
}

/// Takes the steps out of a plan that are bound to one that is held back.
pub(super) fn hold_with(steps: &mut Vec<Step>, held: &[HeldStep]) -> Vec<HeldStep> {
    let reason = |step: &Step| {
        let binds = |held: &&HeldStep| bound_to(&held.step.setting).any(|bound| bound == step.setting);
        held.iter()
            .find(binds)
            .map(|held| format!("it is set together with the {}: {}", held.step.setting, held.reason))
    };
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for step in std::mem::take(steps) {
        match reason(&step) {
            Some(reason) => taken.push(HeldStep { step, reason }),
            None => kept.push(step),
        }
    }
    *steps = kept;
    taken
}

/// Makes fields agree that a plan sets with those that stay as they are: another number is set that the rules allow as well,
/// or else the plan sets none of the group, and returns why.
///
/// # Errors
/// [`Error::BoundFields`] if the plan sets both fields.
pub(super) fn reconcile(
    steps: &mut Vec<Step>,
    demands: &Requirements<'_>,
    machine: &dyn Readings,
) -> Result<Vec<Held>, Error> {
    let mut left = Vec::new();
    for (shorter, longer, relation) in [
        (Field::LockoutWindow, Field::LockoutDuration, "at most"),
        (Field::MinimumPasswordAge, Field::MaximumPasswordAge, "below"),
    ] {
        let of = |field: Field| steps.iter().position(|step| step.setting == Setting::AccountPolicy { field });
        let planned = [of(shorter), of(longer)];
        if planned == [None, None] {
            continue;
        }
        let found = |field: Field, at: Option<usize>| -> Result<Option<Value>, String> {
            match at.and_then(|at| steps.get(at)) {
                Some(step) => Ok(step.to.clone()),
                None => {
                    let found = machine.get(&Setting::AccountPolicy { field });
                    found.map(|found| found.value).map_err(|error| format!("{error}: {}", error.source))
                }
            }
        };
        let (short, long) = (found(shorter, planned[0]), found(longer, planned[1]));
        let why = match (&short, &long) {
            (Ok(Some(short)), Ok(Some(long))) if contradict((shorter, short), long) => {
                format!("{shorter} would be {short}, which must be {relation} {longer}, which would be {long}")
            }
            (Err(unread), _) | (_, Err(unread)) => format!("what it must agree with is not known: {unread}"),
            _ => continue,
        };
        let rules = |at: Option<usize>| at.and_then(|at| steps.get(at)).map(|step| step.rules.join(", "));
        if let (Some(one), Some(other)) = (rules(planned[0]), rules(planned[1])) {
            return Err(Error::BoundFields { one, other, why });
        }
        let Some(at) = planned.into_iter().flatten().next() else { continue };
        // The nearest number that agrees with what stays.
        let agreeing = match (planned[0].is_some(), &short, &long) {
            (true, _, Ok(Some(long))) => {
                long.as_number().and_then(|most| most.checked_sub(u32::from(shorter == Field::MinimumPasswordAge)))
            }
            (false, Ok(Some(short)), _) => short.as_number().and_then(|least| {
                let rest = u32::from(shorter == Field::MinimumPasswordAge || matches!(short, Value::Interval { .. }));
                least.checked_add(rest)
            }),
            _ => None,
        };
        // What is chosen here was judged by nobody: a lockout must not become one that outlasts a first logon.
        let is_safe = |field: Field, number: &u32| {
            *number > 0 && (field != Field::LockoutDuration || *number <= LONGEST_LOCKOUT_MINUTES)
        };
        let own = if planned[0].is_some() { shorter } else { longer };
        let agreeing = agreeing.filter(|number| is_safe(own, number)).map(Value::Number);
        if let Some(step) = steps.get_mut(at)
            && let Some(value) = agreeing
            && demands.unmet(&step.setting, Some(&value)).is_none()
            && demands.has(&step.setting)
        {
            step.to = Some(value);
            continue;
        }
        // Else what stays is set as well, where a rule speaks of it and allows a number that agrees.
        let (stays, needed) = if planned[0].is_some() { (longer, &short) } else { (shorter, &long) };
        let is_age = u32::from(shorter == Field::MinimumPasswordAge);
        let other = stays;
        let stays = Setting::AccountPolicy { field: stays };
        let needed = needed.as_ref().ok().and_then(Option::as_ref);
        let number = needed.and_then(Value::as_number).and_then(|number| match planned[0] {
            Some(_) => number.checked_add(is_age),
            None => number.checked_sub(is_age),
        });
        let value = number.filter(|number| is_safe(other, number)).map(Value::Number);
        if value.is_some() && demands.has(&stays) && demands.unmet(&stays, value.as_ref()).is_none() {
            let rules = steps.get(at).map(|step| step.rules.clone()).unwrap_or_default();
            steps.push(Step { rules, setting: stays, to: value });
            continue;
        }
        // What stays may be what another rule demands, which then contradicts this one.
        if let (Some(other), Some(step)) = (demands.unmet(&stays, needed), steps.get(at)) {
            let one = step.rules.join(", ");
            return Err(Error::BoundFields { one, other: other.to_owned(), why });
        }
        let group: Vec<Setting> = bound_to(&Setting::AccountPolicy { field: shorter })
            .chain([Setting::AccountPolicy { field: shorter }])
            .collect();
        let (taken, kept): (Vec<Step>, Vec<Step>) =
            std::mem::take(steps).into_iter().partition(|step| group.contains(&step.setting));
        *steps = kept;
        left.extend(taken.into_iter().flat_map(|step| step.rules).map(|rule| Held { rule, reason: why.clone() }));
    }
    Ok(left)
}

/// Takes steps that ask for passwords of more than 14 characters out of a plan behind which Windows does not know such a
/// length.
pub(super) fn hold_long_passwords(steps: &mut Vec<Step>, machine: &dyn Readings) -> Vec<Held> {
    /// The longest that every Windows knows.
    const LONGEST: u32 = 14;
    /// The first build that can be told to take more: Windows 10 version 2004 and Server 2022.
    const FIRST_BUILD: u32 = 19_041;
    let is_known = {
        let planned = Planned::new(machine, steps.iter());
        let switch = planned.dword(r"HKLM\SYSTEM\CurrentControlSet\Control\SAM", "RelaxMinimumPasswordLengthLimits");
        switch == Some(1) && machine.identity().build >= FIRST_BUILD
    };
    let setting = Setting::AccountPolicy { field: Field::MinimumPasswordLength };
    let is_long = |step: &Step| {
        step.setting == setting && step.to.as_ref().and_then(Value::as_number).is_some_and(|length| length > LONGEST)
    };
    if is_known {
        return Vec::new();
    }
    let (long, kept): (Vec<Step>, Vec<Step>) = std::mem::take(steps).into_iter().partition(is_long);
    *steps = kept;
    let reason = format!(
        "Windows asks for more than {LONGEST} characters only where RelaxMinimumPasswordLengthLimits of \
         HKLM\\SYSTEM\\CurrentControlSet\\Control\\SAM is 1, from build {FIRST_BUILD} on"
    );
    let rules = long.into_iter().flat_map(|step| step.rules);
    rules.map(|rule| Held { rule, reason: reason.clone() }).collect()
}

/// Tells whether an interval is too long for the other one, of which 0 has no end.
fn contradict((field, short): (Field, &Value), long: &Value) -> bool {
    let (Some(number), Some(most)) = (short.as_number(), long.as_number()) else { return false };
    let has_rest = matches!(short, Value::Interval { .. });
    let is_longer = if field == Field::MinimumPasswordAge { number >= most } else { number > most };
    most != 0 && (is_longer || (has_rest && number == most))
}

fn field_of(setting: &Setting) -> Option<Field> {
    match setting {
        Setting::AccountPolicy { field } => Some(*field),
        _ => None,
    }
}
