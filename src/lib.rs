//! coldforge hardens Windows disk images without booting them.

pub mod base;
pub mod disk;
pub mod ntfs;
pub mod partition;
pub mod policy;
pub mod regf;
pub mod windows;
