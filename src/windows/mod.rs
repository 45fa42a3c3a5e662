//! Floor 3: an installed Windows, offline. Only this floor knows that a hive is a file.
//!
//! [`Survey`] looks at every partition and finds the one Windows; [`Machine`] opens its hives, answers for its settings
//! and changes them; [`View`] only answers, without loading them; [`Registry`]
//! gives hands-on access to each hive; [`security`] and [`sam`] know what lies in the values of those two hives;
//! [`second_opinion`] reads the result again through crates that this project did not write.

mod commit;
mod error;
mod hives;
mod identity;
mod locate;
mod machine;
mod policies;
mod registry;
pub mod sam;
#[cfg(feature = "second-opinion")]
pub mod second_opinion;
pub mod security;
pub mod setting;
mod stored;
mod unusable;
mod view;

pub use commit::{FileChange, UnknownCheck, VolumeCheck};
pub use error::Error;
pub use hives::HiveState;
pub use identity::control_set;
pub use locate::{BootMode, Depth, Site, Survey, VolumeReport, as_refusal};
pub use machine::{Machine, Opening};
pub use registry::Registry;
pub use stored::Written;
pub use unusable::{Structure, Unusable};
pub use view::View;

/// The answer of every function of this floor.
pub type Result<T> = std::result::Result<T, Error>;
