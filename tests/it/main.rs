//! The one integration test binary: one file a subject.
#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used, reason = "a test may speak and panic")]

mod support;

mod accounts;
mod benchmarks;
mod certificates;
mod component_documents;
mod component_files;
mod components;
mod coverage;
mod disk;
mod emission;
mod files;
mod first_boot;
mod floors;
mod group_policy;
mod growth;
mod harden;
mod hints;
mod hostile;
mod inert;
mod log;
mod machine;
mod ntfs;
mod page;
mod partition;
mod pipelines;
mod policy;
mod policy_files;
mod preflight;
mod real;
mod recipes;
mod refusals;
mod reg;
mod regf;
mod releases;
mod report;
mod scope;
mod signatures;
mod tailoring;
mod tampering;
mod thresholds;
mod whole;
