//! `gpt.ini`: the version of a group policy object, and which extensions of the client work on it (MS-GPOL 2.2.4).
//!
//! `[General]` holds `Version`, the count of changes to the machine's half in its low 16 bits and to the user's half
//! above, and for each half a list of `[{extension}{tool}..]`. The lists must ascend by extension, one pair of brackets
//! each: Windows stops at a list that does not. Every other line is kept as it is.

use thiserror::Error;

use crate::windows::setting::PolicyScope;
use coldforge_base::Failure;
use coldforge_base::guid::Guid;

const VERSION: &str = "Version";

/// A hint that several of these errors share.
const WRITE_AGAIN: &str = "mend the line, or let the group policy editor of a booted Windows write the policy anew";

/// Why a file is no `gpt.ini` that can be edited.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no text of one byte a character.
    #[error("the gpt.ini is not text with one byte a character")]
    #[failure(refused, "E-GPT-INI", hint = WRITE_AGAIN)]
    Encoding,
    /// A line is not understood, or says again what another one said.
    #[error("line {line} of the gpt.ini is not a {expected}")]
    #[failure(refused, "E-GPT-INI", hint = WRITE_AGAIN)]
    Line {
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
}

/// An extension of the group policy client, with the tool that edits its part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extension {
    /// A client-side extension with its tools.
    pub extension: Guid,
    /// What edits it.
    pub tool: Guid,
}

/// Registry.pol, for the half of the machine.
pub const REGISTRY_MACHINE: Extension = Extension {
    extension: REGISTRY,
    tool: Guid::new(0xd02b_1f72, 0x3407, 0x48ae, [0xba, 0x88, 0xe8, 0x21, 0x3c, 0x67, 0x61, 0xf1]),
};
/// Registry.pol, for the half of the user.
pub const REGISTRY_USER: Extension = Extension {
    extension: REGISTRY,
    tool: Guid::new(0xd02b_1f73, 0x3407, 0x48ae, [0xba, 0x88, 0xe8, 0x21, 0x3c, 0x67, 0x61, 0xf1]),
};
/// audit.csv.
pub const AUDIT: Extension = Extension {
    extension: Guid::new(0xf3cc_c681, 0xb74c, 0x4060, [0x9f, 0x26, 0xcd, 0x84, 0x52, 0x5d, 0xca, 0x2a]),
    tool: Guid::new(0x0f3f_3735, 0x573d, 0x9804, [0x99, 0xe4, 0xab, 0x2a, 0x69, 0xba, 0x5f, 0xd4]),
};

const REGISTRY: Guid = Guid::new(0x3537_8eac, 0x683f, 0x11d2, [0xa8, 0x9a, 0x00, 0xc0, 0x4f, 0xbb, 0xcf, 0xa2]);

/// A `gpt.ini` file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GptIni {
    /// Each line with its end, as it was read.
    lines: Vec<Vec<u8>>,
}

impl Default for GptIni {
    fn default() -> Self {
        Self { lines: vec![b"[General]\r\n".to_vec()] }
    }
}

impl GptIni {
    /// Reads a file, and checks what may be edited in it.
    ///
    /// # Errors
    /// [`Error`](enum@Error).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.contains(&0) || bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(Error::Encoding);
        }
        let ini = Self { lines: bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
        ini.version()?;
        ini.extensions(PolicyScope::Machine)?;
        ini.extensions(PolicyScope::User)?;
        Ok(ini)
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// Returns the version; 0 if the file has none.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn version(&self) -> Result<u32, Error> {
        let Some((index, value)) = self.value(VERSION)? else { return Ok(0) };
        let wrong = Error::Line { line: index.saturating_add(1), expected: "version of 32 bits" };
        value.parse().map_err(|_| wrong)
    }

    /// Counts a change to each half that is named. A full counter wraps to 1: 0 means no policy.
    ///
    /// # Errors
    /// [`Error::Line`]; nothing is changed then.
    pub fn raise(&mut self, halves: &[PolicyScope]) -> Result<(), Error> {
        let version = self.version()?;
        let next = |count: u32, half| match halves.contains(&half) {
            true if count == 0xffff => 1,
            true => count.saturating_add(1),
            false => count,
        };
        let (user, machine) = (next(version >> 16, PolicyScope::User), next(version & 0xffff, PolicyScope::Machine));
        self.put(VERSION, &(user << 16 | machine).to_string())
    }

    /// Returns the extensions of a half, each with its tools, in the order of the file.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub fn extensions(&self, half: PolicyScope) -> Result<Vec<(Guid, Vec<Guid>)>, Error> {
        let Some((index, value)) = self.value(list_name(half))? else { return Ok(Vec::new()) };
        let wrong = Error::Line { line: index.saturating_add(1), expected: "list of extensions in brackets" };
        list(&value).ok_or(wrong)
    }

    /// Makes sure that an extension works on a half of the policy.
    ///
    /// # Errors
    /// [`Error::Line`]; nothing is changed then.
    pub fn enlist(&mut self, half: PolicyScope, new: Extension) -> Result<(), Error> {
        let mut list = self.extensions(half)?;
        match list.iter_mut().find(|(extension, _)| *extension == new.extension) {
            Some((_, tools)) if tools.contains(&new.tool) => return Ok(()),
            Some((_, tools)) => tools.push(new.tool),
            None => list.push((new.extension, vec![new.tool])),
        }
        list.sort_by_key(|(extension, _)| extension.to_string());
        let mut text = String::new();
        for (extension, mut tools) in list {
            tools.sort_by_key(Guid::to_string);
            let tools: String = tools.iter().map(|tool| format!("{{{tool}}}")).collect();
            text.push_str(&format!("[{{{extension}}}{tools}]").to_uppercase());
        }
        self.put(list_name(half), &text)
    }

    /// Returns a value of `[General]` with the number of its line, from 0.
    fn value(&self, name: &str) -> Result<Option<(usize, String)>, Error> {
        let mut found = None;
        for index in self.general()? {
            let line = self.lines.get(index).map(Vec::as_slice).unwrap_or_default();
            let Some((own, value)) = String::from_utf8_lossy(line).split_once('=').map(trimmed) else { continue };
            if own.eq_ignore_ascii_case(name) {
                if found.is_some() {
                    return Err(Error::Line { line: index.saturating_add(1), expected: "line that may be repeated" });
                }
                found = Some((index, value));
            }
        }
        Ok(found)
    }

    /// Returns the numbers of the lines of `[General]`, from 0; none if the file has no such section.
    fn general(&self) -> Result<std::ops::Range<usize>, Error> {
        let mut general: Option<std::ops::Range<usize>> = None;
        let mut is_open = false;
        for (index, line) in self.lines.iter().enumerate() {
            let line = line.trim_ascii();
            if line.starts_with(b"[") {
                is_open = line.eq_ignore_ascii_case(b"[General]");
                if is_open && general.is_some() {
                    return Err(Error::Line {
                        line: index.saturating_add(1),
                        expected: "section that may be repeated",
                    });
                }
                if is_open {
                    general = Some(index.saturating_add(1)..index.saturating_add(1));
                }
            } else if is_open
                && !line.is_empty()
                && let Some(range) = &mut general
            {
                range.end = index.saturating_add(1);
            }
        }
        Ok(general.unwrap_or(0..0))
    }

    fn put(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let found = self.value(name)?;
        let mut general = self.general()?;
        let end: &[u8] = match self.lines.first() {
            Some(line) if line.ends_with(b"\n") && !line.ends_with(b"\r\n") => b"\n",
            _ => b"\r\n",
        };
        if let Some((index, _)) = found {
            if let Some(line) = self.lines.get_mut(index) {
                let is_last = !line.ends_with(b"\n");
                *line = [name.as_bytes(), b"=", value.as_bytes(), if is_last { b"" } else { end }].concat();
            }
            return Ok(());
        }
        if let Some(last) = self.lines.last_mut().filter(|line| !line.ends_with(b"\n")) {
            last.extend_from_slice(end);
        }
        if general.end == 0 {
            self.lines.push([b"[General]", end].concat());
            general.end = self.lines.len();
        }
        self.lines.insert(general.end, [name.as_bytes(), b"=", value.as_bytes(), end].concat());
        Ok(())
    }
}

fn list_name(half: PolicyScope) -> &'static str {
    match half {
        PolicyScope::Machine => "gPCMachineExtensionNames",
        PolicyScope::User => "gPCUserExtensionNames",
    }
}

fn trimmed((name, value): (&str, &str)) -> (String, String) {
    (name.trim().to_owned(), value.trim().to_owned())
}

/// Parses `[{extension}{tool}..][..]`.
fn list(text: &str) -> Option<Vec<(Guid, Vec<Guid>)>> {
    let mut list = Vec::new();
    let mut rest = text;
    // Each turn takes a pair of brackets.
    while !rest.is_empty() {
        let (entry, next) = rest.strip_prefix('[')?.split_once(']')?;
        let guids = entry.strip_prefix('{')?.strip_suffix('}')?.split("}{");
        let mut guids = guids.map(Guid::from_text).collect::<Option<Vec<Guid>>>()?.into_iter();
        let extension = guids.next()?;
        if list.iter().any(|(known, _)| *known == extension) {
            return None;
        }
        list.push((extension, guids.collect()));
        rest = next;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PolicyScope::{Machine, User};

    const REGISTRY_LIST: &str = "[{35378EAC-683F-11D2-A89A-00C04FBBCFA2}{D02B1F72-3407-48AE-BA88-E8213C6761F1}]";
    const SECURITY_LIST: &str = "[{827D319E-6EAC-11D2-A4EA-00C04F79F83A}{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}]";
    const AUDIT_LIST: &str = "[{F3CCC681-B74C-4060-9F26-CD84525DCA2A}{0F3F3735-573D-9804-99E4-AB2A69BA5FD4}]";

    fn text(ini: &GptIni) -> String {
        String::from_utf8(ini.to_bytes()).unwrap()
    }

    #[test]
    fn a_new_file_gets_its_extensions_and_its_version() {
        let mut ini = GptIni::default();
        ini.enlist(Machine, AUDIT).unwrap();
        ini.enlist(Machine, REGISTRY_MACHINE).unwrap();
        ini.enlist(User, REGISTRY_USER).unwrap();
        ini.raise(&[Machine, User]).unwrap();
        let user = REGISTRY_LIST.replace("1F72", "1F73");
        assert_eq!(
            text(&ini),
            format!(
                "[General]\r\ngPCMachineExtensionNames={REGISTRY_LIST}{AUDIT_LIST}\r\n\
                 gPCUserExtensionNames={user}\r\nVersion=65537\r\n"
            )
        );
        let before = ini.clone();
        ini.enlist(Machine, REGISTRY_MACHINE).unwrap();
        assert_eq!((GptIni::parse(&ini.to_bytes()), ini.version()), (Ok(before), Ok(0x1_0001)));
    }

    #[test]
    fn other_lines_and_extensions_stay_and_the_list_ascends() {
        let old = format!(
            "; a word\r\n[General]\r\ndisplayName=Lokale Gruppenrichtlinie \u{e4}\r\nversion = 327683\r\n\
             gPCMachineExtensionNames={SECURITY_LIST}\r\nOptions=0\r\n\r\n[Other]\r\nVersion=9\r\n"
        );
        let mut ini = GptIni::parse(old.as_bytes()).unwrap();
        assert_eq!(ini.version(), Ok(5 << 16 | 3));
        ini.enlist(Machine, AUDIT).unwrap();
        ini.enlist(Machine, REGISTRY_MACHINE).unwrap();
        ini.raise(&[Machine]).unwrap();
        ini.enlist(User, REGISTRY_USER).unwrap();
        let user = REGISTRY_LIST.replace("1F72", "1F73");
        let new = old
            .replace("version = 327683", "Version=327684")
            .replace(SECURITY_LIST, &format!("{REGISTRY_LIST}{SECURITY_LIST}{AUDIT_LIST}"))
            .replace("Options=0\r\n", &format!("Options=0\r\ngPCUserExtensionNames={user}\r\n"));
        assert_eq!(text(&ini), new);
    }

    #[test]
    fn counts_begin_again_at_one_and_half_by_half() {
        for (before, halves, after) in [
            (0u32, &[Machine][..], 1),
            (0xffff, &[Machine], 1),
            (0xffff_ffff, &[User], 0x1_ffff),
            (0xffff_0005, &[Machine, User], 0x1_0006),
        ] {
            let mut ini = GptIni::parse(format!("[General]\nVersion={before}").as_bytes()).unwrap();
            ini.raise(halves).unwrap();
            assert_eq!(text(&ini), format!("[General]\nVersion={after}"));
        }
        let mut bare = GptIni::parse(b"").unwrap();
        bare.raise(&[User]).unwrap();
        assert_eq!(text(&bare), "[General]\r\nVersion=65536\r\n");
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line() {
        for (ini, line) in [
            ("[General]\nVersion=x", 2),
            ("[General]\nVersion=4294967296", 2),
            ("[General]\nVersion=1\nversion=2", 3),
            ("[General]\nVersion=1\n[general]", 3),
            ("[General]\ngPCMachineExtensionNames={35378EAC-683F-11D2-A89A-00C04FBBCFA2}", 2),
            ("[General]\n\ngPCUserExtensionNames=[{35378EAC}]", 3),
            (&format!("[General]\ngPCUserExtensionNames={REGISTRY_LIST}{REGISTRY_LIST}"), 2),
            (&format!("[General]\ngPCUserExtensionNames={REGISTRY_LIST} "), 0),
        ] {
            match GptIni::parse(ini.as_bytes()) {
                Ok(_) => assert_eq!(line, 0, "{ini}"),
                Err(error) => {
                    assert!(matches!(error, Error::Line { line: told, .. } if told == line), "{ini}: {error}")
                }
            }
        }
        assert_eq!(GptIni::parse(&[0xff, 0xfe, b'[', 0]), Err(Error::Encoding));
    }
}
