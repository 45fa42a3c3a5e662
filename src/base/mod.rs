//! Floor 0: what every other floor stands on, and nothing that knows a disk, a volume or a hive.
//!
//! Checked cuts of untrusted bytes, address newtypes, error kinds, digests, GUIDs, SIDs, security descriptors and what
//! they grant, times, UTF-16, inert JSON and Markdown, words for a shell, `.reg` text, the files of group policy, ZIP archives, patterns of file names, progress, and
//! file helpers that name the path in their errors. Nothing here reads a clock or draws a random number.

pub mod access;
pub mod audit_csv;
pub mod confined;
pub mod crc32c;
pub mod descriptor;
pub mod device;
pub mod digest;
pub mod failure;
pub mod firewall_rule;
pub mod fs;
pub mod guid;
pub mod inherit;
pub mod interrupt;
pub mod json;
pub mod markdown;
pub mod offset;
pub mod pattern;
pub mod progress;
pub mod read;
pub mod reg_file;
pub mod registry_pol;
pub mod sddl;
pub mod security_template;
pub mod shell;
pub mod sid;
pub mod temporary;
pub mod time;
pub mod utf16;
pub mod version_resource;
pub mod zip;

pub use device::{ReadAt, WriteAt};
pub use failure::{Failure, Kind, Refusal};
pub use offset::{CellOffset, Extent, FileOffset, ImageOffset, Lcn, Vcn, VolumeOffset};
