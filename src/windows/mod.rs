//! An offline Windows installation: finds it on a disk, and reads and changes its settings.
//!
//! [`Survey`] reads every partition and finds the one Windows. [`Machine`] opens its hives, and reads and changes its
//! settings; [`ReadOnlyMachine`] only reads, without loading the hives; [`Evidence`] also reads disks that must not be
//! edited. [`Registry`] gives access to each hive. [`security`] and [`sam`] decode the values of those two hives.
//! [`second_opinion`] reads the result again with crates that this project did not write.

mod acl;
pub mod boot;
pub mod certificates;
mod commit;
mod error;
mod esp;
mod evidence;
pub mod fat;
pub mod features;
mod files;
mod free_space;
mod hive_value;
mod hives;
mod identity;
pub mod local_policy;
mod locate;
mod machine;
mod policies;
pub mod profiles;
mod read_only;
mod registry;
pub mod sam;
#[cfg(feature = "second-opinion")]
pub mod second_opinion;
pub mod security;
pub mod setting;
pub mod setup_state;
mod unusable_value;

pub use commit::{FileChange, UnknownCheck, VolumeCheck};
pub(crate) use error::plural;
pub use error::{Error, Result};
pub use esp::{BOOT_MANAGER, BootFile, Processor, STORE, SystemPartition};
pub use evidence::{Answer, Evidence, LocalAccount, hive_bytes};
pub use free_space::free_extents;
pub use hive_value::ValueWrite;
pub use hives::HiveState;
pub use identity::control_set;
pub use locate::{BootMode, Depth, Survey, SurveyedPartition, VolumeReport, as_refusal};
pub use machine::{Machine, OpenOptions};
pub use read_only::ReadOnlyMachine;
pub use registry::Registry;
pub use unusable_value::{Structure, UnusableValue};

use coldforge_base::failure::Code;

/// What keeps a part of an image from being judged, although the rest is.
const UNJUDGED: &[Code] = &[
    Code::refusal(
        "E-UNREADABLE",
        "A partition, a file or a hive cannot be read.",
        "check the image with `coldforge check`",
    ),
    Code::refusal(
        "E-BOOT-MODE-UNKNOWN",
        "The partition table does not tell where the boot configuration data lies.",
        "look at it in Windows with `bcdedit /enum all`",
    ),
    Code::refusal(
        "E-VALUE-TYPE",
        "A value has another type than Windows writes.",
        "look at the value in Windows and write it with its own type",
    ),
];

/// Every code of this room.
pub const CODES: &[&[Code]] = &[
    Error::CODES,
    UnusableValue::CODES,
    UNJUDGED,
    certificates::Error::CODES,
    certificates::CODES,
    fat::Error::CODES,
    local_policy::CODES,
];
