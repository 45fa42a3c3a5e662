//! The boot sector: the sizes of a volume's structures and the place of its `$MFT` (PACKED_BOOT_SECTOR).
//!
//! Cluster sizes above 128 sectors and record sizes below a cluster are stored as negative powers of two. The boot code
//! is ignored.

use super::layout::BootSector;
use crate::error::{Error, Result};
use coldforge_base::{Lcn, VolumeOffset};

/// The sizes and places in the boot sector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Geometry {
    /// Size of a sector: 512 to 4096 bytes, a power of two.
    pub sector_bytes: u64,
    /// Size of a cluster: 512 bytes to 2 MiB, a power of two.
    pub cluster_bytes: u64,
    /// Sectors of the volume, without the copy of the boot sector after the last one.
    pub sectors: u64,
    /// Whole clusters of the volume.
    pub clusters: u64,
    /// Size of a file record: 512 to 4096 bytes, a power of two.
    pub record_bytes: usize,
    /// Size of an index block: 512 bytes to 64 KiB, a power of two.
    pub index_block_bytes: usize,
    /// Where `$MFT` begins.
    pub mft: Lcn,
    /// Where `$MFTMirr` begins.
    pub mft_mirror: Lcn,
    /// The serial number.
    pub serial: u64,
}

/// The size of what [`Geometry::parse`] wants.
pub(super) const BOOT_SECTOR_BYTES: usize = 512;

impl Geometry {
    /// Reads the 512 bytes of a boot sector.
    ///
    /// # Errors
    /// [`Error::BitLocker`], [`Error::Refs`] and [`Error::NotNtfs`] by the OEM id; [`Error::BootSector`] if a size or
    /// a place is impossible.
    pub fn parse(sector: &[u8; BOOT_SECTOR_BYTES]) -> Result<Self> {
        let boot: &BootSector = zerocopy::transmute_ref!(sector);
        match &boot.oem_id {
            b"NTFS    " => {}
            b"-FVE-FS-" => return Err(Error::BitLocker),
            b"ReFS\0\0\0\0" => return Err(Error::Refs),
            _ => return Err(Error::NotNtfs),
        }
        check(boot.signature == [0x55, 0xaa], 0x1fe, "signature", u64::from(u16::from_le_bytes(boot.signature)))?;

        let sector_bytes = u64::from(boot.bytes_per_sector.get());
        check(
            sector_bytes.is_power_of_two() && (512..=4096).contains(&sector_bytes),
            0xb,
            "sector size",
            sector_bytes,
        )?;
        let code = boot.sectors_per_cluster;
        let sectors_per_cluster = match code {
            0..=0x80 => u64::from(code),
            _ => 1u64.checked_shl(u32::from(code.wrapping_neg())).unwrap_or(0),
        };
        let cluster_bytes = sectors_per_cluster.saturating_mul(sector_bytes);
        check(
            cluster_bytes.is_power_of_two() && (512..=0x20_0000).contains(&cluster_bytes),
            0xd,
            "sectors per cluster",
            u64::from(code),
        )?;

        let sectors = boot.total_sectors.get();
        let clusters = sectors.checked_div(sectors_per_cluster).unwrap_or(0);
        // Addresses of the volume's bytes have to fit into 63 bits: every later product stays in range by this check.
        let bytes = sectors.checked_add(1).and_then(|all| all.checked_mul(sector_bytes));
        check(clusters > 0 && bytes.is_some_and(|bytes| bytes <= i64::MAX as u64), 0x28, "total sectors", sectors)?;
        let (mft, mft_mirror) = (boot.mft_lcn.get(), boot.mft_mirror_lcn.get());
        check(mft < clusters, 0x30, "$MFT LCN", mft)?;
        check(mft_mirror < clusters, 0x38, "$MFTMirr LCN", mft_mirror)?;

        Ok(Self {
            sector_bytes,
            cluster_bytes,
            sectors,
            clusters,
            record_bytes: block_bytes(boot.clusters_per_record, cluster_bytes, 4096, 0x40, "clusters per record")?,
            index_block_bytes: block_bytes(
                boot.clusters_per_index_block,
                cluster_bytes,
                0x1_0000,
                0x44,
                "clusters per index block",
            )?,
            mft: Lcn(mft),
            mft_mirror: Lcn(mft_mirror),
            serial: boot.serial.get(),
        })
    }

    /// Returns where the copy of the boot sector is: the sector after the last one.
    pub fn backup_boot_sector(&self) -> VolumeOffset {
        VolumeOffset(self.sectors.saturating_mul(self.sector_bytes))
    }

    /// Returns the first byte of a cluster.
    pub(super) fn cluster(&self, lcn: Lcn) -> u64 {
        lcn.0.saturating_mul(self.cluster_bytes)
    }
}

/// Decodes the size of a record or of an index block.
fn block_bytes(code: i8, cluster_bytes: u64, most: usize, at: u64, field: &'static str) -> Result<usize> {
    let bytes = match u64::try_from(code) {
        Ok(clusters) => clusters.saturating_mul(cluster_bytes),
        Err(_) => 1u64.checked_shl(u32::from(code.unsigned_abs())).unwrap_or(0),
    };
    match usize::try_from(bytes) {
        Ok(bytes) if bytes.is_power_of_two() && (512..=most).contains(&bytes) => Ok(bytes),
        _ => Err(Error::BootSector { at: VolumeOffset(at), field, actual: u64::from(code.cast_unsigned()) }),
    }
}

fn check(holds: bool, at: u64, field: &'static str, actual: u64) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::BootSector { at: VolumeOffset(at), field, actual }) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn sector(sector_bytes: u16, code: u8, sectors: u64, record: i8, block: i8) -> [u8; 512] {
        let mut sector = [0u8; 512];
        sector[3..11].copy_from_slice(b"NTFS    ");
        sector[0xb..0xd].copy_from_slice(&sector_bytes.to_le_bytes());
        sector[0xd] = code;
        sector[0x28..0x30].copy_from_slice(&sectors.to_le_bytes());
        sector[0x30] = 4;
        sector[0x38] = 2;
        sector[0x40] = record.cast_unsigned();
        sector[0x44] = block.cast_unsigned();
        sector[0x1fe..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn every_cluster_size_from_512_bytes_to_2_mebibytes_is_understood() {
        let codes = [1u8, 2, 4, 8, 16, 32, 64, 128, 0xf8, 0xf7, 0xf6, 0xf5, 0xf4];
        for (power, code) in codes.into_iter().enumerate() {
            let geometry = Geometry::parse(&sector(512, code, 1 << 22, -10, -12)).unwrap();
            assert_eq!(geometry.cluster_bytes, 512 << power);
            assert_eq!((geometry.record_bytes, geometry.index_block_bytes), (1024, 4096));
        }
        let native = Geometry::parse(&sector(4096, 1, 14_335, 1, 1)).unwrap();
        assert_eq!((native.cluster_bytes, native.record_bytes, native.index_block_bytes), (4096, 4096, 4096));
        assert_eq!(native.backup_boot_sector(), VolumeOffset(14_335 * 4096));
    }

    #[test]
    fn impossible_sizes_are_refused_with_the_place_of_the_field() {
        let bad = [
            (sector(500, 8, 4096, -10, 1), 0xb),
            (sector(512, 3, 4096, -10, 1), 0xd),
            (sector(512, 0, 4096, -10, 1), 0xd),
            (sector(4096, 0xf4, 1 << 22, -10, 1), 0xd),
            (sector(512, 0x81, 4096, -10, 1), 0xd),
            (sector(512, 8, 0, -10, 1), 0x28),
            (sector(512, 8, u64::MAX, -10, 1), 0x28),
            (sector(512, 8, 4096, -128, 1), 0x40),
            (sector(512, 8, 4096, 0, 1), 0x40),
            (sector(512, 8, 4096, -10, 127), 0x44),
            (sector(512, 8, 32, -10, 1), 0x30),
        ];
        for (sector, place) in bad {
            match Geometry::parse(&sector) {
                Err(Error::BootSector { at, .. }) => assert_eq!(at, VolumeOffset(place)),
                other => panic!("{place:#x}: {other:?}"),
            }
        }
    }

    #[test]
    fn other_volumes_are_called_by_their_names() {
        let named = |id: &[u8; 8]| {
            let mut sector = sector(512, 8, 4096, -10, 1);
            sector[3..11].copy_from_slice(id);
            Geometry::parse(&sector).unwrap_err()
        };
        assert!(matches!(named(b"-FVE-FS-"), Error::BitLocker));
        assert!(matches!(named(b"ReFS\0\0\0\0"), Error::Refs));
        assert!(matches!(named(b"MSDOS5.0"), Error::NotNtfs));
    }
}
