//! Recovery: a dirty hive and its transaction logs become the clean hive that Windows would make of them.
//!
//! A hive whose base block is good is dirty if its two sequence numbers differ. Logs of the new format are ordered by
//! their first sequence number, those from before the hive's secondary sequence number are stale, and each must go on
//! where the one before it ended. A log of the old format is used alone, if it is not older than the hive. A base
//! block that is lost is taken from the latest log, and that log alone is replayed, as Windows does. The recovered
//! hive gets the next sequence number, twice.
//!
//! Where the logs leave a doubt (two that begin alike and differ; a gap that a damaged log may have filled; an entry
//! that is whole and impossible), nothing is recovered. A hive that is given back was parsed; whether everything in it
//! is right is for [`Hive::verify`] to say, because what a log holds is nobody's word but the log's.
//!
//! Memory is bounded by the files: the hive cannot grow by more than the logs' own bytes, nor above 2 GiB.

use std::fmt;
use std::mem::offset_of;

use zerocopy::FromBytes;

use super::layout::{BASE_BLOCK_LEN, BaseBlock, BinHeader};
use super::log::{self, Content, End, Entries, Ignored, Journal, Log, Page};
use super::{Error, Hive, Result, base_block};
use coldforge_base::{Extent, FileOffset, offset, read};

/// Changed bytes with fewer unchanged ones between them are told as one extent.
const GAP_LEN: usize = 8;

/// The bit of the base block's flags that a log entry carries on.
const ENTRY_FLAGS: u32 = 1;

/// A clean hive, and how it became one.
#[derive(Debug)]
pub struct Recovered {
    /// The hive. Its [`Hive::touched`] begins with what the recovery changed.
    pub hive: Hive,
    /// What was done, or `None` if the hive was clean and is the file as it was.
    pub replay: Option<Replay>,
    /// Each log that was given, in that order.
    pub logs: Vec<LogReport>,
    /// How many reference counts of security descriptors were set right.
    pub mended: usize,
}

/// What a recovery did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replay {
    /// The sequence numbers of the first and the last entry replayed; `None` for a log of the old format, which has no
    /// entries.
    pub entries: Option<(u32, u32)>,
    /// The ranges of the hive file that the logs' pages cover, whether their bytes differed or not: ascending, without
    /// overlap.
    pub pages: Vec<Extent>,
    /// The ranges of the hive file whose bytes changed, the base block's and those behind its old end among them:
    /// ascending, without overlap, with less than eight unchanged bytes in a row.
    pub changed: Vec<Extent>,
    /// The length in bytes that the file must get, if it is longer now.
    pub grown_to: Option<u64>,
    /// The log from which the lost base block was taken.
    pub base_block_from: Option<String>,
}

/// What became of one log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogReport {
    /// The file's name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was replayed.
    Replayed {
        /// The sequence numbers of its first and last entry; `None` in the old format.
        entries: Option<(u32, u32)>,
        /// The pages in it, counted as often as they were written.
        pages: usize,
        /// Why it ended there; `None` in the old format.
        end: Option<End>,
    },
    /// It was not.
    Ignored(Ignored),
}

impl fmt::Display for LogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Replayed { entries: Some((first, last)), pages, .. } => {
                write!(f, "{}: replayed, entries {first} to {last}, {pages} pages", self.name)
            }
            Outcome::Replayed { entries: None, pages, .. } => write!(f, "{}: replayed, {pages} pages", self.name),
            Outcome::Ignored(reason) => write!(f, "{}: ignored, {reason}", self.name),
        }
    }
}

impl Hive {
    /// Makes a clean hive of a hive file and its logs, in any order; a clean one is parsed as it is, and its logs are
    /// ignored.
    ///
    /// # Errors
    /// [`Error::DirtyNoLog`] if the hive is dirty and no log can be replayed; [`Error::LogBins`], [`Error::LogPages`]
    /// and [`Error::LogPage`] if a log that is needed says what is not possible; otherwise as [`Hive::parse`], also for
    /// what the replay has made.
    pub fn recover(primary: Vec<u8>, logs: &[Log<'_>]) -> Result<Recovered> {
        let lost = match base_block::parse(&primary, primary.len() as u64) {
            Err(Error::Dirty { .. }) => None,
            // A file that ends in its base block holds nothing that could be recovered.
            Err(error @ (Error::NoHive { .. } | Error::Checksum { .. })) if primary.len() > BASE_BLOCK_LEN as usize => {
                Some(error)
            }
            Ok(_) | Err(_) => {
                let outcome = |log: &Log<'_>| report(log, Outcome::Ignored(Ignored::HiveClean));
                let logs = logs.iter().map(outcome).collect();
                return Ok(Recovered { hive: Self::parse(primary)?, replay: None, logs, mended: 0 });
            }
        };
        let own = BaseBlock::ref_from_prefix(&primary).ok().map(|(base, _)| base).filter(|_| lost.is_none());
        let sequences = own.map(|base| (base.primary_sequence.get(), base.secondary_sequence.get()));
        let mut choice = Choice::new(logs);
        choice.choose(own, first_bin_time(&primary))?;
        let reports = choice.reports(logs);
        let Some(plan) = Plan::new(&choice, logs, sequences.map(|(primary, _)| primary)) else {
            let (primary, secondary) = sequences.unwrap_or_default();
            return Err(lost.unwrap_or(Error::DirtyNoLog { primary, secondary, logs: reports }));
        };
        let room = logs.iter().fold(primary.len() as u64, |room, log| room.saturating_add(log.bytes.len() as u64));
        let (hive, replay) = plan.carry_out(primary, room)?;
        Ok(Recovered { hive, replay: Some(replay), logs: reports, mended: 0 })
    }

    /// Takes a dirty hive for a clean one as it lies there, without its logs: what its last writer had not finished is
    /// lost or torn. Only the base block changes.
    ///
    /// # Errors
    /// As [`Hive::parse`], but for [`Error::Dirty`].
    pub fn accept_dirty(primary: Vec<u8>) -> Result<Recovered> {
        let (first, second) = match base_block::parse(&primary, primary.len() as u64) {
            Err(Error::Dirty { primary, secondary }) => (primary, secondary),
            Ok(_) | Err(_) => {
                return Ok(Recovered { hive: Self::parse(primary)?, replay: None, logs: Vec::new(), mended: 0 });
            }
        };
        let last = if is_before(first, second) { second } else { first };
        let plan = Plan { steps: Vec::new(), entries: None, last, base: None };
        let (hive, replay) = plan.carry_out(primary, u64::MAX)?;
        Ok(Recovered { hive, replay: Some(replay), logs: Vec::new(), mended: 0 })
    }
}

/// What is taken of a damaged hive, instead of refusing it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Accept {
    /// A dirty hive without a usable log, as it lies there.
    pub dirty: bool,
    /// A hive whose only errors are reference counts of security descriptors that are too high or too low: they are set
    /// right.
    pub refcounts: bool,
}

impl Accept {
    /// Loads a hive, recovered from its logs if it is dirty.
    ///
    /// # Errors
    /// As [`Hive::recover`].
    pub fn load(self, primary: Vec<u8>, logs: &[Log<'_>]) -> Result<Recovered> {
        let kept = if self.dirty { primary.clone() } else { Vec::new() };
        let mut recovered = match Hive::recover(primary, logs) {
            Err(Error::DirtyNoLog { .. }) if self.dirty => Hive::accept_dirty(kept),
            answer => answer,
        }?;
        if self.refcounts {
            recovered.mended = recovered.hive.mend_references()?.unwrap_or_default();
        }
        Ok(recovered)
    }
}

/// Which logs are replayed, and why the others are not.
struct Choice<'l> {
    judged: Vec<std::result::Result<Journal<'l>, Ignored>>,
    /// Indices of those that are replayed, in this order.
    chosen: Vec<usize>,
}

impl<'l> Choice<'l> {
    fn new(logs: &[Log<'l>]) -> Self {
        Self { judged: logs.iter().map(log::read).collect(), chosen: Vec::new() }
    }

    /// Chooses for a hive whose base block is `own`, or lost; `bin_time` is the time stamp in its first bin.
    ///
    /// # Errors
    /// If a log that is needed has an entry that is whole and impossible.
    fn choose(&mut self, own: Option<&BaseBlock>, bin_time: u64) -> Result<()> {
        if let Some(own) = own {
            for judged in &mut self.judged {
                if judged.as_ref().is_ok_and(|journal| !is_of(journal.base, own)) {
                    *judged = Err(Ignored::OtherHive);
                }
            }
        }
        let secondary = own.map(|base| base.secondary_sequence.get());
        let (live, hidden) = self.live_entries(secondary);
        if live.is_empty() {
            let best = self.latest_pages(own.map_or(bin_time, |base| base.last_written.get()), secondary);
            if own.is_some() || !self.may_be_rivalled(&best, &hidden) {
                self.chosen = best;
            }
            return Ok(());
        }
        let chosen = match secondary {
            Some(secondary) => self.chain(live, &hidden, secondary),
            None => self.latest(live, &hidden),
        };
        for index in &chosen {
            if let Some(error) = self.entries(*index).and_then(|entries| entries.impossible.clone()) {
                return Err(error);
            }
        }
        self.chosen = chosen;
        Ok(())
    }

    /// Returns the logs of the new format that are worth a look, and the first sequence numbers, as far as they are
    /// known, of those that may once have been.
    fn live_entries(&mut self, secondary: Option<u32>) -> (Vec<usize>, Vec<Option<u32>>) {
        let (mut live, mut hidden) = (Vec::new(), Vec::new());
        for (index, judged) in self.judged.iter_mut().enumerate() {
            match judged {
                Ok(Journal { content: Content::Entries(entries), .. }) => {
                    let (first, end) = (entries.first, entries.end);
                    match secondary {
                        Some(hive) if is_before(first, hive) => *judged = Err(Ignored::Stale { first, hive }),
                        _ if entries.list.is_empty() && entries.impossible.is_none() => {
                            hidden.push(Some(first));
                            *judged = Err(Ignored::NoEntries(end));
                        }
                        _ => live.push(index),
                    }
                }
                Err(Ignored::Unfinished { secondary, .. }) => hidden.push(Some(*secondary)),
                Ok(_) | Err(Ignored::Blank | Ignored::DirtyVector) => {}
                Err(_) => hidden.push(None),
            }
        }
        (live, hidden)
    }

    /// Returns those of the `live` logs that follow one another without a gap, from the first that is not stale on.
    fn chain(&mut self, mut live: Vec<usize>, hidden: &[Option<u32>], secondary: u32) -> Vec<usize> {
        let first = |choice: &Self, index: usize| choice.entries(index).map_or(secondary, |entries| entries.first);
        // None is before the secondary sequence number, so that the distance from it orders them across the wrap.
        live.sort_by_key(|index| first(self, *index).wrapping_sub(secondary));
        if self.have_twins(&mut live) {
            return Vec::new();
        }
        let mut chain: Vec<usize> = Vec::new();
        let mut due = None;
        for index in live {
            let first = first(self, index);
            match due {
                Some(expected) if expected != first => self.ignore(index, Ignored::Gap { first, expected }),
                _ => {
                    due = Some(self.entries(index).map_or(first, Entries::due));
                    chain.push(index);
                }
            }
        }
        let begin = chain.first().map_or(secondary, |index| first(self, *index));
        let may_be_headless = hidden.iter().any(|known| known.is_none_or(|known| is_before(known, begin)));
        if begin != secondary && may_be_headless {
            for index in &chain {
                self.ignore(*index, Ignored::Headless { first: first(self, *index) });
            }
            return Vec::new();
        }
        chain
    }

    /// Returns that one of the `live` logs that begins last, for a hive without a base block.
    fn latest(&mut self, live: Vec<usize>, hidden: &[Option<u32>]) -> Vec<usize> {
        let first = |choice: &Self, index: usize| choice.entries(index).map_or(0, |entries| entries.first);
        let later = |one, other| if is_before(first(self, one), first(self, other)) { other } else { one };
        let Some(latest) = live.iter().copied().reduce(later) else { return Vec::new() };
        let begin = first(self, latest);
        let mut equal: Vec<usize> = live.iter().copied().filter(|index| first(self, *index) == begin).collect();
        for index in live {
            if first(self, index) != begin {
                self.ignore(index, Ignored::Superseded);
            }
        }
        if self.have_twins(&mut equal) {
            return Vec::new();
        }
        if self.may_be_rivalled(&equal, hidden) { Vec::new() } else { equal }
    }

    /// Tells whether a log that cannot be dated may be newer than the `chosen` one, which is out then.
    fn may_be_rivalled(&mut self, chosen: &[usize], hidden: &[Option<u32>]) -> bool {
        let rivalled = hidden.contains(&None);
        for index in chosen.iter().filter(|_| rivalled) {
            self.ignore(*index, Ignored::Rivalled);
        }
        rivalled
    }

    /// Takes out of `live`, which is ordered, all but the first of those that begin alike and say the same; tells
    /// whether some begin alike and differ, which all are out then.
    fn have_twins(&mut self, live: &mut Vec<usize>) -> bool {
        let key = |choice: &Self, index: usize| choice.entries(index).map(|entries| entries.first);
        let mut differ = false;
        let mut kept: Vec<usize> = Vec::new();
        for index in std::mem::take(live) {
            match kept.last() {
                Some(last) if key(self, *last) == key(self, index) => {
                    let last = *last;
                    let says = |index| {
                        let (journal, entries) = (self.journal(index)?, self.entries(index)?);
                        Some((journal.sector, &entries.list, &entries.impossible))
                    };
                    if says(last) != says(index) {
                        differ = true;
                        self.ignore(last, Ignored::Twin);
                    }
                    self.ignore(index, Ignored::Twin);
                }
                _ => kept.push(index),
            }
        }
        *live = kept;
        differ
    }

    /// Returns the latest log of the old format that was written at `time` or later, and no earlier by its sequence
    /// number than the hive. (The time alone is no proof: Windows has not maintained it since 8.1.)
    fn latest_pages(&mut self, time: u64, secondary: Option<u32>) -> Vec<usize> {
        let mut best: Option<usize> = None;
        for index in 0..self.judged.len() {
            let Some(Ok(journal)) = self.judged.get(index) else { continue };
            let (Content::Pages(pages), base) = (&journal.content, journal.base) else { continue };
            let (written, sequence) = (base.last_written.get(), base.primary_sequence.get());
            if written < time {
                self.ignore(index, Ignored::Older);
                continue;
            }
            if let Some(hive) = secondary.filter(|secondary| is_before(sequence, *secondary)) {
                self.ignore(index, Ignored::Stale { first: sequence, hive });
                continue;
            }
            let rival = best.and_then(|best| self.journal(best));
            let Some((rival, Content::Pages(rival_pages))) = rival.map(|rival| (rival, &rival.content)) else {
                best = Some(index);
                continue;
            };
            let (rival_written, rival_sequence) = (rival.base.last_written.get(), rival.base.primary_sequence.get());
            let (reason, loser) = if (written, sequence) == (rival_written, rival_sequence) {
                if (journal.sector, pages) != (rival.sector, rival_pages) {
                    // Both are out, and so is everything else: which one is right cannot be told.
                    for index in [Some(index), best].into_iter().flatten() {
                        self.ignore(index, Ignored::Twin);
                    }
                    return Vec::new();
                }
                (Ignored::Twin, Some(index))
            } else if written > rival_written || written == rival_written && is_before(rival_sequence, sequence) {
                (Ignored::Superseded, best.replace(index))
            } else {
                (Ignored::Superseded, Some(index))
            };
            if let Some(loser) = loser {
                self.ignore(loser, reason);
            }
        }
        best.into_iter().collect()
    }

    fn ignore(&mut self, index: usize, reason: Ignored) {
        if let Some(judged) = self.judged.get_mut(index) {
            *judged = Err(reason);
        }
    }

    fn journal(&self, index: usize) -> Option<&Journal<'l>> {
        self.judged.get(index)?.as_ref().ok()
    }

    fn entries(&self, index: usize) -> Option<&Entries<'l>> {
        match &self.journal(index)?.content {
            Content::Entries(entries) => Some(entries),
            Content::Pages(_) => None,
        }
    }

    /// Returns what became of each log.
    fn reports(&self, logs: &[Log<'_>]) -> Vec<LogReport> {
        let outcome = |index: usize, judged: &std::result::Result<Journal<'_>, Ignored>| match judged {
            Err(reason) => Outcome::Ignored(*reason),
            Ok(_) if !self.chosen.contains(&index) => Outcome::Ignored(Ignored::Superseded),
            Ok(Journal { content: Content::Pages(pages), .. }) => {
                Outcome::Replayed { entries: None, pages: pages.len(), end: None }
            }
            Ok(Journal { content: Content::Entries(entries), .. }) => Outcome::Replayed {
                entries: Some((entries.first, entries.due().wrapping_sub(1))),
                pages: entries.list.iter().map(|entry| entry.pages.len()).sum(),
                end: Some(entries.end),
            },
        };
        let judged = self.judged.iter().enumerate();
        logs.iter().zip(judged).map(|(log, (index, judged))| report(log, outcome(index, judged))).collect()
    }
}

/// What is written into a hive, in order.
struct Plan<'c> {
    steps: Vec<Step<'c>>,
    /// The sequence numbers of the first and the last entry.
    entries: Option<(u32, u32)>,
    /// The sequence number before the one that the hive gets.
    last: u32,
    /// The first sector of a base block that replaces the hive's, and its log.
    base: Option<(&'c [u8], &'c str)>,
}

/// One entry, or a whole log of the old format.
struct Step<'c> {
    log: &'c str,
    at: FileOffset,
    /// The base block's flags, where they are known.
    flags: Option<u32>,
    bins_len: u32,
    pages: &'c [Page<'c>],
}

impl<'c> Plan<'c> {
    /// Returns what the chosen logs want written; `None` if none was chosen. `own` is the hive's primary sequence
    /// number, where it is known.
    fn new(choice: &'c Choice<'c>, logs: &'c [Log<'c>], own: Option<u32>) -> Option<Self> {
        let (mut steps, mut entries_of, mut last, mut base) = (Vec::new(), None, own, None);
        for index in &choice.chosen {
            let (journal, log) = (choice.journal(*index)?, logs.get(*index)?.name);
            base = own.is_none().then_some((journal.sector, log));
            match &journal.content {
                Content::Entries(entries) => {
                    let end = entries.due().wrapping_sub(1);
                    entries_of = Some((entries_of.map_or(entries.first, |(first, _)| first), end));
                    last = Some(end);
                    steps.extend(entries.list.iter().map(|entry| Step {
                        log,
                        at: entry.at,
                        flags: Some(entry.flags),
                        bins_len: entry.bins_len,
                        pages: &entry.pages,
                    }));
                }
                Content::Pages(pages) => {
                    let theirs = journal.base.primary_sequence.get();
                    last = Some(last.filter(|ours| is_before(theirs, *ours)).unwrap_or(theirs));
                    let bins_len = journal.base.bins_len.get();
                    steps.push(Step { log, at: FileOffset(0), flags: None, bins_len, pages });
                }
            }
        }
        (!steps.is_empty()).then_some(Self { steps, entries: entries_of, last: last?, base })
    }

    /// Writes everything into a hive file, which may become at most `room` bytes long by it, and parses it.
    ///
    /// # Errors
    /// [`Error::LogBins`] if that is too little, and what contradicts the format in the outcome.
    fn carry_out(self, primary: Vec<u8>, room: u64) -> Result<(Hive, Replay)> {
        let file_len = primary.len();
        let mut bytes = primary;
        let place = |page: &Page<'_>| u64::from(page.offset).saturating_add(BASE_BLOCK_LEN.into());
        let extent = |page: &Page<'_>| Extent::new(place(page), page.bytes.len() as u64);
        let pages = offset::normalize(self.steps.iter().flat_map(|step| step.pages).map(extent).collect());
        let before = Pieces::of(&bytes, &pages);

        let mut bins_len = read::u32_le(&bytes, offset_of!(BaseBlock, bins_len)).unwrap_or(0);
        let mut flags = None;
        for step in &self.steps {
            bins_len = step.bins_len;
            flags = step.flags.or(flags);
            let length = u64::from(bins_len).saturating_add(BASE_BLOCK_LEN.into());
            let enough = usize::try_from(length).ok().filter(|_| length <= room).ok_or_else(|| Error::LogBins {
                log: step.log.to_owned(),
                at: step.at,
                actual: bins_len,
                limit: room.saturating_sub(BASE_BLOCK_LEN.into()),
            })?;
            if enough > bytes.len() {
                bytes.resize(enough, 0);
            }
            for page in step.pages {
                let position = usize::try_from(place(page)).unwrap_or(usize::MAX);
                read::put(&mut bytes, position, page.bytes).map_err(|_| Error::LogPage {
                    log: step.log.to_owned(),
                    at: step.at,
                    offset: page.offset,
                    length: u32::try_from(page.bytes.len()).unwrap_or(u32::MAX),
                })?;
            }
        }
        let block = self.base_block(&bytes, flags, bins_len)?;
        read::put(&mut bytes, 0, &block).map_err(|_| Error::TooShort { at: FileOffset(0), length: block.len() })?;

        let mut changed = before.differences(&bytes);
        let grown_to = Some(bytes.len() as u64).filter(|length| *length > file_len as u64);
        if let Some(length) = grown_to {
            changed.push(Extent::new(file_len as u64, length.saturating_sub(file_len as u64)));
        }
        let changed = offset::normalize(changed);
        let mut hive = Hive::parse(bytes)?;
        hive.touched.clone_from(&changed);
        let base_block_from = self.base.map(|(_, log)| log.to_owned());
        Ok((hive, Replay { entries: self.entries, pages, changed, grown_to, base_block_from }))
    }

    /// Returns the first sector of the base block that the hive gets.
    fn base_block(&self, bytes: &[u8], flags: Option<u32>, bins_len: u32) -> Result<Vec<u8>> {
        let short = |_| Error::TooShort { at: FileOffset(0), length: size_of::<BaseBlock>() };
        let old = match self.base {
            Some((sector, _)) => sector,
            None => read::slice(bytes, 0, size_of::<BaseBlock>()).map_err(short)?,
        };
        let mut block = old.to_vec();
        let own_flags = read::u32_le(&block, offset_of!(BaseBlock, flags)).map_err(short)?;
        let flags = flags.map_or(own_flags, |flags| own_flags & !ENTRY_FLAGS | flags & ENTRY_FLAGS);
        for (at, word) in [
            (offset_of!(BaseBlock, primary_sequence), self.last),
            (offset_of!(BaseBlock, secondary_sequence), self.last),
            (offset_of!(BaseBlock, flags), flags),
        ] {
            read::put_u32_le(&mut block, at, word).map_err(short)?;
        }
        base_block::sealed(&block, bins_len)
    }
}

/// Pieces of the hive file as they were, so that changes can be told without a second copy of the whole.
struct Pieces(Vec<(usize, Vec<u8>)>);

impl Pieces {
    /// Keeps the base block's first sector, and those parts of `extents` that lie in the file.
    fn of(bytes: &[u8], extents: &[Extent]) -> Self {
        let block = Extent::new(0, size_of::<BaseBlock>() as u64);
        let piece = |extent: &Extent| {
            let start = usize::try_from(extent.offset).ok()?;
            let end = usize::try_from(extent.end()).unwrap_or(usize::MAX).min(bytes.len());
            Some((start, bytes.get(start..end)?.to_vec()))
        };
        Self(std::iter::once(&block).chain(extents).filter_map(piece).collect())
    }

    /// Returns the ranges that differ in `now`.
    fn differences(&self, now: &[u8]) -> Vec<Extent> {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for (start, before) in &self.0 {
            let now = now.get(*start..).unwrap_or_default();
            let pairs = before.iter().zip(now).enumerate();
            for (index, _) in pairs.filter(|(_, (before, now))| before != now) {
                let from = start.saturating_add(index);
                let end = from.saturating_add(1);
                match ranges.last_mut() {
                    Some(last) if from.saturating_sub(last.1) < GAP_LEN => last.1 = end,
                    _ => ranges.push((from, end)),
                }
            }
        }
        ranges.into_iter().map(|(from, end)| Extent::new(from as u64, end.saturating_sub(from) as u64)).collect()
    }
}

/// Tells whether sequence number `one` comes before `other`; the numbers wrap.
fn is_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}

/// Tells whether a log with the base block `log` can be one of the hive with the base block `own`.
fn is_of(log: &BaseBlock, own: &BaseBlock) -> bool {
    let of = |base: &BaseBlock| (base.major.get(), base.minor.get(), base.format.get(), base.root.get());
    of(log) == of(own)
}

/// Returns the time stamp in the first bin of a hive file, or 0, the earliest, if there is none.
fn first_bin_time(primary: &[u8]) -> u64 {
    let rest = primary.get(BASE_BLOCK_LEN as usize..).unwrap_or_default();
    match BinHeader::ref_from_prefix(rest) {
        Ok((bin, _)) if bin.signature == *b"hbin" => bin.last_written.get(),
        _ => 0,
    }
}

fn report(log: &Log<'_>, outcome: Outcome) -> LogReport {
    LogReport { name: log.name.to_owned(), outcome }
}
