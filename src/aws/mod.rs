//! AWS: the preflight checks of an image ([`preflight`]), and the files for importing it ([`files`]). No network: the user
//! runs the upload.

mod block_map;
mod commands;
mod distribution;
mod import_image;
mod options;
mod policies;
pub mod preflight;
mod readme;

pub use block_map::block_map;
pub use commands::commands;
pub use distribution::distribution;
pub use import_image::{Import, containers, import_image, import_snapshot, register_image};
pub use options::{BadOption, NO_BUCKET, Options};
pub use policies::{role_policy, trust_policy};
pub use readme::readme;

use crate::formats::json;

/// The path of the options, which the other files are made of.
pub const OPTIONS: &str = "aws/options.json";

/// The path of what the checks say of the image.
pub const PREFLIGHT: &str = "aws/preflight.json";

/// The paths of all files that [`files`] returns.
pub const PATHS: [&str; 12] = [
    "aws/README.md",
    "aws/block-map.json",
    "aws/commands.sh",
    "aws/containers.json",
    "aws/distribution.json",
    "aws/import-image.json",
    "aws/import-snapshot.json",
    OPTIONS,
    PREFLIGHT,
    "aws/register-image.json",
    "aws/role-policy.json",
    "aws/trust-policy.json",
];

/// Returns the content of the file at [`OPTIONS`].
pub fn options_file(options: &Options) -> Vec<u8> {
    json::file(&serde_json::to_value(options).expect("options are texts and lists, which JSON can hold"))
}

/// Returns every file of a bundle's folder `aws/`, by its path in the bundle: the same image and options give the same
/// bytes.
pub fn files(import: &Import<'_>, report: &preflight::Report) -> Vec<(&'static str, Vec<u8>)> {
    let report = &report.naming(import.image);
    vec![
        ("aws/README.md", readme(import, report).into_bytes()),
        ("aws/block-map.json", block_map(import)),
        ("aws/commands.sh", commands(import).into_bytes()),
        ("aws/containers.json", json::file(&containers(import))),
        ("aws/distribution.json", json::file(&distribution(import))),
        ("aws/import-image.json", json::file(&import_image(import))),
        ("aws/import-snapshot.json", json::file(&import_snapshot(import))),
        (OPTIONS, options_file(import.options)),
        (PREFLIGHT, json::file(&report.document(import.image))),
        ("aws/register-image.json", json::file(&register_image(import))),
        ("aws/role-policy.json", json::file(&role_policy(import))),
        ("aws/trust-policy.json", json::file(&trust_policy())),
    ]
}
