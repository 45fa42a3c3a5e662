//! Checks NTFS's own files: boot sector and its copy, `$MFT` with its mirror and bitmap, `$Volume`, `$UpCase`,
//! `$LogFile` and the others.
//!
//! Relaxed where Windows itself breaks the rule: of a longer mirror it keeps only the first four records current; the
//! update sequence number of a mirrored record may differ; the bits of records 16 to 23 may be set or clear.

use super::directories::Scope;
use super::finding::{About, Findings, Rule};
use super::records;
use super::table::Table;
use crate::bitmap;
use crate::boot::BOOT_SECTOR_BYTES;
use crate::error::Result;
use crate::layout::{FileRecordHeader, kind, name, system, view, volume_flag};
use crate::log_file::State;
use crate::stream::Stream;
use crate::volume::Volume;
use coldforge_base::{ReadAt, VolumeOffset, read, utf16};

/// The largest mirror that is read: one cluster of the largest size.
const MOST_MIRROR_BYTES: u64 = 0x20_0000;

/// Checks the boot sector and its copy.
///
/// # Errors
/// The device's.
pub(super) fn check_boot<D: ReadAt>(volume: &Volume<D>, findings: &mut Findings) -> Result<()> {
    let record = system::BOOT;
    let (mut boot, mut copy) = ([0; BOOT_SECTOR_BYTES], [0; BOOT_SECTOR_BYTES]);
    volume.device.read_at(0, &mut boot)?;
    for (at, length) in [(0xe, 7), (0x16, 2), (0x20, 4)] {
        if read::slice(&boot, at, length).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            findings.number(Rule::BootZero, record, About::Whole, at as u64, at as u64, at as u64);
        }
    }
    let (end, device) = (volume.geometry.backup_boot_sector().0, volume.device.len());
    if end > device {
        findings.number(Rule::BootSize, record, About::Whole, 0x28, end, device);
    } else if end.saturating_add(copy.len() as u64) > device {
        findings.plain(Rule::BootNoCopy, record, About::Whole, end);
    } else {
        volume.device.read_at(end, &mut copy)?;
        // A boot sector describes its volume from the OEM id to the serial number; the rest is code.
        let differs = |range: std::ops::Range<usize>| {
            range
                .clone()
                .zip(boot.get(range.clone()).into_iter().flatten().zip(copy.get(range).into_iter().flatten()))
                .find_map(|(at, (a, b))| (a != b).then_some(at as u64))
        };
        if let Some(at) = differs(3..0x50).or_else(|| differs(0x1fe..0x200)) {
            findings.number(Rule::BootCopy, record, About::Whole, end.saturating_add(at), at, at);
        } else if differs(0..BOOT_SECTOR_BYTES).is_some() {
            findings.plain(Rule::BootCode, record, About::Whole, end);
        }
    }
    Ok(())
}

/// Checks where `$MFT` and `$MFTMirr` begin, and the mirrored records.
///
/// # Errors
/// Errors in `$MFTMirr`.
pub(super) fn check_mirror<D: ReadAt>(volume: &Volume<D>, findings: &mut Findings) -> Result<()> {
    let mirror = volume.system_data(system::MFT_MIRROR)?;
    let at = volume.record_place(system::MFT_MIRROR);
    let begins = |stream: &Stream| stream.runs().first().and_then(|run| run.lcn);
    if begins(&mirror) != Some(volume.geometry.mft_mirror) {
        let actual = begins(&mirror).map_or(u64::MAX, |lcn| lcn.0);
        let expected = volume.geometry.mft_mirror.0;
        findings.number(Rule::MirrorPlace, system::MFT_MIRROR, About::Whole, at, actual, expected);
    }
    let record_bytes = volume.geometry.record_bytes;
    let least = (record_bytes as u64).saturating_mul(system::MIRRORED);
    if mirror.size < least {
        findings.number(Rule::MirrorSize, system::MFT_MIRROR, About::Whole, at, mirror.size, least);
    }
    let length = mirror.size.min(MOST_MIRROR_BYTES);
    let mut copies = vec![0; read::size(length)];
    mirror.read(&volume.device, &volume.geometry, 0, &mut copies)?;
    // At most 4096 records.
    for (number, copy) in (0u64..).zip(copies.chunks_exact_mut(record_bytes)) {
        let Ok(mut raw) = volume.raw_record(number) else { break };
        let is_empty = !raw.starts_with(b"FILE") && !copy.starts_with(b"FILE") && number >= system::MIRRORED;
        if is_empty || number >= system::MIRRORED && copy == raw {
            continue;
        }
        let was_record = copy.starts_with(b"FILE");
        let whole = records::unprotect(copy) == Some(true);
        let same = was_record && records::unprotect(&mut raw).is_some() && same_but_usn(&raw, copy);
        let place = mirror
            .pieces(&volume.geometry, number.saturating_mul(record_bytes as u64), 1)
            .ok()
            .and_then(|pieces| pieces.first().and_then(|piece| piece.at))
            .unwrap_or(VolumeOffset(at));
        if number < system::MIRRORED && !(whole && same) {
            findings.plain(Rule::MirrorRecord, number, About::Whole, place.0);
        } else if !same {
            findings.plain(Rule::MirrorStale, number, About::Whole, place.0);
        }
    }
    Ok(())
}

/// Returns whether the used bytes of two records whose fixups are undone are the same, update sequence numbers apart.
fn same_but_usn(record: &[u8], copy: &[u8]) -> bool {
    let Ok(header) = view::<FileRecordHeader>(record, 0) else { return false };
    let array = usize::from(header.multi_sector.usa_offset.get());
    let skipped = array..array.saturating_add(2);
    let used = header.bytes_used.get() as usize;
    let mut pairs = record.iter().zip(copy).take(used).enumerate();
    pairs.all(|(at, (a, b))| a == b || skipped.contains(&at))
}

/// Checks the bitmap of `$MFT` against the records in use; `records` is how many there are.
///
/// # Errors
/// Errors in the bitmap's stream.
pub(super) fn check_mft_bitmap<D: ReadAt>(
    volume: &Volume<D>,
    table: &Table,
    records: u64,
    scope: Scope,
    findings: &mut Findings,
) -> Result<()> {
    let segments = volume.segments(volume.record(system::MFT)?)?;
    let bitmap = volume.required_stream(&segments, kind::BITMAP, &[])?;
    let at = volume.record_place(system::MFT);
    let bits = bitmap.size.saturating_mul(8);
    if bits < records {
        findings.number(Rule::MftBitmapSize, system::MFT, About::Whole, at, bits, records);
    }
    // A bitmap is as long as $MFT wants, and a cluster longer at most.
    let most = records.div_ceil(8).saturating_add(volume.geometry.cluster_bytes.saturating_mul(2));
    let length = usize::try_from(bitmap.size.min(most)).unwrap_or(0);
    let mut bytes = vec![0u8; length];
    bitmap.read(&volume.device, &volume.geometry, 0, &mut bytes)?;
    for node in table.nodes() {
        let was_set = bitmap::is_set(&bytes, node.number);
        if bitmap::set(&mut bytes, node.number, false) && !was_set && !RESERVED.contains(&node.number) {
            findings.plain(Rule::MftBitmapFree, node.number, About::Whole, node.at);
        }
    }
    if scope == Scope::Some {
        return Ok(());
    }
    for (first, byte) in (0u64..).step_by(8).zip(&bytes).filter(|(_, byte)| **byte != 0) {
        for number in (first..).take(8).filter(|number| byte & read::bit(*number) != 0 && !RESERVED.contains(number)) {
            let at = if number < records { volume.record_place(number) } else { at };
            findings.plain(Rule::MftBitmapUsed, number, About::Whole, at);
        }
    }
    Ok(())
}

/// Records that NTFS keeps free for itself, and marks or not.
const RESERVED: std::ops::Range<u64> = 16..24;

/// Checks the records and contents of NTFS's own files.
pub(super) fn check_files<D: ReadAt>(volume: &Volume<D>, table: &Table, findings: &mut Findings) {
    for number in 0..=system::EXTEND {
        let at = volume.record_place(number);
        let Some(node) = table.node(number).filter(|node| node.is_base()) else {
            findings.plain(Rule::SystemFile, number, About::Whole, at);
            continue;
        };
        let is_directory = [system::ROOT, system::EXTEND].contains(&number);
        // The sequence number of each is its own number, and that of $MFT is 1.
        if node.is_directory() != is_directory || u64::from(node.sequence) != number.max(1) {
            findings.number(Rule::SystemFile, number, About::Whole, at, node.sequence.into(), number.max(1));
        }
    }
    let mut whole = |number: u64, check: &dyn Fn() -> Result<bool>| {
        if !check().unwrap_or(false) {
            findings.plain(Rule::SystemFile, number, About::Whole, volume.record_place(number));
        }
    };
    whole(system::BOOT, &|| {
        let boot = volume.system_data(system::BOOT)?;
        Ok(boot.runs().first().and_then(|run| run.lcn).is_some_and(|lcn| lcn.0 == 0))
    });
    whole(system::BAD_CLUSTERS, &|| {
        let segments = volume.segments(volume.record(system::BAD_CLUSTERS)?)?;
        let Some(bad) = volume.stream(&segments, kind::DATA, name::BAD)? else { return Ok(false) };
        let end = bad.runs().last().map_or(0, |run| run.end().0);
        let clusters = volume.geometry.clusters;
        Ok(end == clusters || end == clusters.saturating_add(1))
    });
    if !matches!(has_definitions(volume), Ok(true)) {
        let number = system::ATTRIBUTE_DEFINITIONS;
        findings.plain(Rule::AttrDef, number, About::Whole, volume.record_place(number));
    }
    check_volume_file(volume, findings);
    check_upcase(volume, findings);
}

/// Returns whether `$AttrDef` begins with the definition of $STANDARD_INFORMATION.
fn has_definitions<D: ReadAt>(volume: &Volume<D>) -> Result<bool> {
    const LEAST_BYTES: u64 = 2560;
    let stream = volume.system_data(system::ATTRIBUTE_DEFINITIONS)?;
    if stream.size < LEAST_BYTES {
        return Ok(false);
    }
    let mut label = [0; 42];
    stream.read(&volume.device, &volume.geometry, 0, &mut label)?;
    Ok(utf16::decode(&label) == "$STANDARD_INFORMATION")
}

fn check_volume_file<D: ReadAt>(volume: &Volume<D>, findings: &mut Findings) {
    use volume_flag::{DIRTY, USUAL};
    let (record, at) = (system::VOLUME, volume.record_place(system::VOLUME));
    let information = volume.information();
    if information.version != (3, 1) {
        let (major, minor) = information.version;
        let actual = u64::from(major) << 8 | u64::from(minor);
        findings.number(Rule::VolumeVersion, record, About::Whole, at, actual, 0x301);
    }
    let flags = u64::from(information.flags);
    if information.flags & DIRTY != 0 {
        findings.number(Rule::VolumeDirty, record, About::Whole, at, flags, flags);
    }
    if information.flags & !(DIRTY | USUAL) != 0 {
        findings.number(Rule::VolumeFlags, record, About::Whole, at, flags, u64::from(USUAL));
    }
}

/// Checks that `$UpCase` is what some version of Windows has, which all differ little from Unicode.
fn check_upcase<D: ReadAt>(volume: &Volume<D>, findings: &mut Findings) {
    const MOST_DIFFERENT: usize = 2000;
    let unicode = |unit: u16| {
        let mut upper = char::from_u32(unit.into()).map(char::to_uppercase)?;
        let first = upper.next().filter(|_| upper.next().is_none())?;
        u16::try_from(u32::from(first)).ok()
    };
    let different = (0..=u16::MAX).filter(|unit| unicode(*unit).unwrap_or(*unit) != volume.upcase.fold(*unit)).count();
    if different > MOST_DIFFERENT {
        let at = volume.record_place(system::UPCASE);
        findings.number(Rule::Upcase, system::UPCASE, About::Whole, at, different as u64, MOST_DIFFERENT as u64);
    }
}

/// Checks the state of `$LogFile`.
///
/// # Errors
/// Errors in its stream.
pub(super) fn check_log<D: ReadAt>(volume: &Volume<D>, findings: &mut Findings) -> Result<()> {
    let (record, at) = (system::LOG_FILE, volume.record_place(system::LOG_FILE));
    let State { damaged, unused_but_written, newest } = volume.log_state()?;
    for place in damaged {
        findings.number(Rule::LogDamaged, record, About::Whole, at, place.0, place.0);
    }
    if unused_but_written {
        findings.plain(Rule::LogUnclean, record, About::Whole, at);
    }
    let Some(newest) = newest else { return Ok(()) };
    let version = u64::from(newest.version.0) << 16 | u64::from(newest.version.1);
    match newest.version {
        (1, 0 | 1) => {}
        (2, 0) => findings.plain(Rule::LogFastStartup, record, About::Whole, at),
        _ => findings.number(Rule::LogVersion, record, About::Whole, at, version, version),
    }
    if !newest.is_clean() {
        findings.plain(Rule::LogUnclean, record, About::Whole, at);
    }
    Ok(())
}
