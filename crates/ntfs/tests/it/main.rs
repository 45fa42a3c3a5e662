//! Volumes made by mkntfs and filled by ntfs-3g, and real ones: read, gated, overwritten, damaged.

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
mod support;
mod verifying;
mod workload;
mod writing;
