//! Why a benchmark file is refused.

use thiserror::Error;

use crate::formats::zip;
use coldforge_base::Failure;

/// A hint that several of these errors share.
const AS_PUBLISHED: &str = "use the file as DISA publishes it; the largest is a few megabytes";
/// A hint that several of these errors share.
const DOWNLOAD_AGAIN: &str = "download the benchmark again; if it is as published, tell its publisher";
/// A hint that several of these errors share.
const NO_DOCTYPE: &str = "use the file as DISA publishes it: it declares no document type and no entities";

/// What can be wrong with a benchmark file.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The file, or the document in the archive, is larger than is read.
    #[error("the benchmark is larger than {limit_bytes} bytes")]
    #[failure(refused, "E-BENCHMARK-SIZE", hint = AS_PUBLISHED)]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },

    /// The archive cannot be read.
    #[error("the benchmark's archive cannot be read")]
    #[failure(transparent)]
    Archive(#[from] zip::Error),

    /// No document in the archive is a benchmark.
    #[error("the archive holds no file whose name ends in \"xccdf.xml\"")]
    #[failure(
        usage,
        "E-BENCHMARK-ARCHIVE",
        hint = "name the archive of one STIG, or the file in it that ends in Manual-xccdf.xml"
    )]
    NoDocument,

    /// Several documents in the archive are benchmarks.
    #[error("the archive holds {} benchmarks: {}", names.len(), names.join(", "))]
    #[failure(usage, "E-BENCHMARK-ARCHIVE", hint = "unpack the archive and name one of these files")]
    SeveralDocuments {
        /// Their names.
        names: Vec<String>,
    },

    /// The bytes are not UTF-8.
    #[error("the benchmark is not UTF-8 at byte {at}")]
    #[failure(unsupported, "E-BENCHMARK-ENCODING", hint = "use the file as DISA publishes it, in UTF-8")]
    Encoding {
        /// The first byte that is not.
        at: usize,
    },

    /// The document is not well-formed.
    #[error("the benchmark is not well-formed XML at byte {at}: {fault}")]
    #[failure(corrupt, "E-BENCHMARK-XML", hint = DOWNLOAD_AGAIN)]
    Malformed {
        /// Where.
        at: u64,
        /// What the parser says.
        fault: String,
    },

    /// The document has a document type declaration, which can define entities and name files.
    #[error("the benchmark has a document type declaration at byte {at}")]
    #[failure(refused, "E-BENCHMARK-DOCTYPE", hint = NO_DOCTYPE)]
    DocumentType {
        /// Where.
        at: u64,
    },

    /// The document refers to an entity that XML itself does not define.
    #[error("the benchmark refers to the entity {name:?} at byte {at}")]
    #[failure(refused, "E-BENCHMARK-ENTITY", hint = NO_DOCTYPE)]
    Entity {
        /// Where.
        at: u64,
        /// The entity.
        name: String,
    },

    /// Elements are nested deeper than a benchmark's are.
    #[error("the benchmark nests elements deeper than {limit} at byte {at}")]
    #[failure(refused, "E-BENCHMARK-BOMB", hint = AS_PUBLISHED)]
    TooDeep {
        /// Where.
        at: u64,
        /// The limit.
        limit: usize,
    },

    /// There are more rules than are read.
    #[error("the benchmark has more than {limit} rules")]
    #[failure(refused, "E-BENCHMARK-BOMB", hint = AS_PUBLISHED)]
    TooMany {
        /// The limit.
        limit: usize,
    },

    /// The root is not a benchmark of a namespace that is read.
    #[error("the document's root is {found:?} of the namespace {namespace:?}, not an XCCDF 1.1 or 1.2 Benchmark")]
    #[failure(unsupported, "E-BENCHMARK-NAMESPACE", hint = "use the file that ends in Manual-xccdf.xml")]
    Namespace {
        /// The root's name.
        found: String,
        /// Its namespace.
        namespace: String,
    },

    /// Something that every benchmark has is missing or cannot be read.
    #[error("{place} has no {member} that can be read{}", found.as_ref().map(|found| format!(": it is {found:?}")).unwrap_or_default())]
    #[failure(corrupt, "E-BENCHMARK-MEMBER", hint = DOWNLOAD_AGAIN)]
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
    #[failure(refused, "E-BENCHMARK-DUPLICATE", hint = DOWNLOAD_AGAIN)]
    Duplicate {
        /// The id.
        id: String,
    },
}
