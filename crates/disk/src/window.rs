//! A range of a device as a device of its own: a partition as a volume sees it.

use coldforge_base::device::check_range;
use coldforge_base::{Extent, ImageOffset, ReadAt, WriteAt, device};

/// A range of another device.
#[derive(Clone, Debug)]
pub struct Window<D> {
    device: D,
    start: u64,
    length: u64,
}

impl<D: ReadAt> Window<D> {
    /// Opens the `length` bytes of `device` that begin at `start`.
    ///
    /// # Errors
    /// [`device::Error::OutOfRange`] if they do not lie inside the device.
    pub fn open(device: D, start: ImageOffset, length: u64) -> device::Result<Self> {
        let size = device.len();
        match start.0.checked_add(length) {
            Some(end) if end <= size => Ok(Self { device, start: start.0, length }),
            _ => Err(device::Error::OutOfRange { at: start.0, length, size }),
        }
    }

    /// Returns where the window begins in the device below.
    pub fn start(&self) -> ImageOffset {
        ImageOffset(self.start)
    }

    /// Returns the device below.
    pub fn into_inner(self) -> D {
        self.device
    }

    /// Returns the device below.
    pub fn inner(&self) -> &D {
        &self.device
    }

    fn place(&self, at: u64, length: usize) -> device::Result<u64> {
        check_range(at, length, self.length)?;
        let outside = device::Error::OutOfRange { at, length: length as u64, size: self.length };
        self.start.checked_add(at).ok_or(outside)
    }
}

impl<D: ReadAt> ReadAt for Window<D> {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> device::Result<()> {
        self.device.read_at(self.place(at, buf.len())?, buf)
    }

    fn sector_bytes(&self) -> Option<u32> {
        self.device.sector_bytes()
    }

    fn next_data(&self, from: u64) -> device::Result<Option<Extent>> {
        if from >= self.length {
            return Ok(None);
        }
        let end = self.start.saturating_add(self.length);
        let found = self.device.next_data(self.start.saturating_add(from))?;
        Ok(found.filter(|extent| extent.offset < end).map(|extent| {
            Extent::new(extent.offset.saturating_sub(self.start), extent.end().min(end).saturating_sub(extent.offset))
        }))
    }
}

impl<D: WriteAt> WriteAt for Window<D> {
    fn write_at(&mut self, at: u64, buf: &[u8]) -> device::Result<()> {
        let at = self.place(at, buf.len())?;
        self.device.write_at(at, buf)
    }

    fn flush(&mut self) -> device::Result<()> {
        self.device.flush()
    }
}
