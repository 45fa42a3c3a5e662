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
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::bin::{CellSet, Survey, Tile, Tiles};
use super::name::Name;
use super::{Error, Hive, Key, Value};
use coldforge_base::CellOffset;

/// Findings told before the verifier stops: a hive with as many is beyond repair, and memory has a bound.
const FINDINGS_MAX: usize = 10_000;
/// Bytes of bins from which on several cores check a hive.
const PARALLEL_LEN: u32 = 0x20_0000;
/// Keys of one subtree that a core visits before it hands back what is left, for any core to go on with.
const SUBTREE_KEYS: usize = 2048;
/// Parts of equally many subtrees that cores take one after the other.
const PARTS: usize = 64;
/// Cores that work on one hive: each needs a set of all its cells.
const WORKERS_MAX: usize = 8;
/// Subkeys or values that are looked up together.
const BATCH: usize = 64;

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
    /// Checks every rule over the whole hive; returns what is broken, errors and warnings, in the order of the cells'
    /// place in the tree of keys: the same order on every machine.
    ///
    /// The base block is not looked at: [`Hive::parse`] has accepted it, and [`Hive::seal`] writes it.
    pub fn verify(&self) -> Vec<Finding> {
        self.check(self.header.bins_len >= PARALLEL_LEN)
    }

    /// Does what [`Hive::verify`] does, on several cores or on one: the findings are the same.
    fn check(&self, parallel: bool) -> Vec<Finding> {
        let survey = Survey::of(&self.bytes, self.header.bins_len);
        let ledger = Ledger { hive: self, live: &survey.live, free: OnceLock::new() };
        let mut verifier = Verifier::new(&ledger, survey.live.clone());
        for at in &survey.adjacent {
            verifier.warn(Rule::AdjacentFree, *at);
        }
        if let Some(error) = &survey.broken {
            let at = match error {
                Error::BinHeader { at }
                | Error::BinOffset { at, .. }
                | Error::BinSize { at, .. }
                | Error::CellSize { at, .. } => *at,
                _ => CellOffset(self.header.bins_len),
            };
            verifier.error(Rule::Tiles, at);
            return verifier.findings;
        }
        if parallel {
            let known = verifier.findings.clone();
            verifier.keys_in_parallel();
            if !verifier.clash {
                return verifier.finish();
            }
            // Which of two users of a cell came first is told by the order of the tree alone.
            verifier = Verifier::new(&ledger, survey.live.clone());
            verifier.findings = known;
        }
        verifier.keys();
        verifier.finish()
    }
}

/// A key to visit, which has been taken, the key whose list names it, and its depth.
type Pending<'h> = (Key<'h>, Option<CellOffset>, usize);

/// An entry of a leaf: the cell, its hint or hash, and the key if it can be read.
type Subkey<'h> = (CellOffset, Option<[u8; 4]>, Option<Key<'h>>);

/// What all threads of a verifier share.
struct Ledger<'h> {
    hive: &'h Hive,
    /// The allocated cells.
    live: &'h CellSet,
    /// The free cells, surveyed when one is used.
    free: OnceLock<CellSet>,
}

impl Ledger<'_> {
    fn is_free(&self, at: CellOffset) -> bool {
        let bins_len = self.hive.header.bins_len;
        let survey = || {
            let mut free = CellSet::new(bins_len as usize);
            for tile in Tiles::new(&self.hive.bytes, bins_len).flatten() {
                if let Tile::Cell { at, allocated: false, .. } = tile {
                    free.set(at, true);
                }
            }
            free
        };
        self.free.get_or_init(survey).contains(at)
    }
}

struct Verifier<'h, 'l> {
    hive: &'h Hive,
    ledger: &'l Ledger<'h>,
    /// The allocated cells that nothing uses so far.
    unused: CellSet,
    /// How many keys use each security cell.
    references: HashMap<CellOffset, u32>,
    /// The security cell of the last keys, and how many of them are not yet in the map: most have their neighbour's.
    run: (CellOffset, u32),
    pending: Vec<Pending<'h>>,
    /// Some subkeys of one key, and some of its values: looked up together, so that memory is not waited for one by
    /// one; kept for their memory.
    batch: (Vec<Subkey<'h>>, Vec<Value<'h>>),
    /// The values of one key, by mark and name; kept for its memory.
    names: Vec<(u32, Name<'h>, CellOffset)>,
    findings: Vec<Finding>,
    /// Whether a cell was found to be used twice.
    clash: bool,
}

impl<'h, 'l> Verifier<'h, 'l> {
    fn new(ledger: &'l Ledger<'h>, unused: CellSet) -> Self {
        Self {
            hive: ledger.hive,
            ledger,
            unused,
            references: HashMap::new(),
            run: (CellOffset(0), 0),
            pending: Vec::new(),
            batch: Default::default(),
            names: Vec::new(),
            findings: Vec::new(),
            clash: false,
        }
    }

    /// Checks what can be checked once all keys are known; returns all findings.
    fn finish(mut self) -> Vec<Finding> {
        self.ring();
        if let Some((first, count)) = self.unused.first_and_count() {
            self.tell(Severity::Warning, Rule::Leak, first, count, 0);
        }
        self.findings
    }

    /// Does what [`Verifier::keys`] does, on several cores, and finds the same in the same order unless there is a
    /// clash. In each round every core visits the tops of some subtrees; what is left of them is the next round's.
    fn keys_in_parallel(&mut self) {
        let mut pieces: Vec<Piece<'h>> = self.first().map(Piece::Subtree).into_iter().collect();
        let base = self.unused.clone();
        let workers = 0..rayon::current_num_threads().min(WORKERS_MAX);
        let mut workers: Vec<Self> = workers.map(|_| Verifier::new(self.ledger, base.clone())).collect();
        // Ends: in each round a worker takes cells that it did not have, or there is nothing left.
        while pieces.iter().any(|piece| matches!(piece, Piece::Subtree(_))) {
            let parts: Vec<&[Piece<'h>]> = pieces.chunks(pieces.len().div_ceil(PARTS).max(1)).collect();
            let next = AtomicUsize::new(0);
            let work = |worker: &mut Self| {
                let mut done = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(number) else { break done };
                    done.push((number, part.iter().flat_map(|piece| worker.visit_top(piece)).collect::<Vec<_>>()));
                }
            };
            let mut done: Vec<_> = workers.par_iter_mut().with_max_len(1).flat_map_iter(work).collect();
            done.sort_unstable_by_key(|part| part.0);
            pieces = done.into_iter().flat_map(|part| part.1).collect();
        }
        for mut worker in workers {
            worker.settle();
            self.clash |= worker.clash | !self.unused.take_as(&worker.unused, &base);
            worker.references.iter().for_each(|(at, count)| self.refer(*at, *count));
        }
        self.settle();
        for piece in &pieces {
            if let Piece::Visited(findings) = piece {
                findings.iter().for_each(|finding| tell(&mut self.findings, *finding));
            }
        }
    }

    /// Visits the first keys of a subtree: returns their findings, and then the subtrees that are left.
    fn visit_top(&mut self, piece: &Piece<'h>) -> Vec<Piece<'h>> {
        let top = match piece {
            Piece::Visited(findings) => return vec![Piece::Visited(findings.clone())],
            Piece::Subtree(top) => *top,
        };
        self.pending.push(top);
        for _ in 0..SUBTREE_KEYS {
            let Some(next) = self.pending.pop() else { break };
            self.visit(next);
        }
        let found = std::mem::take(&mut self.findings);
        let visited = (!found.is_empty()).then_some(Piece::Visited(found));
        visited.into_iter().chain(self.pending.drain(..).rev().map(Piece::Subtree)).collect()
    }

    /// Returns the payload of a cell that must be allocated and is not used by anything else; tells if not.
    fn take(&mut self, at: CellOffset) -> Option<&'h [u8]> {
        if !self.claim(at) {
            return None;
        }
        let payload = self.hive.payload(at);
        if payload.is_none() {
            self.error(Rule::Dangling, at);
        }
        payload
    }

    /// Uses a cell that must be allocated and is not used by anything else; tells if not.
    fn claim(&mut self, at: CellOffset) -> bool {
        if self.unused.set(at, false) {
            return true;
        }
        if self.ledger.live.contains(at) {
            self.clash = true;
            self.error(Rule::DoubleUse, at);
        } else {
            self.absent(at);
        }
        false
    }

    /// Tells that no allocated cell begins at `at`.
    fn absent(&mut self, at: CellOffset) {
        self.error(if self.ledger.is_free(at) { Rule::FreeUsed } else { Rule::Dangling }, at);
    }

    /// Counts keys that use a security cell.
    fn refer(&mut self, at: CellOffset, count: u32) {
        if self.run.0 != at {
            self.settle();
            self.run.0 = at;
        }
        self.run.1 = self.run.1.saturating_add(count);
    }

    /// Puts the last keys' uses into the map.
    fn settle(&mut self) {
        let (at, count) = std::mem::take(&mut self.run);
        if count > 0 {
            let uses = self.references.entry(at).or_default();
            *uses = uses.saturating_add(count);
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
        tell(&mut self.findings, Finding { severity, rule, at, actual, expected });
    }
}

/// A piece of the tree of keys, in the order in which one walk visits it.
enum Piece<'h> {
    /// What was found at keys that have been visited.
    Visited(Vec<Finding>),
    /// A key that has not been visited, and all below it.
    Subtree(Pending<'h>),
}

/// Adds a finding, up to the number that is told.
fn tell(findings: &mut Vec<Finding>, finding: Finding) {
    match findings.len() {
        ..FINDINGS_MAX => findings.push(finding),
        FINDINGS_MAX => {
            let rest = Finding { severity: Severity::Error, rule: Rule::TooMany, actual: 0, expected: 0, ..finding };
            findings.push(rest);
        }
        _ => {}
    }
}

/// Returns a count as the number that findings carry.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
