//! Floor 5: what Amazon asks of an image ([`preflight`]), and the files that `aws ec2 import-image` and its kin read. No
//! network: an upload is somebody else's command.

mod import_image;
pub mod preflight;

pub use import_image::{Import, containers, import_image};
