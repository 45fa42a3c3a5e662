//! Why a benchmark file is refused.

use thiserror::Error;

use crate::formats::zip;
use coldforge_base::{Failure, Kind};

/// What can be wrong with a benchmark file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file, or the document in the archive, is larger than is read.
    #[error("the benchmark is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },

    /// The archive cannot be read.
    #[error("the benchmark's archive cannot be read")]
    Archive(#[from] zip::Error),

    /// No document in the archive is a benchmark.
    #[error("the archive holds no file whose name ends in \"xccdf.xml\"")]
    NoDocument,

    /// Several documents in the archive are benchmarks.
    #[error("the archive holds {} benchmarks: {}", names.len(), names.join(", "))]
    SeveralDocuments {
        /// Their names.
        names: Vec<String>,
    },

    /// The bytes are not UTF-8.
    #[error("the benchmark is not UTF-8 at byte {at}")]
    Encoding {
        /// The first byte that is not.
        at: usize,
    },

    /// The document is not well-formed.
    #[error("the benchmark is not well-formed XML at byte {at}: {fault}")]
    Malformed {
        /// Where.
        at: u64,
        /// What the parser says.
        fault: String,
    },

    /// The document has a document type declaration, which can define entities and name files.
    #[error("the benchmark has a document type declaration at byte {at}")]
    DocumentType {
        /// Where.
        at: u64,
    },

    /// The document refers to an entity that XML itself does not define.
    #[error("the benchmark refers to the entity {name:?} at byte {at}")]
    Entity {
        /// Where.
        at: u64,
        /// The entity.
        name: String,
    },

    /// Elements are nested deeper than a benchmark's are.
    #[error("the benchmark nests elements deeper than {limit} at byte {at}")]
    TooDeep {
        /// Where.
        at: u64,
        /// The limit.
        limit: usize,
    },

    /// There are more rules than are read.
    #[error("the benchmark has more than {limit} rules")]
    TooMany {
        /// The limit.
        limit: usize,
    },

    /// The root is not a benchmark of a namespace that is read.
    #[error("the document's root is {found:?} of the namespace {namespace:?}, not an XCCDF 1.1 or 1.2 Benchmark")]
    Namespace {
        /// The root's name.
        found: String,
        /// Its namespace.
        namespace: String,
    },

    /// Something that every benchmark has is missing or cannot be read.
    #[error("{place} has no {member} that can be read{}", found.as_ref().map(|found| format!(": it is {found:?}")).unwrap_or_default())]
    Member {
        /// The rule, or the benchmark itself.
        place: String,
        /// What is missing.
        member: &'static str,
        /// What stands there instead.
        found: Option<String>,
    },

    /// Two rules share an id.
    #[error("two rules of the benchmark have the id {id}")]
    Duplicate {
        /// The id.
        id: String,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. }
            | Self::DocumentType { .. }
            | Self::Entity { .. }
            | Self::TooDeep { .. }
            | Self::TooMany { .. }
            | Self::Duplicate { .. } => Kind::Refused,
            Self::Archive(source) => source.kind(),
            Self::NoDocument | Self::SeveralDocuments { .. } => Kind::Usage,
            Self::Encoding { .. } | Self::Namespace { .. } => Kind::Unsupported,
            Self::Malformed { .. } | Self::Member { .. } => Kind::Corrupt,
        }
    }

    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::TooLarge { .. } => "E-BENCHMARK-SIZE",
            Self::Archive(source) => return source.code(),
            Self::NoDocument | Self::SeveralDocuments { .. } => "E-BENCHMARK-ARCHIVE",
            Self::Encoding { .. } => "E-BENCHMARK-ENCODING",
            Self::Malformed { .. } => "E-BENCHMARK-XML",
            Self::DocumentType { .. } => "E-BENCHMARK-DOCTYPE",
            Self::Entity { .. } => "E-BENCHMARK-ENTITY",
            Self::TooDeep { .. } | Self::TooMany { .. } => "E-BENCHMARK-BOMB",
            Self::Namespace { .. } => "E-BENCHMARK-NAMESPACE",
            Self::Member { .. } => "E-BENCHMARK-MEMBER",
            Self::Duplicate { .. } => "E-BENCHMARK-DUPLICATE",
        })
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::TooLarge { .. } | Self::TooDeep { .. } | Self::TooMany { .. } => {
                "use the file as DISA publishes it; the largest is a few megabytes"
            }
            Self::Archive(source) => return source.hint(),
            Self::NoDocument => "name the archive of one STIG, or the file in it that ends in Manual-xccdf.xml",
            Self::SeveralDocuments { .. } => "unpack the archive and name one of these files",
            Self::Encoding { .. } => "use the file as DISA publishes it, in UTF-8",
            Self::DocumentType { .. } | Self::Entity { .. } => {
                "use the file as DISA publishes it: it declares no document type and no entities"
            }
            Self::Malformed { .. } | Self::Member { .. } | Self::Duplicate { .. } => {
                "download the benchmark again; if it is as published, tell its publisher"
            }
            Self::Namespace { .. } => "use the file that ends in Manual-xccdf.xml",
        })
    }
}
