//! Floor 5: the files that `aws ec2 import-image` reads. No network: an upload is somebody else's command.

mod import_image;

pub use import_image::{Import, containers, import_image};
