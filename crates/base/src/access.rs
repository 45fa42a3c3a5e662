//! Whether a security descriptor grants no more than another one (MS-DTYP 2.5.3.2, the algorithm of an access check).
//!
//! Who asks for access has a set of SIDs, of which nothing is assumed but that it may be any. For each right the first
//! entry that names one of them decides. So a list is not wider than a limit if no set of SIDs gets a right from the list
//! that it does not get from the limit: [`compare`] finds that out exactly, for the object itself and for what inherits
//! from it, with generic rights replaced by what they mean. Membership of one group in another is not assumed: a right for
//! Users counts as wider than one for Everyone.
//!
//! Not looked at: the owner, who may always change the list, and labels and audit entries.

use std::fmt;

use super::descriptor::{Descriptor, Entry, List};
use super::sid::Sid;

/// What the objects are, which decides what generic rights mean and who inherits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A file or folder.
    File,
    /// A registry key.
    Key,
}

/// Where a right counts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// On the object itself.
    Itself,
    /// On folders or keys right below it.
    Containers,
    /// On files right below it.
    Files,
    /// On folders or keys further below.
    DeepContainers,
    /// On files further below.
    DeepFiles,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Itself => "on the object itself",
            Self::Containers => "on what can hold others right below it",
            Self::Files => "on files right below it",
            Self::DeepContainers => "on what can hold others further below",
            Self::DeepFiles => "on files further below",
        })
    }
}

/// A right that the limit does not grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excess {
    /// Who has it.
    pub sid: Sid,
    /// Where.
    pub scope: Scope,
    /// The rights.
    pub mask: u32,
}

/// The answer to whether a list is wider than a limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// It grants nothing that the limit does not grant.
    NotWider,
    /// It grants more: what, by SID and scope. None, if it grants everything to everyone.
    Wider(Vec<Excess>),
    /// An entry of a type that is not understood stands in one of the lists, or there are too many entries.
    CannotTell,
}

const OBJECT_INHERIT: u8 = 0x01;
const CONTAINER_INHERIT: u8 = 0x02;
const NO_PROPAGATE: u8 = 0x04;
const INHERIT_ONLY: u8 = 0x08;

const ALLOWED: u8 = 0;
const DENIED: u8 = 1;

/// The comparison asks each entry about each other one; no list that a person wrote is longer.
const MOST_ENTRIES: usize = 256;

/// What generic all, read, write and execute mean (winnt.h).
const FILE: [(u32, u32); 4] =
    [(0x1000_0000, 0x001f_01ff), (0x8000_0000, 0x0012_0089), (0x4000_0000, 0x0012_0116), (0x2000_0000, 0x0012_00a0)];
const KEY: [(u32, u32); 4] =
    [(0x1000_0000, 0x000f_003f), (0x8000_0000, 0x0002_0019), (0x4000_0000, 0x0002_0006), (0x2000_0000, 0x0002_0019)];

/// What the bits of a mask are called (winnt.h): those of every object, those of files, and those of keys.
const STANDARD: [(u32, &str); 6] = [
    (0x0001_0000, "delete"),
    (0x0002_0000, "read the permissions"),
    (0x0004_0000, "change the permissions"),
    (0x0008_0000, "take ownership"),
    (0x0010_0000, "synchronize"),
    (0x0100_0000, "read the audit entries"),
];
const OF_FILES: [(u32, &str); 9] = [
    (0x01, "read"),
    (0x02, "write"),
    (0x04, "append"),
    (0x08, "read extended attributes"),
    (0x10, "write extended attributes"),
    (0x20, "execute"),
    (0x40, "delete what lies below"),
    (0x80, "read attributes"),
    (0x100, "write attributes"),
];
const OF_KEYS: [(u32, &str); 6] = [
    (0x01, "query values"),
    (0x02, "set values"),
    (0x04, "create subkeys"),
    (0x08, "enumerate subkeys"),
    (0x10, "be notified"),
    (0x20, "create links"),
];

/// Returns what rights are called, bit by bit; those without a name as a number.
pub fn rights(kind: Kind, mask: u32) -> Vec<String> {
    let own: &[(u32, &str)] = match kind {
        Kind::File => &OF_FILES,
        Kind::Key => &OF_KEYS,
    };
    let known = own.iter().chain(&STANDARD);
    let mut said: Vec<String> =
        known.clone().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let rest = known.fold(mask, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        said.push(format!("{rest:#x}"));
    }
    said
}

/// An entry as it counts in one scope.
struct Rule<'s> {
    allows: bool,
    mask: u32,
    sid: &'s Sid,
}

/// Tells whether `found` grants more than `limit`.
pub fn compare(kind: Kind, found: &Descriptor<'_>, limit: &Descriptor<'_>) -> Comparison {
    // A list that is null or not there grants everything to everyone.
    let (found, limit) = match (&found.dacl, &limit.dacl) {
        (_, List::Null | List::Absent) => return Comparison::NotWider,
        (List::Null | List::Absent, List::Entries(_)) => return Comparison::Wider(Vec::new()),
        (List::Entries(found), List::Entries(limit)) => (found.as_slice(), limit.as_slice()),
    };
    let unknown = |entry: &Entry<'_>| !matches!(entry.kind, ALLOWED | DENIED);
    if found.iter().chain(limit).any(unknown) || found.len().max(limit.len()) > MOST_ENTRIES {
        return Comparison::CannotTell;
    }
    let scopes: &[Scope] = match kind {
        Kind::File => &[Scope::Itself, Scope::Containers, Scope::Files, Scope::DeepContainers, Scope::DeepFiles],
        Kind::Key => &[Scope::Itself, Scope::Containers, Scope::DeepContainers],
    };
    let mut excess = Vec::new();
    for scope in scopes {
        excesses(&rules(kind, found, *scope), &rules(kind, limit, *scope), *scope, &mut excess);
    }
    if excess.is_empty() { Comparison::NotWider } else { Comparison::Wider(excess) }
}

/// Tells whether somebody with these SIDs is granted every right of a mask on the object itself; `None` if an entry is of a
/// kind that is not evaluated.
pub fn allows(kind: Kind, found: &Descriptor<'_>, holder: &[Sid], mask: u32) -> Option<bool> {
    let entries = match &found.dacl {
        List::Null | List::Absent => return Some(true),
        List::Entries(entries) => entries.as_slice(),
    };
    if entries.iter().any(|entry| !matches!(entry.kind, ALLOWED | DENIED)) {
        return None;
    }
    let mut left = meant(kind, mask);
    for rule in rules(kind, entries, Scope::Itself).iter().filter(|rule| holder.contains(rule.sid)) {
        match rule.allows {
            true => left &= !rule.mask,
            false if left & rule.mask != 0 => return Some(false),
            false => {}
        }
    }
    Some(left == 0)
}

/// Returns the entries that count in a scope, in order.
fn rules<'s>(kind: Kind, entries: &'s [Entry<'_>], scope: Scope) -> Vec<Rule<'s>> {
    let counts = |entry: &&Entry<'_>| {
        let has = |flag: u8| entry.flags & flag != 0;
        match scope {
            Scope::Itself => !has(INHERIT_ONLY),
            Scope::Containers => has(CONTAINER_INHERIT),
            Scope::Files => has(OBJECT_INHERIT),
            Scope::DeepContainers => has(CONTAINER_INHERIT) && !has(NO_PROPAGATE),
            Scope::DeepFiles => has(OBJECT_INHERIT) && !has(NO_PROPAGATE),
        }
    };
    let rule =
        |entry: &'s Entry<'_>| Rule { allows: entry.kind == ALLOWED, mask: meant(kind, entry.mask), sid: &entry.sid };
    entries.iter().filter(counts).map(rule).collect()
}

/// Returns rights with what the generic ones among them mean.
fn meant(kind: Kind, mask: u32) -> u32 {
    let generic = match kind {
        Kind::File => &FILE,
        Kind::Key => &KEY,
    };
    let plain = mask & 0x0fff_ffff;
    generic.iter().filter(|(generic, _)| mask & generic != 0).fold(plain, |mask, (_, rights)| mask | rights)
}

/// Adds what the rules found grant and those of the limit do not.
///
/// For a right that `found` gives to a SID there is someone who has that SID and none that `found` denies the right
/// before. He has no more than the limit if the limit, too, has an allowing entry for the SID, and denies the right to no
/// SID before that one which he could have beside it.
fn excesses(found: &[Rule<'_>], limit: &[Rule<'_>], scope: Scope, excess: &mut Vec<Excess>) {
    for (index, rule) in found.iter().enumerate().filter(|(_, rule)| rule.allows) {
        let before = found.get(..index).unwrap_or_default();
        // Rights about which an entry for the same SID has spoken already do not count again.
        let spoken = before.iter().filter(|other| other.sid == rule.sid).fold(0, |mask, other| mask | other.mask);
        let mut wider = 0;
        for bit in (0..u32::BITS).map(|bit| 1u32 << bit).filter(|bit| rule.mask & !spoken & bit != 0) {
            if !is_granted(bit, rule.sid, before, limit) {
                wider |= bit;
            }
        }
        if wider != 0 {
            excess.push(Excess { sid: rule.sid.clone(), scope, mask: wider });
        }
    }
}

/// Tells whether the limit grants a right to everyone who has this SID and none that is denied the right `before`.
fn is_granted(bit: u32, sid: &Sid, before: &[Rule<'_>], limit: &[Rule<'_>]) -> bool {
    let denied = |other: &Sid| before.iter().any(|rule| !rule.allows && rule.mask & bit != 0 && rule.sid == other);
    let mut allowed: Vec<&Sid> = Vec::new();
    for rule in limit.iter().filter(|rule| rule.mask & bit != 0) {
        if rule.sid == sid {
            return rule.allows;
        }
        match rule.allows {
            // Someone with this SID has been granted the right; a denial further down does not reach him.
            true => allowed.push(rule.sid),
            false if allowed.contains(&rule.sid) || denied(rule.sid) => {}
            false => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::sddl;
    use super::*;

    fn told(kind: Kind, found: &str, limit: &str) -> Comparison {
        let (found, limit) = (sddl::parse(found).unwrap(), sddl::parse(limit).unwrap());
        compare(kind, &Descriptor::parse(&found).unwrap(), &Descriptor::parse(&limit).unwrap())
    }

    #[test]
    fn somebody_has_what_the_first_entries_for_him_say() {
        let of = |text: &str, mask: u32| {
            let bytes = crate::sddl::parse(text).unwrap();
            let holder = ["S-1-5-18", "S-1-5-32-544"].map(|sid| sid.parse().unwrap());
            allows(Kind::File, &Descriptor::parse(&bytes).unwrap(), &holder, mask)
        };
        assert_eq!(of("D:(A;;0x1200a9;;;SY)(A;;FA;;;BU)", 0x2), Some(false));
        assert_eq!(of("D:(A;;0x2;;;SY)(A;;0x4;;;BA)", 0x6), Some(true), "from two entries");
        assert_eq!(of("D:(D;;0x2;;;BA)(A;;FA;;;SY)", 0x2), Some(false));
        assert_eq!(of("D:(A;;FA;;;SY)(D;;0x2;;;BA)", 0x2), Some(true), "the first one decides");
        assert_eq!(of("D:(A;IOOI;FA;;;SY)", 0x2), Some(false), "it counts below");
        assert_eq!(of("D:(A;;GA;;;SY)", 0x0001_0000), Some(true));
        assert_eq!(of("D:", 0x1), Some(false));
        assert_eq!(of("O:SY", 0x1), Some(true));
    }

    #[test]
    fn rights_are_compared_by_sid_scope_and_order() {
        use Kind::{File, Key};
        // kind, found, limit, whether it is wider
        for (kind, found, limit, wider) in [
            (File, "D:(A;;FA;;;SY)", "D:(A;;FA;;;SY)(A;;FA;;;BA)", false),
            (File, "D:(A;;FA;;;SY)(A;;FR;;;BU)", "D:(A;;FA;;;SY)", true),
            (File, "D:(A;;FR;;;BU)", "D:(A;;FA;;;BU)", false),
            (File, "D:(A;;0x1301bf;;;BU)", "D:(A;;FR;;;BU)", true),
            (File, "D:", "D:(A;;FA;;;BU)", false),
            (File, "D:", "D:", false),
            (File, "D:(A;;FR;;;BU)", "D:", true),
            // Generic rights mean the same as what they stand for, and not the same for keys.
            (File, "D:(A;;GR;;;BU)", "D:(A;;FR;;;BU)", false),
            (File, "D:(A;;GA;;;BU)", "D:(A;;FR;;;BU)", true),
            (Key, "D:(A;CI;GR;;;BU)", "D:(A;CI;KR;;;BU)", false),
            (Key, "D:(A;CI;GR;;;BU)", "D:(A;CI;GX;;;BU)", false),
            (File, "D:(A;;GR;;;BU)", "D:(A;;KR;;;BU)", true),
            // Several entries add up.
            (File, "D:(A;;FA;;;BU)", "D:(A;;FR;;;BU)(A;;FW;;;BU)(A;;FX;;;BU)(A;;0xd0040;;;BU)", false),
            (File, "D:(A;;FR;;;BU)(A;;FW;;;BU)", "D:(A;;FR;;;BU)(A;;FX;;;BU)", true),
            // What is inherited counts by itself.
            (File, "D:(A;OICI;FR;;;BU)", "D:(A;;FR;;;BU)", true),
            (File, "D:(A;;FR;;;BU)", "D:(A;OICIIO;FA;;;BU)", true),
            (File, "D:(A;OICIIO;FR;;;BU)", "D:(A;OICI;FR;;;BU)", false),
            (File, "D:(A;OICI;FR;;;BU)", "D:(A;CI;FR;;;BU)(A;OI;FR;;;BU)", false),
            (File, "D:(A;OICI;FR;;;BU)", "D:(A;OICINP;FR;;;BU)", true),
            (File, "D:(A;OICINP;FR;;;BU)", "D:(A;OICI;FR;;;BU)", false),
            (Key, "D:(A;OI;KR;;;BU)", "D:(A;;KR;;;BU)", false),
            (File, "D:(A;OICIID;FR;;;BU)", "D:(A;OICI;FR;;;BU)", false),
            // Denials.
            (File, "D:(D;;FA;;;BU)(A;;FA;;;BU)", "D:(A;;FR;;;BU)", false),
            (File, "D:(A;;FA;;;BU)(D;;FA;;;BU)", "D:(A;;FR;;;BU)", true),
            (File, "D:(A;;FR;;;BU)", "D:(D;;FA;;;BG)(A;;FR;;;BU)", true),
            (File, "D:(D;;FA;;;BG)(A;;FR;;;BU)", "D:(D;;FR;;;BG)(A;;FR;;;BU)", false),
            (File, "D:(D;;FR;;;BG)(A;;FR;;;BU)", "D:(D;;FA;;;BG)(A;;FR;;;BU)", false),
            (File, "D:(D;;WP;;;BG)(A;;FR;;;BU)", "D:(D;;FR;;;BG)(A;;FR;;;BU)", true),
            (File, "D:(A;;FR;;;BU)(D;;FR;;;BG)", "D:(A;;FR;;;BU)(D;;FR;;;BG)", false),
            (File, "D:(A;;FR;;;BU)", "D:(A;;FR;;;BG)(D;;FR;;;BG)(A;;FR;;;BU)", false),
            (File, "D:(D;;FR;;;WD)(A;;FR;;;BU)", "D:(D;;FR;;;WD)(A;;FR;;;BU)", false),
            // Nothing and everything.
            (File, "D:NO_ACCESS_CONTROL", "D:NO_ACCESS_CONTROL", false),
            (File, "D:NO_ACCESS_CONTROL", "D:(A;;FA;;;WD)", true),
            (File, "O:BA", "D:(A;;FA;;;WD)", true),
            (File, "D:(A;;FA;;;WD)", "O:BA", false),
        ] {
            let answer = told(kind, found, limit);
            assert_eq!(matches!(answer, Comparison::Wider(_)), wider, "{found} within {limit}: {answer:?}");
            assert_ne!(answer, Comparison::CannotTell);
        }
    }

    #[test]
    fn what_is_too_much_is_told() {
        let users = Sid::new(5, &[32, 545]);
        assert_eq!(
            told(Kind::File, "D:(A;OICI;FR;;;SY)(A;OI;FX;;;BU)", "D:(A;OICI;FA;;;SY)(A;OI;FR;;;BU)"),
            Comparison::Wider(
                [Scope::Itself, Scope::Files, Scope::DeepFiles]
                    .map(|scope| Excess { sid: users.clone(), scope, mask: 0x20 })
                    .into()
            )
        );
    }

    #[test]
    fn rights_have_names() {
        assert_eq!(rights(Kind::File, 0x0100_0022), ["write", "execute", "read the audit entries"]);
        assert_eq!(rights(Kind::Key, 0x0004_0022), ["set values", "create links", "change the permissions"]);
        assert_eq!(rights(Kind::Key, 0x8000_0040), ["0x80000040"]);
    }

    #[test]
    fn an_entry_that_is_not_understood_is_no_answer() {
        let conditional = "D:(XA;;FX;;;WD;(0x61727478))";
        assert_eq!(told(Kind::File, conditional, "D:(A;;FA;;;WD)"), Comparison::CannotTell);
        assert_eq!(told(Kind::File, "D:(A;;FA;;;WD)", conditional), Comparison::CannotTell);
        let many = format!("D:{}", "(A;;FA;;;SY)".repeat(MOST_ENTRIES + 1));
        assert_eq!(told(Kind::File, &many, "D:(A;;FA;;;WD)"), Comparison::CannotTell);
    }

    /// What someone with these SIDs may do, asked right by right as an access check does.
    fn granted(rules: &[Rule<'_>], sids: &[&Sid]) -> u32 {
        (0..u32::BITS).map(|bit| 1u32 << bit).fold(0, |granted, bit| {
            let first = rules.iter().find(|rule| rule.mask & bit != 0 && sids.contains(&rule.sid));
            if first.is_some_and(|rule| rule.allows) { granted | bit } else { granted }
        })
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]
        #[test]
        fn the_answer_is_that_of_asking_for_every_set_of_sids(
            found in proptest::collection::vec((proptest::bool::ANY, 0u32..8, 0usize..4), 0..5),
            limit in proptest::collection::vec((proptest::bool::ANY, 0u32..8, 0usize..4), 0..5),
        ) {
            let sids: Vec<Sid> = (0..4).map(|part| Sid::new(5, &[part])).collect();
            let rules = |list: &[(bool, u32, usize)]| -> Vec<Rule<'_>> {
                list.iter().map(|(allows, mask, sid)| Rule { allows: *allows, mask: *mask, sid: &sids[*sid] }).collect()
            };
            let (found, limit) = (rules(&found), rules(&limit));
            let is_wider = (0..16u32).any(|set| {
                let own: Vec<&Sid> = sids.iter().enumerate().filter(|(bit, _)| set >> bit & 1 != 0).map(|(_, sid)| sid).collect();
                granted(&found, &own) & !granted(&limit, &own) != 0
            });
            let mut excess = Vec::new();
            excesses(&found, &limit, Scope::Itself, &mut excess);
            proptest::prop_assert_eq!(!excess.is_empty(), is_wider);
        }
    }
}
