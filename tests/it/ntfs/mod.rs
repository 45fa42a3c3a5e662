//! Volumes made by mkntfs and filled by ntfs-3g, and real ones: read, gated, overwritten, damaged.

mod corpus;
mod gate;
mod hostile;
mod made;
mod overwriting;
mod planted;
mod reading;
mod security;
mod verifying;
