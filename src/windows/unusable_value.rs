//! Why a value of the SAM or SECURITY hive cannot be used, or cannot be set as requested.

use thiserror::Error;

use coldforge_base::Failure;

/// A hint that several of these errors share.
const GIVE_ANOTHER_VALUE: &str = "give another value for it with --values, as secpol.msc would accept it";

/// What is wrong with a value of SAM or SECURITY, or with what it should become.
#[derive(Clone, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum UnusableValue {
    /// The value, or the key that would hold it, is not there.
    #[error("it is not in the hive")]
    #[failure(
        refused,
        "E-POLICY-MISSING",
        hint = "check that the image holds a whole installation, then run `coldforge inspect` on it"
    )]
    Missing,

    /// The bytes are not those of a structure that is known.
    #[error("the {what} of {length} bytes has an unknown {field} at {at:#x}")]
    #[failure(refused, code = what.code(), codes = ["E-SAM-POLICY", "E-SAM-DOMAIN", "E-SAM-USER", "E-SAM-INDEX", "E-SAM-GROUP", "E-LSA-ACCOUNT", "E-LSA-POLICY"], hint = "boot the machine once to let Windows write the value anew, or leave the rule out with --skip")]
    Malformed {
        /// Which structure.
        what: Structure,
        /// Where in the value the field is.
        at: usize,
        /// The field.
        field: &'static str,
        /// The length of the value in bytes.
        length: usize,
    },

    /// The audit policy has another number of subcategories than any known Windows.
    #[error("the audit policy of {length} bytes counts its subcategories as {counts:?}, which no known Windows does")]
    #[failure(
        unsupported,
        "E-AUDIT-LAYOUT",
        hint = "leave the rules on the audit policy out with --skip: this Windows is not known"
    )]
    AuditLayout {
        /// The length of the value in bytes.
        length: usize,
        /// The number of subcategories in each category; empty if even that is unknown.
        counts: Vec<u16>,
    },

    /// The audit policy of this Windows does not have the subcategory, which others have.
    #[error("the audit policy of this Windows has {count} subcategories, and `{name}` is not one of them")]
    #[failure(
        unsupported,
        "E-AUDIT-SUBCATEGORY",
        hint = "leave the rule out with --skip: this Windows cannot record such events"
    )]
    SubcategoryElsewhere {
        /// Its name.
        name: String,
        /// How many it has.
        count: usize,
    },

    /// No audit policy has the subcategory.
    #[error("the audit policy has no subcategory `{name}`")]
    #[failure(
        unsupported,
        "E-AUDIT-SUBCATEGORY",
        hint = "name a subcategory as `auditpol /list /subcategory:*` prints it"
    )]
    NoSubcategory {
        /// Its name.
        name: String,
    },

    /// No privilege and no logon right has this name.
    #[error("no right is called `{name}`")]
    #[failure(unsupported, "E-RIGHT-UNKNOWN", hint = "name a right by its constant, such as SeDebugPrivilege")]
    NoRight {
        /// The name.
        name: String,
    },

    /// A number is outside of what Windows accepts.
    #[error("{actual} is not between {least} and {most}")]
    #[failure(refused, "E-POLICY-RANGE", hint = GIVE_ANOTHER_VALUE)]
    Range {
        /// The least number that is accepted.
        least: u32,
        /// The greatest one.
        most: u32,
        /// What was asked for.
        actual: u32,
    },

    /// Two fields of a policy would contradict each other.
    #[error("{field} would be {actual}, which must be {relation} {other}, which would be {limit}")]
    #[failure(refused, "E-POLICY-RANGE", hint = GIVE_ANOTHER_VALUE)]
    Contradiction {
        /// The field.
        field: &'static str,
        /// Its number.
        actual: u32,
        /// How it must relate to the other one.
        relation: &'static str,
        /// The other field.
        other: &'static str,
        /// Its number.
        limit: u32,
    },

    /// No local account has this relative identifier.
    #[error("no account has the relative identifier {rid}")]
    #[failure(
        refused,
        "E-NO-ACCOUNT",
        hint = "leave the rule out with --skip: the account was removed from this image"
    )]
    NoAccount {
        /// The identifier.
        rid: u32,
    },

    /// An account cannot have this name.
    #[error("`{name}` cannot be the name of an account")]
    #[failure(
        refused,
        "E-ACCOUNT-NAME",
        hint = "give a name of 1 to 20 characters, without leading or trailing blanks, a final period, or any of \"/\\[]:;|=,+*?<>@"
    )]
    Name {
        /// The name.
        name: String,
    },

    /// Another account or group has the name.
    #[error("`{name}` is the name of another account or group")]
    #[failure(refused, "E-ACCOUNT-NAME-TAKEN", hint = "give another name for the account with --values")]
    NameTaken {
        /// The name.
        name: String,
    },

    /// The setting can be read, and not changed.
    #[error("this can only be read")]
    #[failure(
        unsupported,
        "E-SETTING-READ-ONLY",
        hint = "change it on the running machine, or leave the rule out with --skip"
    )]
    ReadOnly,

    /// The setting was to be removed, which is always there.
    #[error("this is always there and cannot be removed")]
    #[failure(refused, "E-POLICY-RANGE", hint = GIVE_ANOTHER_VALUE)]
    Removal,
}

/// A structure that is in a value of SAM or SECURITY.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Structure {
    /// `F` of a domain.
    AccountPolicy,
    /// `V` of a domain.
    Domain,
    /// `F` of an account.
    UserF,
    /// `V` of an account.
    UserV,
    /// A key of an index of names.
    NamesIndex,
    /// `C` of a local group.
    Alias,
    /// The index from members to local groups.
    MembersIndex,
    /// The audit policy.
    AuditPolicy,
    /// An account of the LSA.
    LsaAccount,
    /// `Privilgs` of an account of the LSA.
    PrivilegeSet,
    /// `ActSysAc` of an account of the LSA.
    SystemAccess,
    /// `SecDesc` of the LSA's policy.
    PolicyDescriptor,
    /// A SID or a name in the LSA's policy.
    PolicyText,
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AccountPolicy => "account policy",
            Self::Domain => "domain",
            Self::UserF | Self::UserV => "account",
            Self::NamesIndex => "index of names",
            Self::Alias => "group",
            Self::MembersIndex => "index of members",
            Self::AuditPolicy => "audit policy",
            Self::LsaAccount => "holder of rights",
            Self::PrivilegeSet => "set of privileges",
            Self::SystemAccess => "set of logon rights",
            Self::PolicyDescriptor => "descriptor of the LSA",
            Self::PolicyText => "SID or name of the LSA",
        })
    }
}

impl Structure {
    /// Returns the error that a field of this structure is none that is known.
    pub(super) fn malformed(self, at: usize, field: &'static str, length: usize) -> UnusableValue {
        UnusableValue::Malformed { what: self, at, field, length }
    }

    fn code(self) -> &'static str {
        match self {
            Self::AccountPolicy => "E-SAM-POLICY",
            Self::Domain => "E-SAM-DOMAIN",
            Self::UserF | Self::UserV => "E-SAM-USER",
            Self::NamesIndex | Self::MembersIndex => "E-SAM-INDEX",
            Self::Alias => "E-SAM-GROUP",
            Self::AuditPolicy => "E-AUDIT-LAYOUT",
            Self::LsaAccount | Self::PrivilegeSet | Self::SystemAccess => "E-LSA-ACCOUNT",
            Self::PolicyDescriptor | Self::PolicyText => "E-LSA-POLICY",
        }
    }
}
