//! What can be wrong with a policy.

use thiserror::Error;

use crate::formats::{audit_csv, reg_file, registry_pol, security_template, zip};
use crate::policy::error::RuleFault;
use coldforge_base::{Failure, Kind, fs};

/// Why a policy cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system fails.
    #[error("it cannot be read")]
    File(#[source] fs::Error),

    /// It is none of the kinds that are read.
    #[error("it is no rule document, Registry.pol, GptTmpl.inf, audit.csv, .reg file or backup of group policy")]
    Unknown,

    /// There is more of it than any policy has.
    #[error("it is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },

    /// It has more files, rules, or levels of folders than any policy has.
    #[error("it has more than {limit} files, rules or levels of folders")]
    TooMany {
        /// The limit.
        limit: usize,
    },

    /// An archive is refused.
    #[error(transparent)]
    Zip(#[from] zip::Error),

    /// The rule document is not UTF-8.
    #[error("it is not UTF-8")]
    Encoding,

    /// The rule document is not TOML, or a field has the wrong type.
    #[error("it cannot be understood")]
    Document {
        /// The reader's answer, with the line.
        source: Box<toml::de::Error>,
    },

    /// The rule document is of another schema.
    #[error("it is of schema {found:?} where {expected:?} is read")]
    Schema {
        /// The schema found; empty if it names none.
        found: String,
        /// The schema that this version reads.
        expected: &'static str,
    },

    /// The rule document has a field that there is not.
    #[error("line {line}: there is no field `{name}`{}", meant(nearest.as_deref()))]
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
    RegistryPol {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: registry_pol::Error,
    },

    /// A security template is not understood.
    #[error("{path} cannot be used")]
    Template {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: security_template::Error,
    },

    /// An audit policy is not understood.
    #[error("{path} cannot be used")]
    AuditCsv {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: audit_csv::Error,
    },

    /// A `.reg` file is not understood.
    #[error("{path} cannot be used")]
    RegFile {
        /// Its path in the policy.
        path: String,
        /// What is wrong.
        source: reg_file::Error,
    },

    /// Another policy, or a STIG, is of this name.
    #[error("the name {name:?} is another's")]
    Name {
        /// The name.
        name: String,
    },

    /// It demands nothing.
    #[error("it holds no rule")]
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

    fn content(&self) -> Option<&dyn Failure> {
        Some(match self {
            Self::File(source) => source,
            Self::Zip(source) => source,
            Self::RegistryPol { source, .. } => source,
            Self::Template { source, .. } => source,
            Self::AuditCsv { source, .. } => source,
            Self::RegFile { source, .. } => source,
            _ => return None,
        })
    }
}

impl Failure for Fault {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } => Kind::Refused,
            Self::Schema { .. } => Kind::Unsupported,
            _ => self.content().map_or(Kind::Usage, Failure::kind),
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } => Some("E-POLICY-SIZE"),
            Self::Schema { .. } => Some("E-SCHEMA"),
            _ => self.content().and_then(Failure::code),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unknown => {
                Some("name a file of one of these kinds, or the folder or zip that backups of group policy lie in")
            }
            Self::TooLarge { .. } | Self::TooMany { .. } => Some("name the policy itself, not a folder above it"),
            Self::Encoding => Some("save the document as UTF-8"),
            Self::Document { .. } => Some("correct the document at the line named"),
            Self::Schema { .. } => Some("use a document made for this version, or another version for this document"),
            Self::Field { .. } => Some("correct the field; `coldforge rules schema` prints the fields that there are"),
            Self::Rule { .. } => Some("correct the rule; `coldforge rules schema` prints what a rule may say"),
            Self::Name { .. } => Some("rename the file or the folder, or give the document another `id`"),
            Self::Empty => Some("leave it out"),
            _ => self.content().and_then(Failure::hint),
        }
    }
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; `{nearest}` is near")).unwrap_or_default()
}
