//! Tests of the crate on volumes that mkntfs made and ntfs-3g filled, and on real volumes: one file a subject.
//!
//! `made` makes the volumes, `oracles` asks other implementations. The model of random
//! changes is in `workload`; the sweeps over damaged bytes are in `hostile` and `hostile_edits`.
#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used, reason = "a test may speak and panic")]

mod corpus;
mod crash;
mod gate;
mod hostile;
mod hostile_edits;
mod made;
mod oracles;
mod overwriting;
mod planted;
mod reading;
mod security;

mod verifying;
mod workload;
mod writing;

use coldforge_oracles as support;
