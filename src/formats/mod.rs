//! File formats that no disk, volume or hive is made of: `.reg` text, the files of group policy (Registry.pol, security
//! templates, `audit.csv`), rules of the firewall as the registry stores them, ZIP archives, version resources of programs;
//! and how text is written so that JSON, Markdown and a shell do not obey it.

pub mod audit_csv;
pub mod firewall_rule;
pub mod json;
pub mod markdown;
pub mod pattern;
pub mod reg_file;
pub mod registry_pol;
pub mod security_template;
pub mod shell;
pub mod version_resource;
pub mod zip;

/// Every code of this room.
pub const CODES: &[&[coldforge_base::failure::Code]] = &[
    audit_csv::Error::CODES,
    reg_file::Error::CODES,
    registry_pol::Error::CODES,
    security_template::Error::CODES,
    zip::Error::CODES,
];
