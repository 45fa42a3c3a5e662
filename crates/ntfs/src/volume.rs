//! An open volume: its device, its geometry, the stream of `$MFT` and the case table.

use std::sync::Arc;

use super::layout::{VolumeInformation, kind, system, view};
use super::stream::Stream;
use super::upcase::{UPCASE_BYTES, Upcase};
use super::write::Space;
use crate::boot::{BOOT_SECTOR_BYTES, Geometry};
use crate::error::{Error, Place, Result};
use crate::record::Record;
use coldforge_base::{Extent, ReadAt, utf16};

/// An NTFS volume on a device, which is usually a window on a disk.
///
/// Reading takes `&self` and may go on in several threads; writing takes `&mut self`.
#[derive(Debug)]
pub struct Volume<D> {
    pub(super) device: D,
    pub(super) geometry: Geometry,
    pub(super) mft: Stream,
    pub(super) upcase: Arc<Upcase>,
    pub(super) generation: u64,
    /// Which clusters and records are free, once something asked for some.
    pub(super) space: Option<Box<Space>>,
    information: Information,
}

/// The content of `$Volume`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Information {
    /// The label.
    pub label: String,
    /// The version of NTFS, such as (3, 1).
    pub version: (u8, u8),
    /// The flags: 0x0001 is dirty.
    pub flags: u16,
}

impl<D: ReadAt> Volume<D> {
    /// Opens the volume whose boot sector is the device's first.
    ///
    /// A volume that must not be written opens as well: see [`Volume::refusals`].
    ///
    /// # Errors
    /// [`Error::BitLocker`], [`Error::Refs`], [`Error::NotNtfs`] if it is none; otherwise errors in the boot
    /// sector, `$MFT`, `$Volume` or `$UpCase`.
    pub fn open(device: D) -> Result<Self> {
        let mut sector = [0; BOOT_SECTOR_BYTES];
        if device.len() < sector.len() as u64 {
            return Err(Error::NotNtfs);
        }
        device.read_at(0, &mut sector)?;
        let geometry = Geometry::parse(&sector)?;

        let mut bytes = vec![0; geometry.record_bytes];
        device.read_at(geometry.cluster(geometry.mft), &mut bytes)?;
        let first = Record::parse(system::MFT, bytes)?;
        let missing = Error::MissingAttribute { record: system::MFT, kind: kind::DATA };
        let wanted =
            |attribute: &super::attribute::Attribute<'_>| attribute.is(kind::DATA, &[]) && attribute.lowest().0 == 0;
        let data = first.find(wanted)?.ok_or(missing)?;
        let mft = Stream::first(system::MFT, &data, &geometry)?;
        if mft.runs().first().and_then(|run| run.lcn) != Some(geometry.mft) {
            let place = Place::Record { record: system::MFT, byte: data.offset };
            return Err(Error::Field { place, field: "the place of $MFT", actual: geometry.mft.0 });
        }

        let (upcase, information) = (Arc::new(Upcase::ascii()), Information::default());
        let mut volume = Self { device, geometry, mft, upcase, generation: 0, space: None, information };
        let segments = volume.segments(first)?;
        volume.join_mft(&segments)?;
        volume.information = volume.read_information()?;
        volume.upcase = Arc::new(volume.read_upcase()?);
        Ok(volume)
    }

    /// Returns the same volume on another device, which holds the same bytes or changes to them.
    pub(super) fn on<E>(&self, device: E) -> Volume<E> {
        Volume {
            device,
            geometry: self.geometry.clone(),
            mft: self.mft.clone(),
            upcase: Arc::clone(&self.upcase),
            generation: self.generation,
            space: None,
            information: self.information.clone(),
        }
    }

    /// Returns the sizes and places in the boot sector.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the content of `$Volume`.
    pub fn information(&self) -> &Information {
        &self.information
    }

    /// Returns how many bytes of clusters are free.
    ///
    /// # Errors
    /// Errors in `$Bitmap`, or in the runs of NTFS's own files.
    pub fn free_bytes(&self) -> Result<u64> {
        Ok(Space::open(self)?.free_clusters().saturating_mul(self.geometry.cluster_bytes))
    }

    /// Returns the ranges of the volume that are in free clusters, at least `least` bytes each, in ascending order.
    ///
    /// Shorter ones are left out, so that there are few on a fragmented volume. Clusters of NTFS's own files are not
    /// free, whatever `$Bitmap` says.
    ///
    /// # Errors
    /// Those of [`Volume::free_bytes`].
    pub fn free_extents(&self, least: u64) -> Result<Vec<Extent>> {
        let cluster = self.geometry.cluster_bytes;
        let runs = Space::open(self)?.free_runs(self, least.div_ceil(cluster.max(1)))?;
        let bytes = |clusters: u64| clusters.saturating_mul(cluster);
        Ok(runs.into_iter().map(|run| Extent::new(bytes(run.offset), bytes(run.length))).collect())
    }

    /// Returns the device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Gives the device back.
    pub fn into_device(self) -> D {
        self.device
    }

    /// Reads a file record that is in use.
    ///
    /// # Errors
    /// [`Error::OutsideMft`], [`Error::NotInUse`]; otherwise errors in the record.
    pub(super) fn record(&self, number: u64) -> Result<Record> {
        let record = Record::parse(number, self.raw_record(number)?)?;
        if record.is_in_use() { Ok(record) } else { Err(Error::NotInUse { record: number }) }
    }

    /// Reads the bytes of a file record as they are on the disk.
    pub(super) fn raw_record(&self, number: u64) -> Result<Vec<u8>> {
        let records = self.mft.initialized.checked_div(self.geometry.record_bytes as u64).unwrap_or(0);
        if number >= records {
            return Err(Error::OutsideMft { record: number, records });
        }
        let mut bytes = vec![0; self.geometry.record_bytes];
        self.mft.read(&self.device, &self.geometry, self.record_start(number), &mut bytes)?;
        Ok(bytes)
    }

    /// Returns the first byte of a record in `$MFT`.
    pub(super) fn record_start(&self, number: u64) -> u64 {
        number.saturating_mul(self.geometry.record_bytes as u64)
    }

    /// Returns where a record is in the volume; 0 if that is unknown. Only findings and messages use it.
    pub(super) fn record_place(&self, number: u64) -> u64 {
        let start = self.record_start(number);
        let cluster = self.geometry.cluster_bytes;
        let vcn = start.checked_div(cluster).unwrap_or(0);
        let runs = self.mft.runs();
        let run = runs.get(runs.partition_point(|run| run.end().0 <= vcn));
        let place = run.and_then(|run| {
            let into = start.checked_sub(run.vcn.0.checked_mul(cluster)?)?;
            self.geometry.cluster(run.lcn?).checked_add(into)
        });
        place.unwrap_or(0)
    }

    /// Returns the unnamed data stream of one of NTFS's own files.
    pub(super) fn system_data(&self, number: u64) -> Result<Stream> {
        let segments = self.segments(self.record(number)?)?;
        self.required_stream(&segments, kind::DATA, &[])
    }

    fn read_information(&self) -> Result<Information> {
        let record = self.record(system::VOLUME)?;
        let place = Place::Record { record: system::VOLUME, byte: 0 };
        let attribute = record.required(kind::VOLUME_INFORMATION)?;
        let place = place.plus(attribute.offset);
        let fields: &VolumeInformation = view(attribute.value()?, 0).map_err(place.cut())?;
        let label = match record.find(|attribute| attribute.is(kind::VOLUME_NAME, &[]))? {
            Some(attribute) => utf16::decode(attribute.value()?),
            None => String::new(),
        };
        Ok(Information { label, version: (fields.major_version, fields.minor_version), flags: fields.flags.get() })
    }

    fn read_upcase(&self) -> Result<Upcase> {
        let stream = self.system_data(system::UPCASE)?;
        if stream.size != UPCASE_BYTES {
            let place = Place::Record { record: system::UPCASE, byte: stream.attribute };
            return Err(Error::Field { place, field: "the size of $UpCase", actual: stream.size });
        }
        Upcase::parse(&stream.read_all(&self.device, &self.geometry, UPCASE_BYTES)?)
    }
}
