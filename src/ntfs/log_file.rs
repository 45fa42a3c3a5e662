//! `$LogFile`: whether Windows left the volume in order.
//!
//! Facts: LFS_RESTART_PAGE_HEADER and LFS_RESTART_AREA, of which there are two copies in the first two pages; the one
//! with the higher LSN counts. A log of 0xFF bytes alone was never used. Records of the log are not read.

use super::error::Place;
use super::layout::{RestartArea, RestartPage, STRIDE_BYTES, system, view};
use super::stream::Stream;
use super::{Result, Volume, fixup};
use crate::base::{FileOffset, Refusal};
use crate::disk::BlockDevice;

/// The newest restart page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Restart {
    at: FileOffset,
    lsn: u64,
    version: (u16, u16),
    client_in_use: u16,
    flags: u16,
}

impl Restart {
    /// Tells whether no transaction was open: no client, or the mark of a clean dismount.
    fn is_clean(&self) -> bool {
        const CLEAN_DISMOUNT: u16 = 2;
        self.client_in_use == u16::MAX || self.flags & CLEAN_DISMOUNT != 0
    }
}

/// How much of an unused log is looked at in one read.
const CHUNK_BYTES: u64 = 1 << 20;

impl<D: BlockDevice> Volume<D> {
    /// Returns what the log says against writing.
    ///
    /// # Errors
    /// What is wrong with the log's runs; the device's. A damaged restart page is a refusal.
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
        let restart = match self.newest_restart(&log) {
            Ok(restart) => restart,
            Err(super::Error::Disk(error)) => return Err(error.into()),
            Err(error) => return Ok(vec![unclean(format!("$LogFile is damaged: {error}"))]),
        };
        let mut refusals = Vec::new();
        match restart.version {
            (1, 0 | 1) => {}
            (2, 0) => refusals.push(Refusal {
                code: "E-FAST-STARTUP",
                reason: format!("$LogFile has version 2.0 at byte {}: Windows may keep metadata in memory", restart.at),
                hint: "shut Windows down with `shutdown /s /t 0` with fast startup off, and make a new image",
            }),
            (major, minor) => refusals.push(Refusal {
                code: "E-LOGFILE-VERSION",
                reason: format!("$LogFile has the unknown version {major}.{minor} at byte {}", restart.at),
                hint: "mount the volume in Windows 10 or later, shut it down, and make a new image",
            }),
        }
        if !restart.is_clean() {
            refusals
                .push(unclean(format!("$LogFile has open transactions by its restart page at byte {}", restart.at)));
        }
        Ok(refusals)
    }

    /// Reads both restart pages and returns the one that counts.
    fn newest_restart(&self, log: &Stream) -> Result<Restart> {
        let mut head = [0; STRIDE_BYTES];
        log.read(&self.device, &self.geometry, 0, &mut head)?;
        let place = Place::LogFile { at: FileOffset(0) };
        let header: &RestartPage = view(&head, 0).map_err(place.cut())?;
        let page_bytes = header.system_page_bytes.get() as usize;
        if !page_bytes.is_power_of_two() || !(STRIDE_BYTES..=0x1_0000).contains(&page_bytes) {
            let place = place.plus(0x10);
            return Err(super::Error::Field { place, field: "the system page size", actual: page_bytes as u64 });
        }
        let first = self.restart(log, 0, page_bytes)?;
        let second = self.restart(log, page_bytes as u64, page_bytes)?;
        Ok(if second.lsn > first.lsn { second } else { first })
    }

    fn restart(&self, log: &Stream, at: u64, page_bytes: usize) -> Result<Restart> {
        let place = Place::LogFile { at: FileOffset(at) };
        let mut page = vec![0; page_bytes];
        log.read(&self.device, &self.geometry, at, &mut page)?;
        fixup::undo(&mut page, *b"RSTR", place)?;
        let header: &RestartPage = view(&page, 0).map_err(place.cut())?;
        let area: &RestartArea = view(&page, usize::from(header.restart_offset.get())).map_err(place.cut())?;
        Ok(Restart {
            at: FileOffset(at),
            lsn: area.current_lsn.get(),
            version: (header.major_version.get(), header.minor_version.get()),
            client_in_use: area.client_in_use_list.get(),
            flags: area.flags.get(),
        })
    }

    /// Returns the first byte of an unused log that is not 0xFF.
    fn first_used_byte(&self, log: &Stream) -> Result<Option<FileOffset>> {
        let mut at = 0u64;
        // Each turn moves on through the log, whose clusters lie in the volume; holes of a sparse log read as zeros,
        // which are not 0xFF and end the loop.
        while at < log.size {
            let length = CHUNK_BYTES.min(log.size.saturating_sub(at));
            let mut chunk = vec![0; usize::try_from(length).expect("a chunk is small")];
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
    Refusal {
        code: "E-LOGFILE-UNCLEAN",
        reason,
        hint: "mount the volume in Windows, so that it replays its log, shut Windows down, and make a new image",
    }
}
