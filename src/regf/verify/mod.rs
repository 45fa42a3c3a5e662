//! The strict verifier: every rule that Windows keeps in a hive, checked over all of it.
//!
//! Cells tile the bins; each allocated cell is used exactly once; lists are sorted, of the right kind, with right
//! hashes and counts; bounds hold; values lie where their length wants them; the security ring is closed, its counts
//! exact, its descriptors well-formed and different.
//!
//! Relaxed where Windows itself breaks a rule: a bound on subkey names that is too low in hives of XP and 2003, and a
//! missing root flag in hives of the offline registry library are warnings; so are unreachable cells (Windows leaves
//! some when it recovers a hive), free neighbours, unknown key flags and leaves above 1,012 keys. Volatile lists,
//! access words, spare words, times, and unused entries of value lists are not looked at.

mod keys;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod planted;
mod ring;
mod values;

use std::collections::HashMap;
use std::fmt;

use super::bin::{CellSet, Tile, Tiles};
use super::name::Name;
use super::{Error, Hive, Key};
use crate::base::CellOffset;

/// Findings told before the verifier stops: a hive with as many is beyond repair, and memory has a bound.
const FINDINGS_MAX: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Found in hives that Windows itself wrote and reads.
    Warning,
    /// A hive that Windows would not have written.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! rules {
    ($($name:ident $code:literal $text:literal;)*) => {
        /// A rule of the format that a hive can break; its documentation says what was found.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// Returns the stable short name, such as `double-use`; several rules can share one.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

rules! {
    AdjacentFree "adjacent-free" "a free cell follows a free cell";
    BigDataCount "db" "the number of segments is not what the size needs";
    BigDataList "db" "the segment list is shorter than its entries";
    BigDataRecord "db" "a long value without a big-data record";
    BigDataSegment "db" "a segment's cell has the wrong size";
    Class "class" "the class name does not fit its length";
    Dangling "dangling" "no readable cell of the right kind begins here";
    Descriptor "sd" "the security descriptor is malformed";
    DescriptorTwice "sd-duplicate" "two security cells hold the same descriptor";
    Depth "depth" "more levels of keys than Windows allows";
    DoubleUse "double-use" "the cell is used more than once";
    Duplicate "duplicate" "two values of a key have the same name";
    FreeUsed "free-used" "a free cell is used";
    KeyFlags "nk-flags" "the key has flags that it cannot have";
    KeyFlagsUnknown "nk-flags" "the key has flags that are not known";
    KeyName "name" "the key's name is empty, too long, or in the wrong form";
    LargestClass "largest" "the bound on class names is too low";
    LargestSubkeyName "largest" "the bound on subkey names is too low";
    LargestValueData "largest" "the bound on value data is too low";
    LargestValueName "largest" "the bound on value names is too low";
    Leak "leak" "allocated cells are used by nothing";
    ListEmpty "list" "a subkey list without entries, or one for no subkeys";
    ListKind "list" "a subkey list of a kind that is not allowed here";
    ListLength "list" "a subkey list is longer than its cell";
    ListLong "list" "a leaf has more keys than Windows puts into one";
    Mark "hash" "the hash or hint of a subkey is wrong";
    Parent "parent" "the key names another parent";
    Root "nk-flags" "the root flag is missing, or on another key";
    Security "sk" "no valid security cell";
    SecurityReferences "sk-refs" "the reference count is not the number of keys";
    SecurityRing "sk-ring" "the ring of security cells is broken";
    SubkeyCount "count" "the number of subkeys is not the lists'";
    SubkeyOrder "sort" "a subkey is not behind the one before it";
    Tiles "cell" "bins or cells do not tile the hive";
    TooMany "too-many" "more findings than are told";
    Value "vk" "no readable value";
    ValueData "vk-data" "the data does not fit its cell";
    ValueFlags "vk-flags" "the value has flags that it cannot have";
    ValueList "value-list" "the value list does not fit its length";
    ValueName "vk-flags" "the value's name is too long or in the wrong form";
    ValueSize "vk-size" "data that must be inline is not, or the inline form is wrong";
}

/// One broken rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule.
    pub rule: Rule,
    /// The cell, or where a cell should begin.
    pub at: CellOffset,
    /// What was found there, where the rule is about a number.
    pub actual: u32,
    /// What was expected, where the rule is about a number.
    pub expected: u32,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}: {}", self.severity, self.rule.code(), self.at, self.rule.text())?;
        if self.actual != self.expected {
            write!(f, " ({:#x}, expected {:#x})", self.actual, self.expected)?;
        }
        Ok(())
    }
}

impl Hive {
    /// Checks every rule over the whole hive; returns what is broken, errors and warnings, in the order found.
    ///
    /// The base block is not looked at: [`Hive::parse`] has accepted it, and [`Hive::seal`] writes it.
    pub fn verify(&self) -> Vec<Finding> {
        let mut verifier = Verifier::new(self);
        if verifier.tiles() {
            verifier.keys();
            verifier.ring();
            verifier.leaks();
        }
        verifier.findings
    }
}

/// A key to visit, the key whose list names it, and its depth.
type Pending<'h> = (Key<'h>, Option<CellOffset>, usize);

struct Verifier<'h> {
    hive: &'h Hive,
    live: CellSet,
    free: CellSet,
    used: CellSet,
    /// How many keys use each security cell.
    references: HashMap<CellOffset, u32>,
    pending: Vec<Pending<'h>>,
    /// The values of one key, by hash and name; kept for its memory.
    names: Vec<(u32, Name<'h>, CellOffset)>,
    findings: Vec<Finding>,
}

impl<'h> Verifier<'h> {
    fn new(hive: &'h Hive) -> Self {
        let cells = || CellSet::new(hive.header.bins_len as usize);
        Self {
            hive,
            live: cells(),
            free: cells(),
            used: cells(),
            references: HashMap::new(),
            pending: Vec::new(),
            names: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Checks that bins and cells tile; tells whether the rest can be looked at.
    fn tiles(&mut self) -> bool {
        let mut free_before = false;
        for tile in Tiles::new(&self.hive.bytes, self.hive.header.bins_len) {
            match tile {
                Ok(Tile::Bin { .. }) => free_before = false,
                Ok(Tile::Cell { at, allocated: true, .. }) => {
                    self.live.set(at, true);
                    free_before = false;
                }
                Ok(Tile::Cell { at, .. }) => {
                    self.free.set(at, true);
                    if free_before {
                        self.warn(Rule::AdjacentFree, at);
                    }
                    free_before = true;
                }
                Err(error) => {
                    let at = match error {
                        Error::BinHeader { at }
                        | Error::BinOffset { at, .. }
                        | Error::BinSize { at, .. }
                        | Error::CellSize { at, .. } => at,
                        _ => CellOffset(self.hive.header.bins_len),
                    };
                    self.error(Rule::Tiles, at);
                    return false;
                }
            }
        }
        true
    }

    /// Returns the payload of a cell that must be allocated and is not used by anything else; tells if not.
    fn take(&mut self, at: CellOffset) -> Option<&'h [u8]> {
        if !self.live.contains(at) {
            self.absent(at);
            return None;
        }
        if !self.used.set(at, true) {
            self.error(Rule::DoubleUse, at);
            return None;
        }
        let payload = self.hive.cell(at);
        if payload.is_err() {
            self.error(Rule::Dangling, at);
        }
        payload.ok()
    }

    /// Tells that no allocated cell begins at `at`.
    fn absent(&mut self, at: CellOffset) {
        self.error(if self.free.contains(at) { Rule::FreeUsed } else { Rule::Dangling }, at);
    }

    fn leaks(&mut self) {
        let mut leaked = self.live.without(&self.used);
        if let Some(first) = leaked.next() {
            let count = u32::try_from(leaked.count()).unwrap_or(u32::MAX).saturating_add(1);
            self.tell(Severity::Warning, Rule::Leak, first, count, 0);
        }
    }

    fn error(&mut self, rule: Rule, at: CellOffset) {
        self.tell(Severity::Error, rule, at, 0, 0);
    }

    fn warn(&mut self, rule: Rule, at: CellOffset) {
        self.tell(Severity::Warning, rule, at, 0, 0);
    }

    fn wrong(&mut self, rule: Rule, at: CellOffset, actual: u32, expected: u32) {
        self.tell(Severity::Error, rule, at, actual, expected);
    }

    fn tell(&mut self, severity: Severity, rule: Rule, at: CellOffset, actual: u32, expected: u32) {
        match self.findings.len() {
            ..FINDINGS_MAX => self.findings.push(Finding { severity, rule, at, actual, expected }),
            FINDINGS_MAX => {
                self.findings.push(Finding {
                    severity: Severity::Error,
                    rule: Rule::TooMany,
                    at,
                    actual: 0,
                    expected: 0,
                });
            }
            _ => {}
        }
    }
}

/// Returns a count as the number that findings carry.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
