//! `audit.csv`: the advanced audit policy of a group policy object (MS-GPAC 2.2.1), one row a subcategory.
//!
//! `Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value`. Of a row
//! for the target `System` only GUID and value count; the texts between them are for people. Rows for users, options and
//! global lists of access are kept as they are, and so is every byte of a row that is not edited.

use std::collections::BTreeSet;

use thiserror::Error;

use coldforge_base::Failure;
use coldforge_base::guid::Guid;

/// The columns, as every file begins with them.
const HEADER: &str =
    "Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value";
const MARK: &[u8] = &[0xef, 0xbb, 0xbf];

const TARGET: usize = 1;
const NAME: usize = 2;
const GUID: usize = 3;
const INCLUSION: usize = 4;
const VALUE: usize = 6;
const COLUMNS: usize = 7;

/// A hint that several of these errors share.
const EXPORT_AGAIN: &str = "mend the line, or export the file anew with `auditpol /backup` on a booted Windows";

/// Why a file is no `audit.csv`, or cannot be edited.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The first line has not the columns.
    #[error("the first line is not that of an audit.csv")]
    #[failure(refused, "E-AUDIT-CSV-HEADER", hint = EXPORT_AGAIN)]
    Header,
    /// A line is not understood.
    #[error("line {line} of the audit.csv lacks {expected}")]
    #[failure(refused, "E-AUDIT-CSV-ROW", hint = EXPORT_AGAIN)]
    Row {
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// Two rows say different things of one subcategory.
    #[error("lines {first} and {second} of the audit.csv contradict each other")]
    #[failure(refused, "E-AUDIT-CSV-CONTRADICTION", hint = EXPORT_AGAIN)]
    Contradiction {
        /// The first line, from 1.
        first: usize,
        /// The second line.
        second: usize,
    },
}

/// What is audited of a subcategory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Audited {
    /// What succeeds.
    pub success: bool,
    /// What fails.
    pub failure: bool,
}

impl Audited {
    fn from_number(number: u32) -> Option<Option<Self>> {
        let audited = |success, failure| Some(Some(Self { success, failure }));
        match number {
            0 => Some(None),
            1 => audited(true, false),
            2 => audited(false, true),
            3 => audited(true, true),
            4 => audited(false, false),
            _ => None,
        }
    }

    fn number(self) -> u32 {
        match (self.success, self.failure) {
            (true, false) => 1,
            (false, true) => 2,
            (true, true) => 3,
            (false, false) => 4,
        }
    }

    fn words(self) -> &'static str {
        match (self.success, self.failure) {
            (true, false) => "Success",
            (false, true) => "Failure",
            (true, true) => "Success and Failure",
            (false, false) => "No Auditing",
        }
    }
}

/// The subcategories: the byte that tells their GUIDs apart (`0CCE92xx-69AE-11D9-BED3-505054503030`), and the English
/// names that auditpol prints.
const SUBCATEGORIES: [(u8, &str); 60] = [
    (0x10, "Security State Change"),
    (0x11, "Security System Extension"),
    (0x12, "System Integrity"),
    (0x13, "IPsec Driver"),
    (0x14, "Other System Events"),
    (0x15, "Logon"),
    (0x16, "Logoff"),
    (0x17, "Account Lockout"),
    (0x18, "IPsec Main Mode"),
    (0x19, "IPsec Quick Mode"),
    (0x1a, "IPsec Extended Mode"),
    (0x1b, "Special Logon"),
    (0x1c, "Other Logon/Logoff Events"),
    (0x1d, "File System"),
    (0x1e, "Registry"),
    (0x1f, "Kernel Object"),
    (0x20, "SAM"),
    (0x21, "Certification Services"),
    (0x22, "Application Generated"),
    (0x23, "Handle Manipulation"),
    (0x24, "File Share"),
    (0x25, "Filtering Platform Packet Drop"),
    (0x26, "Filtering Platform Connection"),
    (0x27, "Other Object Access Events"),
    (0x28, "Sensitive Privilege Use"),
    (0x29, "Non Sensitive Privilege Use"),
    (0x2a, "Other Privilege Use Events"),
    (0x2b, "Process Creation"),
    (0x2c, "Process Termination"),
    (0x2d, "DPAPI Activity"),
    (0x2e, "RPC Events"),
    (0x2f, "Audit Policy Change"),
    (0x30, "Authentication Policy Change"),
    (0x31, "Authorization Policy Change"),
    (0x32, "MPSSVC Rule-Level Policy Change"),
    (0x33, "Filtering Platform Policy Change"),
    (0x34, "Other Policy Change Events"),
    (0x35, "User Account Management"),
    (0x36, "Computer Account Management"),
    (0x37, "Security Group Management"),
    (0x38, "Distribution Group Management"),
    (0x39, "Application Group Management"),
    (0x3a, "Other Account Management Events"),
    (0x3b, "Directory Service Access"),
    (0x3c, "Directory Service Changes"),
    (0x3d, "Directory Service Replication"),
    (0x3e, "Detailed Directory Service Replication"),
    (0x3f, "Credential Validation"),
    (0x40, "Kerberos Service Ticket Operations"),
    (0x41, "Other Account Logon Events"),
    (0x42, "Kerberos Authentication Service"),
    (0x43, "Network Policy Server"),
    (0x44, "Detailed File Share"),
    (0x45, "Removable Storage"),
    (0x46, "Central Policy Staging"),
    (0x47, "User / Device Claims"),
    (0x48, "Plug and Play Events"),
    (0x49, "Group Membership"),
    (0x4a, "Token Right Adjusted Events"),
    (0x4b, "Access Rights"),
];

/// A subcategory of the audit policy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Subcategory(u8);

impl Subcategory {
    /// Returns the subcategory with the English name that auditpol prints, in any case of letters.
    pub fn from_name(name: &str) -> Option<Self> {
        SUBCATEGORIES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(byte, _)| Self(*byte))
    }

    /// Returns the subcategory with a GUID, if it is a known one.
    pub fn from_guid(guid: Guid) -> Option<Self> {
        SUBCATEGORIES.iter().map(|(byte, _)| Self(*byte)).find(|known| known.guid() == guid)
    }

    /// Returns its GUID.
    pub fn guid(self) -> Guid {
        let last = [0xbe, 0xd3, 0x50, 0x50, 0x54, 0x50, 0x30, 0x30];
        Guid::new(0x0cce_9200 | u32::from(self.0), 0x69ae, 0x11d9, last)
    }

    /// Returns the English name that auditpol prints.
    pub fn name(self) -> &'static str {
        SUBCATEGORIES.iter().find(|(byte, _)| *byte == self.0).map_or("", |(_, name)| *name)
    }
}

/// A row for the target `System` that sets what is audited.
struct Row {
    guid: Guid,
    /// `None`: the row leaves the subcategory alone.
    audited: Option<Audited>,
}

/// An `audit.csv` file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditCsv {
    /// Each line with its end, as it was read.
    lines: Vec<Vec<u8>>,
}

impl Default for AuditCsv {
    /// Returns a file of the header alone.
    fn default() -> Self {
        Self { lines: vec![format!("{HEADER}\r\n").into_bytes()] }
    }
}

impl AuditCsv {
    /// Reads a file, of one byte a character or UTF-8.
    ///
    /// # Errors
    /// [`Error::Header`]. Rows are looked at when they are asked for.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let first = lines.first().map(|line| body(line.strip_prefix(MARK).unwrap_or(line))).unwrap_or_default();
        match first.trim_ascii_end().eq_ignore_ascii_case(HEADER.as_bytes()) {
            true => Ok(Self { lines }),
            false => Err(Error::Header),
        }
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// Returns every subcategory that the file sets for the system, in its order, with what is audited.
    ///
    /// # Errors
    /// [`Error::Row`].
    pub fn settings(&self) -> Result<Vec<(Guid, Audited)>, Error> {
        let rows = self.rows()?;
        Ok(rows.into_iter().filter_map(|(_, row)| Some((row.guid, row.audited?))).collect())
    }

    /// Returns the subcategories of rows whose setting is 0, which leaves them as they are (MS-GPAC 2.2.1.2), each with the
    /// number of its line from 1.
    ///
    /// # Errors
    /// [`Error::Row`].
    pub fn unset(&self) -> Result<Vec<(usize, Guid)>, Error> {
        let rows = self.rows()?.into_iter().filter(|(_, row)| row.audited.is_none());
        Ok(rows.map(|(index, row)| (index.saturating_add(1), row.guid)).collect())
    }

    /// Returns every line that is no such row and not blank, with its number from 1: options, and what is audited of one
    /// user.
    ///
    /// # Errors
    /// [`Error::Row`].
    pub fn others(&self) -> Result<Vec<(usize, String)>, Error> {
        let rows: BTreeSet<usize> = self.rows()?.into_iter().map(|(index, _)| index).collect();
        let others = self
            .lines
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(index, line)| !rows.contains(index) && !line.trim_ascii().is_empty());
        Ok(others
            .map(|(index, line)| (index.saturating_add(1), String::from_utf8_lossy(body(line)).into_owned()))
            .collect())
    }

    /// Returns what the file sets for a subcategory; `None` if it leaves it alone.
    ///
    /// # Errors
    /// [`Error::Row`], [`Error::Contradiction`].
    pub fn audited(&self, of: Subcategory) -> Result<Option<Audited>, Error> {
        let mut found: Option<(usize, Option<Audited>)> = None;
        for (index, row) in self.rows()?.into_iter().filter(|(_, row)| row.guid == of.guid()) {
            match found {
                Some((first, audited)) if audited != row.audited => {
                    return Err(Error::Contradiction {
                        first: first.saturating_add(1),
                        second: index.saturating_add(1),
                    });
                }
                _ => found = Some((index, row.audited)),
            }
        }
        Ok(found.and_then(|(_, audited)| audited))
    }

    /// Makes the file set a subcategory, or with `None` removes the rows for it; returns whether it was changed.
    ///
    /// A row that is there is changed where it stands, another is appended; rows for other targets and subcategories
    /// stay.
    ///
    /// # Errors
    /// [`Error::Row`]; nothing is changed then.
    pub fn set(&mut self, subcategory: Subcategory, to: Option<Audited>) -> Result<bool, Error> {
        let rows: Vec<_> = self.rows()?.into_iter().filter(|(_, row)| row.guid == subcategory.guid()).collect();
        let Some(to) = to else {
            let mut index = 0..self.lines.len();
            self.lines.retain(|_| {
                let index = index.next();
                !rows.iter().any(|(row, _)| Some(*row) == index)
            });
            return Ok(!rows.is_empty());
        };
        let mut is_changed = false;
        for (index, row) in &rows {
            if row.audited != Some(to)
                && let Some(line) = self.lines.get_mut(*index)
            {
                *line = edited(line, to);
                is_changed = true;
            }
        }
        if rows.is_empty() {
            if let Some(last) = self.lines.last_mut().filter(|line| !line.ends_with(b"\n")) {
                last.extend_from_slice(b"\r\n");
            }
            let end = if self.lines.first().is_some_and(|line| line.ends_with(b"\r\n")) { "\r\n" } else { "\n" };
            let (name, guid) = (written_name(subcategory), subcategory.guid());
            let row = format!(",System,{name},{{{guid}}},{},,{}{end}", to.words(), to.number());
            self.lines.push(row.into_bytes());
            is_changed = true;
        }
        Ok(is_changed)
    }

    /// Returns the rows for the target `System` that have a GUID, each with the number of its line from 0.
    fn rows(&self) -> Result<Vec<(usize, Row)>, Error> {
        let mut rows = Vec::new();
        for (index, line) in self.lines.iter().enumerate().skip(1) {
            let line = body(line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |expected| Error::Row { line: index.saturating_add(1), expected };
            let fields = fields(line).ok_or(wrong("a quotation mark behind a field"))?;
            let field = |column: usize| fields.get(column).map(|field| plain(field)).unwrap_or_default();
            if fields.len() < COLUMNS {
                return Err(wrong("some of the seven columns"));
            }
            if !field(TARGET).eq_ignore_ascii_case("System") || field(GUID).is_empty() {
                continue;
            }
            // An option carries its name where a subcategory has its own, and no setting of the audit policy.
            if field(NAME).get(..7).is_some_and(|name| name.eq_ignore_ascii_case("Option:")) {
                continue;
            }
            let guid = guid(&field(GUID)).ok_or(wrong("a GUID between braces"))?;
            let number = field(VALUE).parse().ok().and_then(Audited::from_number);
            rows.push((index, Row { guid, audited: number.ok_or(wrong("a setting from 0 to 4"))? }));
        }
        Ok(rows)
    }
}

/// Returns a line without its end.
fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Cuts a line at the commas outside quotation marks; `None` if a quotation mark has no partner.
fn fields(line: &[u8]) -> Option<Vec<&[u8]>> {
    let mut is_quoted = false;
    let fields = line.split(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    });
    let fields = fields.collect();
    (!is_quoted).then_some(fields)
}

/// Returns the text of a field.
fn plain(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field.trim_ascii());
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.map_or_else(|| text.clone().into_owned(), |inner| inner.replace("\"\"", "\""))
}

/// Returns a line with another setting.
fn edited(line: &[u8], to: Audited) -> Vec<u8> {
    let end = line.get(body(line).len()..).unwrap_or_default();
    let mut fields = fields(body(line)).unwrap_or_default();
    let number = to.number().to_string();
    for (column, text) in [(INCLUSION, to.words()), (VALUE, number.as_str())] {
        if let Some(field) = fields.get_mut(column) {
            *field = text.as_bytes();
        }
    }
    let mut line = fields.join(&b',');
    line.extend_from_slice(end);
    line
}

/// Returns the name as the group policy editor writes it.
fn written_name(subcategory: Subcategory) -> String {
    match subcategory.name() {
        "Plug and Play Events" => "Audit PNP Activity".to_owned(),
        name => format!("Audit {name}"),
    }
}

/// Parses a GUID between braces.
fn guid(text: &str) -> Option<Guid> {
    Guid::from_text(text.strip_prefix('{')?.strip_suffix('}')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Audited = Audited { success: true, failure: true };
    const NONE: Audited = Audited { success: false, failure: false };

    fn file(rows: &str) -> AuditCsv {
        AuditCsv::parse(format!("{HEADER}\r\n{rows}").as_bytes()).unwrap()
    }

    fn named(name: &str) -> Subcategory {
        Subcategory::from_name(name).unwrap()
    }

    const LOGON: &str = ",System,Audit Logon,{0cce9215-69ae-11d9-bed3-505054503030},Success,,1\r\n";
    const OTHERS: &str = "PC,S-1-5-32-544,Logon,{0cce9215-69ae-11d9-bed3-505054503030},,Success,4\r\n\
                          PC,,Option:CrashOnAuditFail,,Disabled,,0\r\n\
                          PC,,FileGlobalSacl,,,,S:(AU;SA;GA;;;WD)\r\n\r\n";

    #[test]
    fn every_subcategory_has_a_name_and_a_guid_of_its_own() {
        for (byte, name) in SUBCATEGORIES {
            assert_eq!(Subcategory::from_name(&name.to_uppercase()), Some(Subcategory(byte)));
            assert_eq!(Subcategory::from_guid(Subcategory(byte).guid()), Some(Subcategory(byte)));
        }
        assert_eq!(named("Credential Validation").guid().to_string(), "0cce923f-69ae-11d9-bed3-505054503030");
        assert_eq!(Subcategory::from_name("Credential"), None);
    }

    #[test]
    fn a_setting_is_changed_in_its_row_and_no_other_row_is_touched() {
        let mut csv = file(&format!("{OTHERS}{LOGON}"));
        let audited = Audited { success: true, failure: false };
        assert_eq!(csv.audited(named("Logon")), Ok(Some(audited)));
        assert_eq!(csv.set(named("Logon"), Some(BOTH)), Ok(true));
        let logon = ",System,Audit Logon,{0cce9215-69ae-11d9-bed3-505054503030},Success and Failure,,3\r\n";
        assert_eq!(csv.to_bytes(), format!("{HEADER}\r\n{OTHERS}{logon}").into_bytes());
        assert_eq!(csv.set(named("Logon"), Some(BOTH)), Ok(false));
        assert_eq!(csv.set(named("Plug and Play Events"), Some(NONE)), Ok(true));
        let events = ",System,Audit PNP Activity,{0cce9248-69ae-11d9-bed3-505054503030},No Auditing,,4\r\n";
        assert_eq!(csv.to_bytes(), format!("{HEADER}\r\n{OTHERS}{logon}{events}").into_bytes());
        assert_eq!(csv.audited(named("Plug and Play Events")), Ok(Some(NONE)));
        assert_eq!((csv.set(named("Logon"), None), csv.set(named("Logon"), None)), (Ok(true), Ok(false)));
        assert_eq!(csv.to_bytes(), format!("{HEADER}\r\n{OTHERS}{events}").into_bytes());
    }

    #[test]
    fn a_file_without_an_end_of_line_gets_one_before_a_row() {
        let mut csv = AuditCsv::parse(HEADER.as_bytes()).unwrap();
        assert_eq!(csv.set(named("Logon"), Some(Audited { success: true, failure: false })), Ok(true));
        assert_eq!(csv.to_bytes(), format!("{HEADER}\r\n{LOGON}").into_bytes());
        assert_eq!(AuditCsv::default().to_bytes(), format!("{HEADER}\r\n").into_bytes());
    }

    #[test]
    fn quoted_fields_and_value_0_are_understood() {
        let quoted = "\"PC, one\",System,\"Audit, Logon\",{0CCE9215-69AE-11D9-BED3-505054503030},x,,0\n";
        let mut csv = file(quoted);
        assert_eq!(csv.audited(named("Logon")), Ok(None));
        assert_eq!(csv.set(named("Logon"), Some(NONE)), Ok(true));
        assert!(
            csv.to_bytes().ends_with(
                b"\"PC, one\",System,\"Audit, Logon\",{0CCE9215-69AE-11D9-BED3-505054503030},No Auditing,,4\n"
            )
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_nothing_is_edited() {
        for (row, line) in [
            (",System,Audit Logon,{0cce9215-69ae-11d9-bed3-505054503030},Success,,5\r\n", 2),
            (",System,Audit Logon,{0cce9215-69ae-11d9-bed3-505054503030},Success,,\r\n", 2),
            ("\r\n,System,Audit Logon,0cce9215,Success,,1\r\n", 3),
            (",System,Audit Logon\r\n", 2),
            (",System,\"Audit Logon,{0cce9215-69ae-11d9-bed3-505054503030},Success,,1\r\n", 2),
        ] {
            let mut csv = file(row);
            let before = csv.to_bytes();
            let Err(Error::Row { line: told, .. }) = csv.set(named("Logoff"), Some(BOTH)) else { panic!("{row}") };
            assert_eq!((told, csv.to_bytes()), (line, before));
        }
        let twice = file(&format!("{LOGON}{}", LOGON.replace(",1\r", ",2\r")));
        assert_eq!(twice.audited(named("Logon")), Err(Error::Contradiction { first: 2, second: 3 }));
        for bytes in [&b""[..], b"Machine Name\r\n", &[0xff, 0xfe, b'M', 0]] {
            assert_eq!(AuditCsv::parse(bytes), Err(Error::Header));
        }
    }
}
