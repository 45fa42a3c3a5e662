//! `$LogFile`: whether Windows closed the volume cleanly (LFS_RESTART_PAGE_HEADER, LFS_RESTART_AREA).
//!
//! The first two pages hold two copies of the restart area; the one with the higher LSN counts. Version 2.0 has only
//! one copy, followed by records. A log filled with 0xFF was never used. Log records are not read.

use super::fixup;
use super::layout::{RestartArea, RestartPage, STRIDE_BYTES, system, view};
use super::stream::Stream;
use crate::error::{Error, Place, Result};
use crate::refusals;
use crate::volume::Volume;
use coldforge_base::{FileOffset, ReadAt, Refusal, read};

/// The state in a restart page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Restart {
    at: FileOffset,
    lsn: u64,
    pub version: (u16, u16),
    client_in_use: u16,
    flags: u16,
}

impl Restart {
    fn parse(mut page: Vec<u8>, at: FileOffset) -> Result<Self> {
        let place = Place::LogFile { at };
        fixup::undo(&mut page, *b"RSTR", place)?;
        let header: &RestartPage = view(&page, 0).map_err(place.cut())?;
        let area: &RestartArea = view(&page, usize::from(header.restart_offset.get())).map_err(place.cut())?;
        Ok(Self {
            at,
            lsn: area.current_lsn.get(),
            version: (header.major_version.get(), header.minor_version.get()),
            client_in_use: area.client_in_use_list.get(),
            flags: area.flags.get(),
        })
    }

    /// Returns whether no transaction was open: no client, or the flag of a clean dismount.
    pub fn is_clean(&self) -> bool {
        const CLEAN_DISMOUNT: u16 = 2;
        self.client_in_use == u16::MAX || self.flags & CLEAN_DISMOUNT != 0
    }
}

/// Returns the state of the log for the verifier, whose rules differ from those of the refusals.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct State {
    /// The restart pages that cannot be read.
    pub damaged: Vec<FileOffset>,
    /// Whether the log begins as if unused and is not, or has no restart page at all.
    pub unused_but_written: bool,
    /// The newest restart page that can be read.
    pub newest: Option<Restart>,
}

/// How much of an unused log is looked at in one read.
const CHUNK_BYTES: u64 = 1 << 20;

impl<D: ReadAt> Volume<D> {
    /// Returns the reasons in the log not to write.
    ///
    /// # Errors
    /// Errors in the log's runs; the device's. A damaged restart page is a refusal.
    pub(super) fn log_refusals(&self) -> Result<Vec<Refusal>> {
        let log = self.system_data(system::LOG_FILE)?;
        let mut signature = [0; 4];
        log.read(&self.device, &self.geometry, 0, &mut signature)?;
        if signature == [0xff; 4] {
            return Ok(match self.first_used_byte(&log)? {
                None => Vec::new(),
                Some(at) => vec![unclean(format!("$LogFile begins as if unused, but byte {at} is not 0xff"))],
            });
        }
        let mut refusals = Vec::new();
        let mut newest: Option<Restart> = None;
        let mut damage = Vec::new();
        for page in self.restarts(&log)? {
            match page {
                Ok(restart) if newest.is_none_or(|newest| newest.lsn < restart.lsn) => newest = Some(restart),
                Ok(_) => {}
                Err(error) => damage.push(unclean(format!("$LogFile is damaged: {error}"))),
            }
        }
        let Some(newest) = newest else { return Ok(damage) };
        let at = newest.at;
        match newest.version {
            (1, 0 | 1) => refusals.extend(damage),
            (2, 0) => refusals.push(Refusal::new(
                &refusals::FAST_STARTUP,
                format!("$LogFile has version 2.0 at byte {at}: Windows may keep metadata in memory"),
            )),
            (major, minor) => refusals.push(Refusal::new(
                &refusals::LOGFILE_VERSION,
                format!("$LogFile has the unknown version {major}.{minor} at byte {at}"),
            )),
        }
        if !newest.is_clean() {
            refusals.push(unclean(format!("$LogFile has open transactions by its restart page at byte {at}")));
        }
        Ok(refusals)
    }

    /// Returns the state of the log.
    ///
    /// A page without the signature of a restart page is none, and not damage: a log of version 2.0 has one alone.
    ///
    /// # Errors
    /// Errors in the log's runs; the device's.
    pub(super) fn log_state(&self) -> Result<State> {
        let log = self.system_data(system::LOG_FILE)?;
        let mut signature = [0; 4];
        log.read(&self.device, &self.geometry, 0, &mut signature)?;
        if signature == [0xff; 4] {
            let unused_but_written = self.first_used_byte(&log)?.is_some();
            return Ok(State { unused_but_written, ..State::default() });
        }
        let mut state = State::default();
        for page in self.restarts(&log)? {
            match page {
                Ok(restart) if state.newest.is_none_or(|newest| newest.lsn < restart.lsn) => {
                    state.newest = Some(restart);
                }
                Ok(_) | Err(Error::Signature { .. }) => {}
                Err(
                    Error::Torn { place: Place::LogFile { at }, .. }
                    | Error::Field { place: Place::LogFile { at }, .. },
                ) => {
                    state.damaged.push(at);
                }
                Err(Error::Cut { .. }) => state.damaged.push(FileOffset(0)),
                Err(error) => return Err(error),
            }
        }
        // Neither unused nor with a restart page: what chkdsk leaves is such a log.
        state.unused_but_written = state.newest.is_none() && state.damaged.is_empty();
        Ok(state)
    }

    /// Reads both restart pages, of which each can be damaged.
    fn restarts(&self, log: &Stream) -> Result<Vec<Result<Restart>>> {
        let mut head = [0; STRIDE_BYTES];
        log.read(&self.device, &self.geometry, 0, &mut head)?;
        let place = Place::LogFile { at: FileOffset(0) };
        let header: &RestartPage = view(&head, 0).map_err(place.cut())?;
        let page_bytes = header.system_page_bytes.get() as usize;
        let page_bytes = match &header.multi_sector.signature {
            b"RSTR" if page_bytes.is_power_of_two() && (STRIDE_BYTES..=0x1_0000).contains(&page_bytes) => page_bytes,
            // The page size is in the page that is damaged: the usual size is used to look for the other.
            _ => 4096,
        };
        let mut pages = Vec::new();
        for at in [0, page_bytes as u64] {
            let mut page = vec![0; page_bytes];
            log.read(&self.device, &self.geometry, at, &mut page)?;
            pages.push(Restart::parse(page, FileOffset(at)));
        }
        Ok(pages)
    }

    /// Returns the first byte of an unused log that is not 0xFF.
    fn first_used_byte(&self, log: &Stream) -> Result<Option<FileOffset>> {
        let mut at = 0u64;
        // Each turn moves on through the log, whose clusters are in the volume; holes of a sparse log read as zeros,
        // which are not 0xFF and end the loop.
        while at < log.size {
            let length = CHUNK_BYTES.min(log.size.saturating_sub(at));
            let mut chunk = vec![0; read::size(length)];
            log.read(&self.device, &self.geometry, at, &mut chunk)?;
            if let Some(used) = chunk.iter().position(|byte| *byte != 0xff) {
                return Ok(Some(FileOffset(at.saturating_add(used as u64))));
            }
            at = at.saturating_add(length);
        }
        Ok(None)
    }
}

fn unclean(reason: String) -> Refusal {
    Refusal::new(&refusals::LOGFILE_UNCLEAN, reason)
}
