//! The findings of the verifier: rules with stable names, findings that can be compared, and a bounded list of them.

use std::cmp::Ordering;
use std::fmt;

use coldforge_base::VolumeOffset;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The volume contradicts itself: Windows would repair it, or lose data.
    Error,
    /// Found on volumes that Windows itself wrote and mounts.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! rules {
    ($($severity:ident $name:ident $code:literal $text:literal;)*) => {
        /// A rule that a volume can break; its documentation says what was found.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// Every rule, in the order of the checks.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the stable short name, such as `bitmap-free`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns how bad it is to break the rule.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// Returns what was found, as a clause.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

rules! {
    Error BootZero "boot-zero" "a field of the boot sector that must be zero is not";
    Error BootSize "boot-size" "the volume is larger than its device";
    Warning BootNoCopy "boot-no-copy" "the device ends before the copy of the boot sector";
    Error BootCopy "boot-copy" "the copy of the boot sector tells of another volume";
    Warning BootCode "boot-code" "the copy of the boot sector holds other boot code";
    Error MftSize "mft-size" "$MFT claims more records than its device can hold";
    Error MirrorPlace "mirror-place" "$MFT or $MFTMirr does not begin where the boot sector says";
    Error MirrorSize "mirror-size" "$MFTMirr is too short";
    Error MirrorRecord "mirror-record" "the record's copy in $MFTMirr is damaged or differs";
    Warning MirrorStale "mirror-stale" "the record's copy in $MFTMirr is not one of the first four, and is stale";
    Error MftBitmapSize "mft-bitmap-size" "the bitmap of $MFT is shorter than its records";
    Error MftBitmapFree "mft-bitmap-free" "the record is in use, but the bitmap of $MFT says free";
    Error MftBitmapUsed "mft-bitmap-used" "the record is not in use, but the bitmap of $MFT says used";
    Error SystemFile "system-file" "one of NTFS's own files is missing, or is not what it must be";
    Error AttrDef "attrdef" "$AttrDef does not hold attribute definitions";
    Error Upcase "upcase" "$UpCase is not a table of upper-case letters";
    Error VolumeVersion "volume-version" "$Volume tells of an unknown version of NTFS";
    Warning VolumeDirty "volume-dirty" "the volume is marked as dirty";
    Warning VolumeFlags "volume-flags" "$Volume has flags that say that an operation is under way";
    Error LogDamaged "log-damaged" "a restart page of $LogFile is damaged";
    Warning LogUnclean "log-unclean" "$LogFile has open transactions, or is not wholly unused";
    Warning LogFastStartup "log-fast-startup" "$LogFile has version 2.0: Windows may keep metadata in memory";
    Warning LogVersion "log-version" "$LogFile has an unknown version";

    Error Unreadable "unreadable" "a structure cannot be read";
    Error RecordSignature "record-signature" "the record has no signature of a file record";
    Error RecordTorn "record-torn" "the record was written in part";
    Warning RecordTornFree "record-torn-free" "the record, which is not in use, was written in part";
    Error RecordAllocated "record-allocated" "the allocated size is not that of a record";
    Error RecordSequence "record-sequence" "the sequence number is 0";
    Error RecordNumber "record-number" "the record tells of another number";
    Error RecordFlags "record-flags" "the record has unknown flags";
    Error RecordFirst "record-first" "the first attribute cannot begin there";
    Error RecordEnd "record-end" "the attributes have no end mark";
    Error RecordUsed "record-used" "the used size is not where the attributes end";
    Error RecordNextId "record-next-id" "the next attribute id is not above those in use";
    Error AttributeLength "attribute-length" "the attribute has an impossible length";
    Error AttributeForm "attribute-form" "the attribute has a form that its type cannot have";
    Error AttributeType "attribute-type" "the attribute has an unknown type";
    Error AttributeName "attribute-name" "the name lies outside its attribute";
    Error AttributeFlags "attribute-flags" "the attribute has flags that it cannot have";
    Error AttributeValue "attribute-value" "the value lies outside its attribute";
    Error AttributeIndexed "attribute-indexed" "the mark of indexed attributes is wrong";
    Warning AttributeSlack "attribute-slack" "the attribute is longer than its value needs";
    Error AttributeOrder "attribute-order" "the attribute stands behind one that belongs behind it";
    Error AttributeId "attribute-id" "another attribute of the record has the same id";
    Error AttributeTwice "attribute-twice" "the file has the attribute more than once";
    Error RunsOffset "runs-offset" "the mapping pairs lie outside their attribute";
    Error RunsDamaged "runs-damaged" "the mapping pairs are damaged";
    Error RunsOutside "runs-outside" "a run leaves the volume";
    Error RunsHighest "runs-highest" "the mapping pairs do not end at the highest VCN";
    Error RunsHole "runs-hole" "a stream that is neither sparse nor compressed has a hole";
    Error RunsShared "runs-shared" "the clusters belong to another stream as well";
    Error ExtentFirst "extent-first" "the first extent does not begin at VCN 0";
    Error ExtentGap "extent-gap" "the extent does not begin where the one before ends";
    Warning ExtentSizes "extent-sizes" "an extent that is not the first tells sizes";
    Error SizeAllocated "size-allocated" "the allocated size is not that of the runs";
    Error SizeData "size-data" "the data size is larger than the allocated size";
    Error SizeInitialized "size-initialized" "the initialized size is larger than the data size";
    Error SizeTotal "size-total" "the size on disk of a sparse or compressed stream is not that of its clusters";
    Error SizeUnit "size-unit" "the compression unit does not fit the stream";
    Error ExtensionBase "extension-base" "the record continues one that is no base record in use";
    Error ExtensionAttribute "extension-attribute" "the attribute cannot stand in a record that continues another";
    Error ExtensionUnlisted "extension-unlisted" "other records continue the record, which has no attribute list";
    Error ListDamaged "list-damaged" "the attribute list cannot be read";
    Error ListOrder "list-order" "the attribute list is out of order, or names an attribute twice";
    Error ListTarget "list-target" "the attribute list names an attribute that is not there";
    Error ListVcn "list-vcn" "the attribute list tells another lowest VCN than the attribute";
    Error ListMissing "list-missing" "the attribute is not in the attribute list";
    Error BitmapSize "bitmap-size" "$Bitmap is shorter than the volume";
    Error BitmapFree "bitmap-free" "clusters in use are marked as free";
    Error BitmapUsed "bitmap-used" "clusters that no file holds are marked as used";
    Error BitmapTail "bitmap-tail" "bits behind the end of the volume are clear";

    Error DirectoryFlag "directory-flag" "the directory flag and the index of names do not agree";
    Error IndexRoot "index-root" "the index root has an impossible field";
    Warning IndexCollation "index-collation" "the index has an unknown order";
    Error IndexStreams "index-streams" "the streams of the index do not belong together";
    Error IndexHeader "index-header" "the sizes of an index node contradict each other";
    Error IndexEntry "index-entry" "an index entry is malformed";
    Error IndexOrder "index-order" "an index entry does not belong behind the one before it";
    Error IndexChild "index-child" "an index entry leads to an impossible block, or one that was met before";
    Error IndexBlock "index-block" "an index block has no signature, or tells of another place";
    Error IndexTorn "index-torn" "an index block was written in part";
    Warning IndexShape "index-shape" "the leaves of the index lie at different depths";
    Error IndexBitmapFree "index-bitmap-free" "an index block is in use, but its bitmap says free";
    Error IndexBitmapUsed "index-bitmap-used" "an index block is not in use, but its bitmap says used";
    Error IndexTooLarge "index-too-large" "all indexes and attribute lists together are larger than the device";
    Error IndexParent "index-parent" "a name in the index tells of another directory";
    Error IndexReference "index-reference" "a name in the index leads to no file, or to one of another time";
    Error IndexName "index-name" "a name in the index is not a name of its file";
    Error IndexSizes "index-sizes" "the sizes in the index are not those of the file";
    Error IndexFlags "index-flags" "the flags in the index are not those of the file";
    Warning IndexSizesLink "index-sizes-link" "the sizes beside one of several hard links are stale";
    Warning IndexFlagsLink "index-flags-link" "the flags beside one of several hard links are stale";
    Error NameMalformed "name-malformed" "a $FILE_NAME is malformed";
    Error NameMissing "name-missing" "the file has no name";
    Error NameParent "name-parent" "the directory that holds the name is none, or one of another time";
    Error NameIndex "name-index" "the name does not stand exactly once in its directory";
    Error NameLetters "name-letters" "the name holds letters that are forbidden";
    Warning NameForeign "name-foreign" "the name is not one that Windows programs can use";
    Error NameTwin "name-twin" "an 8.3 name has no long twin in its directory";
    Error NameDirectories "name-directories" "a directory has names in several directories";
    Error LinkCount "link-count" "the number of names is not the link count";
    Error StandardInformation "standard-information" "$STANDARD_INFORMATION is missing or has an impossible size";
    Error NoData "no-data" "the file has no unnamed data stream";
    Error Unreachable "unreachable" "no path leads from the root to the directory";

    Error SecureMissing "secure-missing" "$Secure lacks its streams";
    Error SecureEntry "secure-entry" "an entry of $SDS is malformed";
    Error SecureHash "secure-hash" "an entry of $SDS has another hash than its descriptor";
    Error SecureMirror "secure-mirror" "an entry of $SDS and its copy differ";
    Error SecureTwice "secure-twice" "two entries of $SDS have one id";
    Error SecureIndex "secure-index" "an entry of $SII or $SDH leads to no such entry of $SDS";
    Error SecurePair "secure-pair" "a security id stands in one of $SII and $SDH only";
    Warning SecureUnindexed "secure-unindexed" "a security id stands in $SDS, but in no index";
    Error SecurityId "security-id" "the file's security id is not in $SII";
    Warning SecurityNone "security-none" "the file has neither a security id nor a descriptor";
}

/// What in a record, or where on the volume, a finding is about; no address that a move of data would change.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum About {
    /// The record, or the volume, as a whole.
    Whole,
    /// An attribute of the record.
    Attribute {
        /// The type code.
        kind: u32,
        /// The number that is unique in its record.
        id: u16,
    },
    /// Another record: the child of a directory, the parent of a name, the base of an extension.
    Record(u64),
    /// Clusters side by side.
    Clusters {
        /// The first one.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A block of an index.
    Block {
        /// The index: the last letter of its name in ASCII, such as `0` of `$I30` and `I` of `$SII`.
        index: u8,
        /// The block's VCN; `None` for the root.
        vcn: Option<u64>,
    },
    /// A security id.
    Security(u32),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Attribute { kind, id } => write!(f, ", attribute {kind:#x} with id {id}"),
            Self::Record(record) => write!(f, ", about record {record:#x}"),
            Self::Clusters { first, count } => write!(f, ", {count} clusters from {first:#x}"),
            Self::Block { vcn: None, .. } => f.write_str(", index root"),
            Self::Block { vcn: Some(vcn), .. } => write!(f, ", index block at VCN {vcn:#x}"),
            Self::Security(id) => write!(f, ", security id {id:#x}"),
        }
    }
}

/// One broken rule.
///
/// Findings compare by everything but [`Finding::at`]: two scans of a volume can be compared although data moved.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Number of the file record: the directory of an index, the file of a name, the record of an attribute, or the
    /// one of NTFS's own files that is about the whole volume.
    pub record: u64,
    /// What in the record.
    pub about: About,
    /// What was found, where the rule is about a number; else 0.
    pub actual: u64,
    /// What was expected, where that is known; else the same as `actual`.
    pub expected: u64,
    /// Where it is in the volume.
    pub at: VolumeOffset,
}

impl Finding {
    /// Returns how bad it is.
    pub fn severity(&self) -> Severity {
        self.rule.severity()
    }

    fn identity(&self) -> (Rule, u64, About, u64, u64) {
        (self.rule, self.record, self.about, self.actual, self.expected)
    }
}

impl PartialEq for Finding {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Finding {}

impl PartialOrd for Finding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, record, about, actual, expected, at } = self;
        write!(f, "{} {} in file record {record:#x}{about}: {}", rule.severity(), rule.code(), rule.text())?;
        if actual != expected {
            write!(f, " ({actual:#x}, expected {expected:#x})")?;
        } else if *actual != 0 {
            write!(f, " ({actual:#x})")?;
        }
        write!(f, ", at {at}")
    }
}

/// The most findings of one part of the verifier; more are only counted.
const MOST_OF_A_PART: usize = 2000;
/// Findings of one rule in a report; more are only counted.
const MOST_OF_A_RULE: usize = 1000;

/// A list of findings with a bound.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    omitted: u64,
}

impl Findings {
    /// Adds a finding about a number.
    pub fn number(&mut self, rule: Rule, record: u64, about: About, at: u64, actual: u64, expected: u64) {
        if self.list.len() < MOST_OF_A_PART {
            self.list.push(Finding { rule, record, about, actual, expected, at: VolumeOffset(at) });
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds a finding.
    pub fn plain(&mut self, rule: Rule, record: u64, about: About, at: u64) {
        self.number(rule, record, about, at, 0, 0);
    }

    /// Adds a finding that was made before.
    pub fn push(&mut self, finding: Finding) {
        let Finding { rule, record, about, actual, expected, at } = finding;
        self.number(rule, record, about, at.0, actual, expected);
    }

    /// Joins the parts' lists into one in the order of findings, with at most [`MOST_OF_A_RULE`] of each rule, and
    /// returns it with the number of those left out.
    pub fn joined(parts: impl IntoIterator<Item = Self>) -> (Vec<Finding>, u64) {
        let mut omitted = 0u64;
        let mut all = Vec::new();
        for part in parts {
            omitted = omitted.saturating_add(part.omitted);
            all.extend(part.list);
        }
        all.sort_unstable();
        let (mut last, mut count) = (None, 0usize);
        all.retain(|finding| {
            count = if last == Some(finding.rule) { count.saturating_add(1) } else { 1 };
            last = Some(finding.rule);
            let kept = count <= MOST_OF_A_RULE;
            omitted = omitted.saturating_add(u64::from(!kept));
            kept
        });
        (all, omitted)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, clippy::indexing_slicing)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let codes: HashSet<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
        assert_eq!(codes.len(), Rule::ALL.len());
        let kebab = |code: &&str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(codes.iter().all(kebab));
    }

    #[test]
    fn findings_are_equal_wherever_their_bytes_lie() {
        let at = |at| Finding {
            rule: Rule::SizeData,
            record: 64,
            about: About::Attribute { kind: 0x80, id: 3 },
            actual: 5,
            expected: 4,
            at: VolumeOffset(at),
        };
        assert_eq!(at(0), at(512));
        assert_eq!(
            at(0x200).to_string(),
            "error size-data in file record 0x40, attribute 0x80 with id 3: the data size is larger than the allocated \
             size (0x5, expected 0x4), at 0x200"
        );
    }

    #[test]
    fn a_flood_is_counted_but_not_kept() {
        let part = |rule| {
            let mut findings = Findings::default();
            for record in 0..3000 {
                findings.plain(rule, record, About::Whole, 0);
            }
            findings
        };
        let (list, omitted) = Findings::joined([part(Rule::NoData), part(Rule::NoData), part(Rule::LinkCount)]);
        assert_eq!(list.len(), 2 * MOST_OF_A_RULE);
        assert_eq!(omitted, 9000 - 2 * MOST_OF_A_RULE as u64);
    }
}
