//! The SECURITY hive: what the local security authority knows of the machine.
//!
//! The audit policy ([`audit_policy`]), who holds which right ([`user_rights`], [`privilege_set`]), the machine and its
//! domain ([`lsa`]), and who may ask for names ([`descriptor`]). Each structure is read from plain bytes and written
//! back with every byte kept that is not understood; what is not understood and would matter is refused. Secrets and
//! keys are never looked at.

pub mod audit_policy;
pub mod descriptor;
pub mod lsa;
pub mod privilege_set;
pub mod right;
pub mod user_rights;
