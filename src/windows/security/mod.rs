//! The SECURITY hive: the database of the local security authority (LSA).
//!
//! The audit policy ([`audit_policy`]), who holds which right ([`user_rights`], [`privilege_set`]), the machine and its
//! domain ([`lsa`]), and who may ask for names ([`descriptor`]). Each structure is decoded from bytes and
//! encoded with all unknown bytes kept; an unknown structure that matters is rejected. Secrets and keys are never read.

pub mod audit_policy;
pub mod descriptor;
pub mod lsa;
pub mod privilege_set;
pub mod right;
pub mod user_rights;
