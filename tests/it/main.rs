//! The one integration test binary: one file a subject.
#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used, reason = "a test may speak and panic")]

mod support;

mod accounts;
mod benchmarks;
mod certificates;
mod components;
mod coverage;
mod disk;
mod emission;
mod files;
mod floors;
mod group_policy;
mod growth;
mod harden;
mod hostile;
mod machine;
mod ntfs;
mod partition;
mod policy;
mod real;
mod refusals;
mod reg;
mod regf;
mod report;
mod whole;
