//! `GptTmpl.inf`: the security settings of a group policy object (MS-GPSB 2.2), and any template of the same form.
//!
//! Sections of lines: `name = value` for the system, its audit and Kerberos; `MACHINE\key\name=type,data` for registry
//! values; `right = *SID,*SID`; `"path",mode,"SDDL"` for services, keys and files. UTF-16LE as Windows writes it, or one
//! byte a character. Nothing is edited here; [`SecurityTemplate::to_bytes`] returns what was read.

use thiserror::Error;

use coldforge_base::sid::Sid;
use coldforge_base::utf16;
use coldforge_base::{Failure, hex};

/// A hint that several of these errors share.
const EXPORT_AGAIN: &str = "mend the line, or export the template anew with `secedit /export` on a booted Windows";

/// Why a file is no security template.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no text.
    #[error("the security template is no text")]
    #[failure(refused, "E-TEMPLATE-ENCODING", hint = EXPORT_AGAIN)]
    Encoding,
    /// A line is not understood.
    #[error("line {line} of the security template lacks {expected}")]
    #[failure(refused, "E-TEMPLATE-LINE", hint = EXPORT_AGAIN)]
    Line {
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
}

/// How the characters are stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    /// UTF-16LE behind a byte order mark.
    Utf16,
    /// UTF-8, perhaps behind a mark, which is part of the text.
    Utf8,
    /// One byte a character; those above 127 are kept, whatever they mean.
    Bytes,
}

/// A line that says something.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Line {
    section: String,
    text: String,
    /// From 1.
    number: usize,
}

/// A security template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecurityTemplate {
    encoding: Encoding,
    text: String,
    lines: Vec<Line>,
}

/// A setting of the form `name = value`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// The name, such as `MinimumPasswordLength`.
    pub name: String,
    /// The value, without quotation marks.
    pub value: String,
    /// The line, from 1.
    pub line: usize,
}

/// A registry value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistryValue {
    /// The key with its hive, such as `HKLM\System\CurrentControlSet\Control\Lsa`.
    pub key: String,
    /// The value's name.
    pub name: String,
    /// The type, by its number.
    pub kind: u32,
    /// The data as the registry stores it.
    pub data: Vec<u8>,
    /// The line, from 1.
    pub line: usize,
}

/// Whom a right is given to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Principal {
    /// By SID.
    Sid(Sid),
    /// By a name, which only the machine or its domain can turn into a SID.
    Name(String),
}

/// A right, and who has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Right {
    /// The right, such as `SeDebugPrivilege`.
    pub right: String,
    /// Who has it, perhaps nobody.
    pub holders: Vec<Principal>,
    /// The line, from 1.
    pub line: usize,
}

/// A service, key or file with a number and a security descriptor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// The service, the key or the path.
    pub name: String,
    /// How a service starts; for keys and files, how the descriptor spreads (0 inherit, 1 ignore, 2 replace).
    pub mode: u32,
    /// The security descriptor as SDDL; empty for none.
    pub sddl: String,
    /// The line, from 1.
    pub line: usize,
}

impl SecurityTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Error::Encoding`]; [`Error::Line`] for a line before the first section, or a section without its bracket.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (encoding, text) = match bytes {
            [0xff, 0xfe, rest @ ..] => {
                let text = String::from_utf16(&utf16::units(rest)).map_err(|_| Error::Encoding)?;
                (Encoding::Utf16, if rest.len() % 2 == 0 { text } else { return Err(Error::Encoding) })
            }
            [0xfe, 0xff, ..] => return Err(Error::Encoding),
            _ => match std::str::from_utf8(bytes) {
                Ok(text) => (Encoding::Utf8, text.to_owned()),
                Err(_) => (Encoding::Bytes, bytes.iter().map(|byte| char::from(*byte)).collect()),
            },
        };
        if text.contains('\0') {
            return Err(Error::Encoding);
        }
        let (mut lines, mut section) = (Vec::new(), None);
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let number = index.saturating_add(1);
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                let name = name.strip_suffix(']').ok_or(Error::Line { line: number, expected: "`]` at its end" })?;
                section = Some(name.trim().to_owned());
                continue;
            }
            let section = section.clone().ok_or(Error::Line { line: number, expected: "a section before it" })?;
            lines.push(Line { section, text: line.to_owned(), number });
        }
        Ok(Self { encoding, text, lines })
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.encoding {
            Encoding::Utf16 => [vec![0xff, 0xfe], utf16::encode(&self.text)].concat(),
            Encoding::Utf8 => self.text.clone().into_bytes(),
            // Each character was made of one byte.
            Encoding::Bytes => self.text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
        }
    }

    /// Returns the names of the sections that hold a line, in their order, each once.
    pub fn sections(&self) -> Vec<&str> {
        let mut sections: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !sections.iter().any(|known| known.eq_ignore_ascii_case(&line.section)) {
                sections.push(&line.section);
            }
        }
        sections
    }

    /// Returns the settings of password, lockout and accounts: `[System Access]`.
    ///
    /// # Errors
    /// [`Error::Line`], as the others.
    pub fn system_access(&self) -> Result<Vec<Named>, Error> {
        self.named("System Access")
    }

    /// Returns the audit policy by categories: `[Event Audit]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn event_audit(&self) -> Result<Vec<Named>, Error> {
        self.named("Event Audit")
    }

    /// Returns the Kerberos policy of a domain: `[Kerberos Policy]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn kerberos_policy(&self) -> Result<Vec<Named>, Error> {
        self.named("Kerberos Policy")
    }

    /// Returns who shall be in a group, and which groups a group shall be in: `[Group Membership]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn group_membership(&self) -> Result<Vec<Named>, Error> {
        self.named("Group Membership")
    }

    /// Returns `[Registry Values]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn registry_values(&self) -> Result<Vec<RegistryValue>, Error> {
        self.section("Registry Values").map(registry_value).collect()
    }

    /// Returns who has which right: `[Privilege Rights]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn privilege_rights(&self) -> Result<Vec<Right>, Error> {
        self.named("Privilege Rights")?.into_iter().map(right).collect()
    }

    /// Returns how services start: `[Service General Setting]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn services(&self) -> Result<Vec<Object>, Error> {
        self.section("Service General Setting").map(object).collect()
    }

    /// Returns the security of keys: `[Registry Keys]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn registry_keys(&self) -> Result<Vec<Object>, Error> {
        self.section("Registry Keys").map(object).collect()
    }

    /// Returns the security of files: `[File Security]`.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn file_security(&self) -> Result<Vec<Object>, Error> {
        self.section("File Security").map(object).collect()
    }

    fn section(&self, name: &'static str) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.section.eq_ignore_ascii_case(name))
    }

    fn named(&self, section: &'static str) -> Result<Vec<Named>, Error> {
        let named = |line: &Line| {
            let (name, value) =
                line.text.split_once('=').ok_or(Error::Line { line: line.number, expected: "`=` behind a name" })?;
            let value = value.trim();
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            Ok(Named { name: name.trim().to_owned(), value: inner.to_owned(), line: line.number })
        };
        self.section(section).map(named).collect()
    }
}

/// The roots of keys in a template, and what they stand for.
const ROOTS: [(&str, &str); 4] =
    [("MACHINE", "HKLM"), ("USERS", "HKU"), ("CURRENT_USER", "HKCU"), ("CLASSES_ROOT", "HKCR")];

fn registry_value(line: &Line) -> Result<RegistryValue, Error> {
    let wrong = |expected| Error::Line { line: line.number, expected };
    let (path, value) = line.text.split_once('=').ok_or(wrong("`=` behind a value's name"))?;
    let (key, name) = path.trim().rsplit_once('\\').ok_or(wrong("a key before the value's name"))?;
    let (root, below) = key.split_once('\\').ok_or(wrong("a key below its root"))?;
    let known = ROOTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(root.trim_matches('"')));
    let (_, root) = known.ok_or(wrong("a root that is known, such as MACHINE"))?;
    let (kind, text) = value.split_once(',').ok_or(wrong("`,` behind the type"))?;
    let kind = kind.trim().parse().map_err(|_| wrong("the number of a type"))?;
    let text = text.trim();
    let data = match kind {
        1 | 2 => {
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
            utf16::encode_with_nul(inner)
        }
        3 => {
            let bytes = text.split(',').filter(|byte| !byte.trim().is_empty());
            let bytes = bytes.map(|byte| u8::try_from(hex::number(byte.trim())?).ok()).collect::<Option<Vec<u8>>>();
            bytes.ok_or(wrong("bytes of hex digits"))?
        }
        4 => text.parse::<u32>().map_err(|_| wrong("a decimal number of 32 bits"))?.to_le_bytes().to_vec(),
        7 => strings(text).ok_or(wrong("strings without quotation marks inside"))?,
        _ => return Err(wrong("a type that templates have: 1, 2, 3, 4 or 7")),
    };
    Ok(RegistryValue { key: format!(r"{root}\{below}"), name: name.to_owned(), kind, data, line: line.number })
}

/// Returns the data of a list of strings; `None` where quotation marks make their ends uncertain.
///
/// A comma between quotation marks, `","`, is a comma of a string: so secedit and the policy editor write it.
fn strings(text: &str) -> Option<Vec<u8>> {
    /// Stands for such a comma while the list is cut; no template holds this character.
    const COMMA: char = '\0';
    let mut data = Vec::new();
    let text = text.replace("\",\"", &COMMA.to_string());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let inner = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
        // `"a","b"` could be two strings in quotation marks as well as one with a comma.
        if inner.unwrap_or(part).contains('"') || inner.is_some_and(|inner| inner.contains(COMMA)) {
            return None;
        }
        data.extend(utf16::encode_with_nul(&inner.unwrap_or(part).replace(COMMA, ",")));
    }
    data.extend([0, 0]);
    Some(data)
}

fn right(named: Named) -> Result<Right, Error> {
    let Named { name, value, line } = named;
    let holders = value.split(',').map(str::trim).filter(|holder| !holder.is_empty());
    let holders = holders.map(|holder| match holder.strip_prefix('*') {
        Some(sid) => {
            let sid = sid.parse().map_err(|_| Error::Line { line, expected: "a SID behind `*`" })?;
            Ok(Principal::Sid(sid))
        }
        None => Ok(Principal::Name(holder.to_owned())),
    });
    Ok(Right { holders: holders.collect::<Result<_, _>>()?, right: name, line })
}

/// Reads `"name",mode,"SDDL"`, of which services in old templates have no quotation marks.
fn object(line: &Line) -> Result<Object, Error> {
    let wrong = |expected| Error::Line { line: line.number, expected };
    let (name, rest) = match line.text.strip_prefix('"') {
        Some(quoted) => {
            let (name, rest) = quoted.split_once('"').ok_or(wrong("`\"` behind a name"))?;
            (name, rest.trim_start().strip_prefix(',').ok_or(wrong("`,` behind a name"))?)
        }
        None => line.text.split_once(',').ok_or(wrong("`,` behind a name"))?,
    };
    let (mode, sddl) = rest.split_once(',').unwrap_or((rest, ""));
    let sddl = sddl.trim();
    Ok(Object {
        name: name.trim().to_owned(),
        mode: mode.trim().parse().map_err(|_| wrong("a number behind a name"))?,
        sddl: sddl.strip_prefix('"').and_then(|sddl| sddl.strip_suffix('"')).unwrap_or(sddl).to_owned(),
        line: line.number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[Unicode]\r\nUnicode=yes\r\n[System Access]\r\nMinimumPasswordAge = 1\r\n\
        NewGuestName = \"Visitor\"\r\n; a word\r\n[Registry Values]\r\n\
        MACHINE\\System\\CurrentControlSet\\Control\\Lsa\\LmCompatibilityLevel=4,5\r\n\
        MACHINE\\Software\\A B\\Name=1,\"x=\"\"y, z\"\r\nMACHINE\\S\\M=7,one,two\r\nMACHINE\\S\\N=7,\r\n\
        MACHINE\\S\\B=3,0,ff,1a\r\n[Privilege Rights]\r\nSeTcbPrivilege =\r\n\
        SeNetworkLogonRight = *S-1-5-11,*S-1-5-32-544,Backup Men\r\n[Service General Setting]\r\n\
        \"Spooler\",4,\"D:(A;;RC;;;BA)\"\r\nOld,2,\r\n[File Security]\r\n\"%SystemRoot%\\a,b\",2,\"D:P\"\r\n\
        [version]\r\nsignature=\"$CHICAGO$\"\r\n";

    fn wide(text: &str) -> Vec<u8> {
        utf16::encode(&format!("\u{feff}{text}"))
    }

    #[test]
    fn a_comma_between_quotation_marks_belongs_to_its_string() {
        let data = |list: &str| {
            let text = format!("[Registry Values]\r\nMACHINE\\S\\N=7,{list}\r\n");
            SecurityTemplate::parse(text.as_bytes()).unwrap().registry_values().map(|values| values[0].data.clone())
        };
        for (list, expected) in [
            ("You agree\",\" that is,second", "You agree, that is\0second\0\0"),
            ("one\",\"two\",\"three", "one,two,three\0\0"),
            ("a\",\",b", "a,\0b\0\0"),
            ("\"one\",two", "one\0two\0\0"),
        ] {
            assert_eq!(data(list).unwrap(), utf16::encode(expected), "{list}");
        }
        assert!(data("\"one\",\"two\"").is_err(), "two strings, or one with a comma");
    }

    #[test]
    fn every_section_is_read() {
        let template = SecurityTemplate::parse(&wide(TEXT)).unwrap();
        assert_eq!(template.to_bytes(), wide(TEXT));
        let named = |name: &str, value: &str, line| Named { name: name.into(), value: value.into(), line };
        let access = [named("MinimumPasswordAge", "1", 4), named("NewGuestName", "Visitor", 5)];
        assert_eq!(template.system_access().unwrap(), access);
        let values = template.registry_values().unwrap();
        let told: Vec<_> = values.iter().map(|value| (value.key.as_str(), value.name.as_str(), value.kind)).collect();
        assert_eq!(
            told[..2],
            [
                (r"HKLM\System\CurrentControlSet\Control\Lsa", "LmCompatibilityLevel", 4),
                (r"HKLM\Software\A B", "Name", 1)
            ]
        );
        assert_eq!(values[0].data, [5, 0, 0, 0]);
        assert_eq!(values[1].data, utf16::encode_with_nul("x=\"\"y, z"));
        assert_eq!(values[2].data, utf16::encode("one\0two\0\0"));
        assert_eq!((values[3].data.as_slice(), values[4].data.as_slice()), (&[0, 0][..], &[0, 0xff, 0x1a][..]));
        let rights = template.privilege_rights().unwrap();
        assert_eq!((rights[0].right.as_str(), rights[0].holders.len()), ("SeTcbPrivilege", 0));
        let sid = |parts: &[u32]| Principal::Sid(Sid::new(5, parts));
        assert_eq!(rights[1].holders, [sid(&[11]), sid(&[32, 544]), Principal::Name("Backup Men".into())]);
        let services = template.services().unwrap();
        let told: Vec<_> = services.iter().map(|s| (s.name.as_str(), s.mode, s.sddl.as_str())).collect();
        assert_eq!(told, [("Spooler", 4, "D:(A;;RC;;;BA)"), ("Old", 2, "")]);
        assert_eq!(template.file_security().unwrap()[0].name, r"%SystemRoot%\a,b");
        assert!(template.registry_keys().unwrap().is_empty() && template.event_audit().unwrap().is_empty());
        assert_eq!(template.sections().len(), 7);
    }

    #[test]
    fn each_encoding_is_written_as_it_was_read() {
        let latin = b"[System Access]\r\nNewGuestName = \"G\xe4ste\"\r\n";
        for bytes in [TEXT.as_bytes(), "\u{feff}[A]\nä=1".as_bytes(), &wide("[A]\nä=1"), latin, b""] {
            assert_eq!(SecurityTemplate::parse(bytes).unwrap().to_bytes(), bytes);
        }
        for bytes in [&[0xff, 0xfe, 0][..], &[0xfe, 0xff, 0, 0x5b], &[0xff, 0xfe, 0, 0xd8], b"[A]\0"] {
            assert_eq!(SecurityTemplate::parse(bytes), Err(Error::Encoding));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let first = |text: &str| -> Result<(), Error> {
            let template = SecurityTemplate::parse(text.as_bytes())?;
            template.system_access()?;
            template.registry_values()?;
            template.privilege_rights()?;
            template.services()?;
            Ok(())
        };
        for (text, at) in [
            ("a=1", 1),
            ("[A", 1),
            ("[System Access]\nx", 2),
            ("[Registry Values]\n\nMACHINE\\a=4,x", 3),
            ("[Registry Values]\nMACHINE\\a\\b=4,4294967296", 2),
            ("[Registry Values]\nMACHINE\\a\\b=4", 2),
            ("[Registry Values]\nHKLM\\a\\b=4,1", 2),
            ("[Registry Values]\nMACHINE\\a\\b=3,1ff", 2),
            ("[Registry Values]\nMACHINE\\a\\b=7,a\"b", 2),
            ("[Registry Values]\nMACHINE\\a\\b=7,\"a\",\"b\"", 2),
            ("[Registry Values]\nMACHINE\\a\\b=7,a\",\"b\"", 2),
            ("[Registry Values]\nMACHINE\\a\\b=11,1", 2),
            ("[Privilege Rights]\nSeDebugPrivilege=*Administrators", 2),
            ("[Service General Setting]\n\"a,4,", 2),
            ("[Service General Setting]\n\"a\",x,", 2),
        ] {
            match first(text) {
                Err(Error::Line { line, .. }) => assert_eq!(line, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
