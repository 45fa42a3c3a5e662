//! Floor 5: what Amazon asks of an image ([`preflight`]), and the files that bring it there ([`files`]). No network: an
//! upload is somebody else's command.

mod block_map;
mod commands;
mod distribution;
mod import_image;
mod options;
mod policies;
pub mod preflight;
mod readme;

use serde_json::Value;

pub use block_map::block_map;
pub use commands::commands;
pub use distribution::distribution;
pub use import_image::{Import, containers, import_image, import_snapshot, register_image};
pub use options::{BadOption, NO_BUCKET, Options};
pub use policies::{role_policy, trust_policy};
pub use readme::readme;

/// The path of the options, which the other files are made of.
pub const OPTIONS: &str = "aws/options.json";

/// The path of what the checks say of the image.
pub const PREFLIGHT: &str = "aws/preflight.json";

/// Returns every file of a bundle's folder `aws/`, by its path in the bundle: the same image and options give the same
/// bytes.
pub fn files(import: &Import<'_>, report: &preflight::Report) -> Vec<(&'static str, Vec<u8>)> {
    let options = serde_json::to_value(import.options).expect("options are texts and lists, which JSON can hold");
    vec![
        ("aws/README.md", readme(import, report).into_bytes()),
        ("aws/block-map.json", block_map(import)),
        ("aws/commands.sh", commands(import).into_bytes()),
        ("aws/containers.json", pretty(&containers(import))),
        ("aws/distribution.json", pretty(&distribution(import))),
        ("aws/import-image.json", pretty(&import_image(import))),
        ("aws/import-snapshot.json", pretty(&import_snapshot(import))),
        (OPTIONS, pretty(&options)),
        (PREFLIGHT, pretty(&report.document(import.image))),
        ("aws/register-image.json", pretty(&register_image(import))),
        ("aws/role-policy.json", pretty(&role_policy(import))),
        ("aws/trust-policy.json", pretty(&trust_policy())),
    ]
}

fn pretty(document: &Value) -> Vec<u8> {
    format!("{document:#}\n").into_bytes()
}
