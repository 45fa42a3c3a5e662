//! The strict verifier: every rule that ties the structures of a volume together, checked over all of it.
//!
//! ```text
//! boot sector and copy, $MFTMirr, $LogFile       system.rs
//! each record by itself, in parallel             records.rs   attributes, mapping pairs
//! each file                                      files.rs     streams.rs: extents, sizes; lists.rs: several records
//! each index, in parallel                        index.rs     shape, order; directories.rs: entries and their files
//! each name, each directory from the root        names.rs
//! each cluster once, and $Bitmap                 clusters.rs
//! $Secure                                        secure.rs
//! ```
//!
//! Checks are relaxed where Windows itself breaks a rule; each file says where. Not checked: the content of data
//! streams, times, log sequence numbers, the change journal, the meaning of object ids, quotas and reparse points.
//!
//! # Bounds
//! Memory: what `table.rs` says, a set of the blocks of each index that is being walked, pieces of a megabyte, and at
//! most 1,000 findings a rule in the end. Time: each record is read three times at most, each index block once (and
//! all together not more than the device has room for), each byte of `$Bitmap` once.

mod clusters;
mod directories;
mod files;
mod finding;
mod index;
mod lists;
mod names;
mod records;
mod secure;
mod streams;
mod system;
mod table;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

pub use finding::{About, Finding, Rule, Severity};

use self::directories::{Scope, Stale};
use self::finding::Findings;
use self::index::{Budget, Index};
use self::records::{Attribute, Context};
use self::table::{Node, Owned, Part, Table};
use super::layout::{self, collation, kind, name, record_flag};
use super::record::Reference;
use super::{Result, Volume};
use coldforge_base::progress::Progress;
use coldforge_base::{Failure as _, Kind, ReadAt, read};

/// How much of a volume is verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check<'a> {
    /// Everything.
    Full,
    /// The files with these records, the directories that hold them up to the root, NTFS's own files, and the bits of
    /// their records and clusters. What other files claim is not seen, so that a cluster may be shared with one.
    Touched(&'a [u64]),
}

/// What the verifier found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The findings in the order of rules, at most 1,000 of each.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub omitted: u64,
    /// File records in use that were read.
    pub records: u64,
    /// Files among them: base records that are no directories, NTFS's own apart.
    pub files: u64,
    /// Directories among them.
    pub directories: u64,
    /// Clusters that files hold.
    pub clusters: u64,
}

impl Report {
    /// Returns the findings that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity() == Severity::Error)
    }

    /// Returns whether nothing contradicts itself; there may be warnings.
    pub fn is_sound(&self) -> bool {
        self.errors().next().is_none() && self.omitted == 0
    }

    /// Returns the findings that are not in `before`, which is a report of the same volume.
    ///
    /// Where findings were left out of either report the answer cannot be trusted: see [`Report::omitted`].
    pub fn grown_from(&self, before: &Self) -> Vec<Finding> {
        let mut old = before.findings.iter().peekable();
        let mut grown = Vec::new();
        // Both lists are sorted; equal findings are matched one by one.
        for finding in &self.findings {
            while old.next_if(|old| *old < finding).is_some() {}
            if old.next_if(|old| *old == finding).is_none() {
                grown.push(*finding);
            }
        }
        grown
    }
}

/// Bytes of `$MFT` that one task reads.
const PIECE_BYTES: u64 = 1 << 20;

impl<D: ReadAt> Volume<D> {
    /// Checks every rule that ties the structures of the volume together.
    ///
    /// # Errors
    /// Only errors of the operating system; faults of the volume are findings.
    pub fn verify(&self, check: Check<'_>, progress: &dyn Progress) -> Result<Report> {
        let mut findings = Findings::default();
        self.guarded(system::check_boot(self, &mut findings), super::layout::system::BOOT, &mut findings)?;
        let records = self.records_to_read(&mut findings);
        let budget = Budget::new(self.block_budget());
        let (scope, (mut table, mut owned, mut parts)) = match check {
            Check::Full => (Scope::All, self.read_all(records, progress)?),
            Check::Touched(touched) => (Scope::Some, self.read_some(&self.closure(touched, records), progress)?),
        };
        parts.extend(self.join_extensions(&mut table, &budget));
        let (edges, stale, walked) = self.walk_indexes(&table, scope, &budget, progress);
        parts.extend(walked);
        let mut children: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (parent, child) in edges {
            children.entry(parent).or_default().push(child);
        }
        let own = directories::own_files(&children, &table);
        directories::judge(stale, &own, &table, &mut findings);
        let security_ids = secure::check(self, &budget, &mut findings);
        names::check(&table, &mut findings);
        names::check_files(&table, &children, &own, &security_ids, &mut findings);

        clusters::check_shared(self, &mut owned, &mut findings);
        use super::layout::system as number;
        self.guarded(clusters::check_bitmap(self, &owned, scope, &mut findings), number::BITMAP, &mut findings)?;
        let bitmap = system::check_mft_bitmap(self, &table, records, scope, &mut findings);
        self.guarded(bitmap, number::MFT, &mut findings)?;
        self.guarded(system::check_mirror(self, &mut findings), number::MFT_MIRROR, &mut findings)?;
        self.guarded(system::check_log(self, &mut findings), number::LOG_FILE, &mut findings)?;
        system::check_files(self, &table, &mut findings);
        progress.finish();

        parts.push(findings);
        let (findings, omitted) = Findings::joined(parts);
        let users = |node: &&Node| node.is_base() && !own.contains(&node.number);
        Ok(Report {
            findings,
            omitted,
            records: table.nodes().count() as u64,
            files: table.nodes().filter(users).filter(|node| !node.is_directory()).count() as u64,
            directories: table.nodes().filter(users).filter(|node| node.is_directory()).count() as u64,
            clusters: owned.iter().fold(0u64, |sum, run| sum.saturating_add(run.end.saturating_sub(run.start))),
        })
    }

    /// Turns a fault of a stream into a finding; only errors of the operating system are returned.
    fn guarded(&self, answer: Result<()>, record: u64, findings: &mut Findings) -> Result<()> {
        match answer {
            Err(error) if error.kind() == Kind::Io => Err(error),
            Err(_) => {
                findings.plain(Rule::Unreadable, record, About::Whole, self.record_place(record));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns how many records `$MFT` has, as far as the device can hold them.
    fn records_to_read(&self, findings: &mut Findings) -> u64 {
        let record_bytes = self.geometry.record_bytes as u64;
        let claimed = self.mft.size.min(self.mft.initialized).checked_div(record_bytes).unwrap_or(0);
        let most = self.device.len().checked_div(record_bytes).unwrap_or(0);
        if claimed > most {
            findings.number(Rule::MftSize, 0, About::Whole, self.record_place(0), claimed, most);
        }
        claimed.min(most)
    }

    /// Returns how many blocks may be read of indexes and lists: twice what the device has room for, since `$Secure`
    /// is read twice.
    fn block_budget(&self) -> u64 {
        let least = layout::STRIDE_BYTES as u64;
        self.device.len().checked_div(least).unwrap_or(0).saturating_mul(2).saturating_add(64)
    }

    /// Reads all records in pieces.
    fn read_all(&self, records: u64, progress: &dyn Progress) -> Result<(Table, Vec<Owned>, Vec<Findings>)> {
        let record_bytes = self.geometry.record_bytes as u64;
        let each = PIECE_BYTES.checked_div(record_bytes).unwrap_or(1).max(1);
        progress.start("checking files", records.saturating_mul(record_bytes));
        let pieces = usize::try_from(records.div_ceil(each)).unwrap_or(usize::MAX);
        let read = |piece: usize| {
            let first = (piece as u64).saturating_mul(each);
            let count = each.min(records.saturating_sub(first));
            let length = count.saturating_mul(record_bytes);
            let mut bytes = vec![0; read::size(length)];
            let mut findings = Findings::default();
            let answer = self.mft.read(&self.device, &self.geometry, self.record_start(first), &mut bytes);
            self.guarded(answer, first, &mut findings)?;
            let mut part = Part::default();
            for (number, record) in (first..).zip(bytes.chunks_exact_mut(self.geometry.record_bytes)) {
                self.read_record(number, record, &mut part, &mut findings);
            }
            progress.advance(length);
            Ok((part, findings))
        };
        let read: Vec<(Part, Findings)> = (0..pieces).into_par_iter().map(read).collect::<Result<_>>()?;
        let (parts, findings): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        let (table, owned) = Table::new(parts);
        Ok((table, owned, findings))
    }

    /// Reads some records.
    fn read_some(
        &self,
        numbers: &BTreeSet<u64>,
        progress: &dyn Progress,
    ) -> Result<(Table, Vec<Owned>, Vec<Findings>)> {
        progress.start("checking files", (numbers.len() as u64).saturating_mul(self.geometry.record_bytes as u64));
        let (mut part, mut findings) = (Part::default(), Findings::default());
        for number in numbers {
            match self.raw_record(*number) {
                Ok(mut record) => self.read_record(*number, &mut record, &mut part, &mut findings),
                Err(error) => self.guarded(Err(error), *number, &mut findings)?,
            }
            progress.advance(self.geometry.record_bytes as u64);
        }
        let (table, owned) = Table::new(vec![part]);
        Ok((table, owned, vec![findings]))
    }

    /// Returns the numbers of records, of all that belong to the same files, of the directories that hold them up to
    /// the root, and of NTFS's own.
    fn closure(&self, touched: &[u64], records: u64) -> BTreeSet<u64> {
        let context = Context { upcase: &self.upcase, clusters: self.geometry.clusters };
        let mut all = BTreeSet::new();
        let mut todo: Vec<u64> = touched.iter().copied().chain(0..layout::system::FIRST_USER).collect();
        // Each record is entered once at most.
        while let Some(number) = todo.pop() {
            if number >= records || !all.insert(number) {
                continue;
            }
            let Some(bytes) = lists::plain_record(self, number) else { continue };
            let mut ignored = Findings::default();
            let Some(record) = records::parse(context, number, 0, &bytes, &mut ignored) else { continue };
            if record.base != 0 {
                todo.push(Reference(record.base).record());
            }
            todo.extend(files::links(&record, &mut ignored).iter().map(|link| link.parent.record()));
            let segments = self.record(number).and_then(|record| self.segments(record));
            let list = segments.ok().and_then(|segments| segments.list).unwrap_or_default();
            todo.extend(list.iter().map(|entry| entry.reference.record()));
        }
        all
    }

    /// Checks one record by itself, and notes what other checks need of it.
    fn read_record(&self, number: u64, bytes: &mut [u8], part: &mut Part, findings: &mut Findings) {
        let at = self.record_place(number);
        if !bytes.starts_with(&super::record::Record::SIGNATURE) {
            // Records that were never used are zeros; NTFS's own are always there.
            if number < RESERVED || bytes.iter().any(|byte| *byte != 0) {
                let found = read::u32_le(bytes, 0).map_or(0, u64::from);
                findings.number(Rule::RecordSignature, number, About::Whole, at, found, found);
            }
            return;
        }
        let whole = records::unprotect(bytes) == Some(true);
        let Ok(header) = layout::view::<layout::FileRecordHeader>(bytes, 0) else { return };
        let (flags, base, sequence) = (header.flags.get(), header.base.get(), header.sequence.get());
        let is_used = flags & record_flag::IN_USE != 0;
        if !whole {
            let rule = if is_used { Rule::RecordTorn } else { Rule::RecordTornFree };
            findings.plain(rule, number, About::Whole, at);
        }
        if !is_used {
            return;
        }
        let mut node =
            Node { number, base, at, sequence, flags, is_read: false, has_list: false, facts: files::Facts::default() };
        let context = Context { upcase: &self.upcase, clusters: self.geometry.clusters };
        if let Some(record) = records::parse(context, number, at, bytes, findings) {
            node.is_read = true;
            node.has_list = record.attributes.iter().any(|attribute| attribute.kind == kind::ATTRIBUTE_LIST);
            part.own(&record);
            for link in files::links(&record, findings) {
                part.link(&link);
            }
            // Files in several records are checked when all of them are known.
            if record.base == 0 && !node.has_list {
                let mut attributes: Vec<&Attribute<'_>> = record.attributes.iter().collect();
                node.facts = files::check(&record, &mut attributes, self.geometry.cluster_bytes, findings);
            }
        }
        part.nodes.push(node);
    }

    /// Checks records that continue others, and the files in several records.
    fn join_extensions(&self, table: &mut Table, budget: &Budget) -> Vec<Findings> {
        let mut findings = Findings::default();
        let mut extensions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for node in table.nodes().filter(|node| !node.is_base()) {
            let reference = Reference(node.base);
            let base = table.node(reference.record()).filter(|base| base.is_base());
            let at = node.at.saturating_add(0x20);
            match base.filter(|base| base.sequence == reference.sequence()) {
                Some(base) => extensions.entry(base.number).or_default().push(node.number),
                None => findings.number(
                    Rule::ExtensionBase,
                    node.number,
                    About::Record(reference.record()),
                    at,
                    reference.0,
                    reference.0,
                ),
            }
        }
        for (base, others) in &extensions {
            if let Some(node) = table.node(*base).filter(|node| !node.has_list) {
                let (at, count) = (node.at, others.len() as u64);
                findings.number(Rule::ExtensionUnlisted, *base, About::Whole, at, count, 0);
            }
        }
        let listed: Vec<Node> = table.nodes().filter(|node| node.is_base() && node.has_list).copied().collect();
        let check = |node: &Node| {
            let mut findings = Findings::default();
            let others = extensions.get(&node.number).map_or(&[][..], Vec::as_slice);
            let facts = lists::check(self, node, others, table, budget, &mut findings);
            (node.number, facts, findings)
        };
        let checked: Vec<_> = listed.par_iter().map(check).collect();
        let mut parts = vec![findings];
        for (number, facts, findings) in checked {
            if let (Some(node), Some(facts)) = (table.node_mut(number), facts) {
                node.facts = facts;
            }
            parts.push(findings);
        }
        parts
    }

    /// Walks every index, and returns which directory holds which, the stale entries, and the findings.
    fn walk_indexes(
        &self,
        table: &Table,
        scope: Scope,
        budget: &Budget,
        progress: &dyn Progress,
    ) -> (Vec<(u64, u64)>, Vec<Stale>, Vec<Findings>) {
        progress.start("checking folders", 0);
        let indexed: Vec<&Node> = table.nodes().filter(|node| node.is_base() && node.facts.has_index).collect();
        let walk = |nodes: &[&Node]| {
            let (mut findings, mut edges, mut stale) = (Findings::default(), Vec::new(), Vec::new());
            for node in nodes {
                self.walk_file(node, table, scope, budget, &mut edges, &mut stale, &mut findings);
            }
            (edges, stale, findings)
        };
        let walked: Vec<_> = indexed.par_chunks(64).map(walk).collect();
        let (mut edges, mut stale, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for (some_edges, some_stale, findings) in walked {
            edges.extend(some_edges);
            stale.extend(some_stale);
            parts.push(findings);
        }
        (edges, stale, parts)
    }

    /// Walks every index of one file.
    #[allow(clippy::too_many_arguments, reason = "three of them are what the walk fills")]
    fn walk_file(
        &self,
        node: &Node,
        table: &Table,
        scope: Scope,
        budget: &Budget,
        edges: &mut Vec<(u64, u64)>,
        stale: &mut Vec<Stale>,
        findings: &mut Findings,
    ) {
        let unreadable = |findings: &mut Findings| {
            findings.plain(Rule::Unreadable, node.number, About::Block { index: 0, vcn: None }, node.at);
        };
        let Ok(segments) = self.record(node.number).and_then(|record| self.segments(record)) else {
            return unreadable(findings);
        };
        let Ok(names) = segments.names_of(kind::INDEX_ROOT) else { return unreadable(findings) };
        for name in names {
            let index = match Index::open(self, &segments, node.at, &name, budget, findings) {
                Ok(Some(index)) => index,
                Ok(None) => continue,
                Err(_) => {
                    unreadable(findings);
                    continue;
                }
            };
            if name == name::I30 {
                let walked = directories::walk(&index, node, table, &self.upcase, scope, findings);
                edges.extend(walked.edges);
                stale.extend(walked.stale);
            } else {
                let (_, collation) = index.indexes();
                if !is_known_collation(collation) {
                    let (about, at) = (About::Block { index: 0, vcn: None }, index.root_at());
                    let collation = u64::from(collation);
                    findings.number(Rule::IndexCollation, node.number, about, at, collation, collation);
                }
                index.walk(|a, b| compare_keys(collation, a, b), |_, _| {}, findings);
            }
        }
    }
}

/// Records that NTFS keeps for its own files; the ones up to [`layout::system::FIRST_USER`] may be empty.
const RESERVED: u64 = 16;

fn is_known_collation(rule: u32) -> bool {
    [collation::BINARY, collation::ULONG, collation::SID, collation::SECURITY_HASH, collation::ULONGS].contains(&rule)
}

/// Compares two keys of an index that is not of names; those of an unknown order always ascend.
fn compare_keys(rule: u32, a: &[u8], b: &[u8]) -> Option<Ordering> {
    let words = |key: &[u8]| key.chunks_exact(4).filter_map(|word| read::u32_le(word, 0).ok()).collect::<Vec<_>>();
    match rule {
        collation::BINARY => Some(a.cmp(b)),
        collation::ULONG | collation::ULONGS | collation::SECURITY_HASH => Some(words(a).cmp(&words(b))),
        collation::SID => Some(a.len().cmp(&b.len()).then_with(|| a.cmp(b))),
        _ => Some(Ordering::Less),
    }
}
