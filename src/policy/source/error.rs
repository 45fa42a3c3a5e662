//! What can be wrong with a policy.

use thiserror::Error;

use crate::formats::{audit_csv, reg_file, registry_pol, security_template, zip};
use crate::policy::error::RuleFault;
use coldforge_base::{Failure, fs};

/// A hint that several of these errors share.
const NAME_THE_POLICY: &str = "name the policy itself, not a folder above it";

/// Why a policy cannot be used.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system fails.
    #[error("it cannot be read")]
    #[failure(transparent)]
    File(#[source] fs::Error),

    /// It is none of the kinds that are read.
    #[error("it is no rule document, Registry.pol, GptTmpl.inf, audit.csv, .reg file or backup of group policy")]
    #[failure(
        usage,
        hint = "name a file of one of these kinds, or the folder or zip that backups of group policy lie in"
    )]
    Unknown,

    /// There is more of it than any policy has.
    #[error("it is larger than {limit_bytes} bytes")]
    #[failure(refused, "E-POLICY-SIZE", hint = NAME_THE_POLICY)]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },

    /// It has more files, rules, or levels of folders than any policy has.
    #[error("it has more than {limit} files, rules or levels of folders")]
    #[failure(refused, "E-POLICY-SIZE", hint = NAME_THE_POLICY)]
    TooMany {
        /// The limit.
        limit: usize,
    },

    /// An archive is refused.
    #[error(transparent)]
    #[failure(transparent)]
    Zip(#[from] zip::Error),

    /// The rule document is not UTF-8.
    #[error("it is not UTF-8")]
    #[failure(usage, hint = "save the document as UTF-8")]
    Encoding,

    /// The rule document is not TOML, or a field has the wrong type.
    #[error("it cannot be understood")]
    #[failure(usage, hint = "correct the document at the line named")]
    Document {
        /// The reader's answer, with the line.
        source: Box<toml::de::Error>,
    },

    /// The rule document is of another schema.
    #[error("it is of schema {found:?} where {expected:?} is read")]
    #[failure(
        unsupported,
        "E-SCHEMA",
        hint = "use a document made for this version, or another version for this document"
    )]
    Schema {
        /// The schema found; empty if it names none.
        found: String,
        /// The schema that this version reads.
        expected: &'static str,
    },

    /// The rule document has a field that there is not.
    #[error("line {line}: there is no field `{name}`{}", meant(nearest.as_deref()))]
    #[failure(usage, hint = "correct the field; `coldforge rules schema` prints the fields that there are")]
    Field {
        /// The line, from 1.
        line: usize,
        /// The field.
        name: String,
        /// The field that is nearest, if one is near.
        nearest: Option<String>,
    },

    /// A rule of the document is wrong.
    #[error("line {line}: the rule {rule} is wrong")]
    #[failure(usage, hint = "correct the rule; `coldforge rules schema` prints what a rule may say")]
    Rule {
        /// The line of its head, from 1.
        line: usize,
        /// Its id.
        rule: String,
        /// What is wrong.
        source: Box<RuleFault>,
    },

    /// A `Registry.pol` is damaged.
    #[error("{path} cannot be used")]
    #[failure(transparent)]
    RegistryPol {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: registry_pol::Error,
    },

    /// A security template is not understood.
    #[error("{path} cannot be used")]
    #[failure(transparent)]
    Template {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: security_template::Error,
    },

    /// An audit policy is not understood.
    #[error("{path} cannot be used")]
    #[failure(transparent)]
    AuditCsv {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: audit_csv::Error,
    },

    /// A `.reg` file is not understood.
    #[error("{path} cannot be used")]
    #[failure(transparent)]
    RegFile {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: reg_file::Error,
    },

    /// Another policy, or a STIG, is of this name.
    #[error("the name {name:?} is another's")]
    #[failure(usage, hint = "rename the file or the folder, or give the document another `id`")]
    Name {
        /// The name.
        name: String,
    },

    /// It demands nothing.
    #[error("it holds no rule")]
    #[failure(usage, hint = "leave it out")]
    Empty,
}

impl Fault {
    pub(super) fn pol(path: &str, source: registry_pol::Error) -> Self {
        Self::RegistryPol { path: path.to_owned(), source }
    }

    pub(super) fn template(path: &str, source: security_template::Error) -> Self {
        Self::Template { path: path.to_owned(), source }
    }

    pub(super) fn csv(path: &str, source: audit_csv::Error) -> Self {
        Self::AuditCsv { path: path.to_owned(), source }
    }
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; `{nearest}` is near")).unwrap_or_default()
}
