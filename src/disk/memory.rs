//! A disk in memory, for tests and small volumes.

use super::{BlockDevice, Result, check_range};
use crate::base::read;

/// A disk that is a vector of bytes.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub Vec<u8>);

impl BlockDevice for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        check_range(at, buf.len(), self.len())?;
        let at = read::size(at);
        buf.copy_from_slice(read::slice(&self.0, at, buf.len())?);
        Ok(())
    }

    fn write_at(&mut self, at: u64, buf: &[u8]) -> Result<()> {
        check_range(at, buf.len(), self.len())?;
        let at = read::size(at);
        read::put(&mut self.0, at, buf)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
