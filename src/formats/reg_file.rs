//! `.reg` files of version 5: keys and values as text, as regedit and the Linux tool hivexregedit exchange them.
//!
//! Reading takes what either of them writes (UTF-16LE with a mark, or UTF-8; any line ends; strings or hex digits;
//! comments on lines of their own or behind a key or value), and files of version 4, `REGEDIT4`, in ASCII.
//! Writing has a [`Style`] for each. Nothing is lost on the way: data that a string cannot carry goes out as hex
//! digits, and a name that a line cannot carry is an error.

use std::fmt::Write as _;

use thiserror::Error;

use coldforge_base::utf16;
use coldforge_base::{Failure, hex};

const HEADER: &str = "Windows Registry Editor Version 5.00";
/// The header of version 4, whose hex digits of strings are bytes of the code page, not UTF-16.
const HEADER_4: &str = "REGEDIT4";
const SZ: u32 = 1;
const EXPAND_SZ: u32 = 2;
const BINARY: u32 = 3;
const DWORD: u32 = 4;
const MULTI_SZ: u32 = 7;

/// A line of hex digits ends where the next byte would pass this column.
const LINE_COLUMNS: usize = 77;

/// How the text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// As `hivexregedit --export`: UTF-8, LF, all strings as hex digits on one line.
    Hivex,
    /// As regedit: UTF-16LE with a byte order mark, CRLF, plain strings in quotes, hex digits broken into lines.
    Regedit,
}

/// What a value shall be: a type number and data, or `None` to delete it.
pub type Content = Option<(u32, Vec<u8>)>;

/// What a section of a file asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Section {
    /// The key, as it is written: `HKEY_LOCAL_MACHINE\SOFTWARE\Vendor`.
    pub key: String,
    /// Whether the key is deleted, with all below it.
    pub delete: bool,
    /// Values in order, `""` for the unnamed one.
    pub values: Vec<(String, Content)>,
    /// The line of the key, from 1.
    pub line: usize,
}

/// What makes text no `.reg` file, or a registry no text.
#[derive(Clone, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The text does not begin with the header of version 5 or 4.
    #[error("the file begins neither with `{HEADER}` nor with `{HEADER_4}`")]
    #[failure(usage, hint = "export the file anew with regedit or `coldforge reg export`")]
    Header,
    /// The bytes are neither UTF-8 nor UTF-16LE with a byte order mark.
    #[error("the file is neither UTF-8 nor UTF-16 with a byte order mark")]
    #[failure(usage, hint = "convert the file to UTF-8")]
    Encoding,
    /// A file of version 4 holds a character whose code page it does not tell.
    #[error("the `{HEADER_4}` file is not plain ASCII: version 4 does not tell what other characters mean")]
    #[failure(usage, hint = "import the file on a Windows of its language, and export it anew as version 5")]
    CodePage,
    /// A line is not understood.
    #[error("line {line}: expected {expected}")]
    #[failure(usage, hint = "mend the line, or export the file anew")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A name holds a character that a line of text cannot carry.
    #[error("the name {name:?} cannot be written as a line of text")]
    #[failure(unsupported, "E-REG-NAME", hint = "export the keys beside it one by one")]
    Name {
        /// The name.
        name: String,
    },
}

/// Text that grows by keys and values.
#[derive(Clone, Debug)]
pub struct Writer {
    style: Style,
    text: String,
}

impl Writer {
    /// Begins a file.
    pub fn new(style: Style) -> Self {
        Self { style, text: format!("{HEADER}\n\n") }
    }

    /// Writes a key with its values in the order given; `""` is the unnamed value, `None` a value to delete.
    ///
    /// # Errors
    /// [`Error::Name`] for a name with a line break or an unpaired surrogate.
    pub fn key<'v>(
        &mut self,
        path: &str,
        values: impl IntoIterator<Item = (&'v str, Option<(u32, &'v [u8])>)>,
    ) -> Result<(), Error> {
        writeln!(self.text, "[{}]", checked(path)?).expect("a string takes everything");
        for (name, value) in values {
            let start = self.text.len();
            match name {
                "" => self.text.push('@'),
                _ => self.quote(checked(name)?),
            }
            self.text.push('=');
            match value {
                None => self.text.push('-'),
                Some((DWORD, data)) if data.len() == 4 => {
                    let digits: String = data.iter().rev().map(|byte| format!("{byte:02x}")).collect();
                    self.text.push_str("dword:");
                    self.text.push_str(&digits);
                }
                Some((SZ, data)) if self.style == Style::Regedit => match string_of(data) {
                    Some(text) => self.quote(&text),
                    None => self.hex(start, SZ, data),
                },
                Some((kind, data)) => self.hex(start, kind, data),
            }
            self.text.push('\n');
        }
        self.text.push('\n');
        Ok(())
    }

    /// Writes that a key is deleted.
    ///
    /// # Errors
    /// As [`Writer::key`].
    pub fn delete_key(&mut self, path: &str) -> Result<(), Error> {
        writeln!(self.text, "[-{}]\n", checked(path)?).expect("a string takes everything");
        Ok(())
    }

    /// Returns the bytes of the file.
    pub fn finish(self) -> Vec<u8> {
        match self.style {
            Style::Hivex => self.text.into_bytes(),
            Style::Regedit => utf16::encode(&format!("\u{feff}{}", self.text.replace('\n', "\r\n"))),
        }
    }

    fn quote(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('"');
    }

    fn hex(&mut self, start: usize, kind: u32, data: &[u8]) {
        match (self.style, kind) {
            (Style::Regedit, BINARY) => self.text.push_str("hex:"),
            _ => write!(self.text, "hex({kind:x}):").expect("a string takes everything"),
        }
        let mut column = self.text.get(start..).map_or(0, |line| line.chars().count());
        for (index, byte) in data.iter().enumerate() {
            write!(self.text, "{byte:02x}").expect("a string takes everything");
            if index + 1 < data.len() {
                self.text.push(',');
                column += 3;
                if self.style == Style::Regedit && column >= LINE_COLUMNS {
                    self.text.push_str("\\\n  ");
                    column = 2;
                }
            }
        }
    }
}

/// The characters of a name that a line of text cannot carry: line breaks, and what stands for an unpaired surrogate.
const UNPRINTABLE: [char; 3] = ['\n', '\r', '\u{fffd}'];

/// Tells whether a line of text can carry a name.
pub fn is_printable(name: &str) -> bool {
    !name.contains(UNPRINTABLE)
}

/// Returns a name with `<U+000A>` in the place of each character that a line of text cannot carry. It is for people to read: no
/// reader turns it back.
pub fn escaped(name: &str) -> String {
    let one = |c: char| match UNPRINTABLE.contains(&c) {
        true => format!("<U+{:04X}>", u32::from(c)),
        false => c.to_string(),
    };
    name.chars().map(one).collect()
}

/// Returns a name that a line can carry.
fn checked(name: &str) -> Result<&str, Error> {
    if is_printable(name) { Ok(name) } else { Err(Error::Name { name: name.to_owned() }) }
}

/// Returns the text of data that is exactly one string with its NUL, and that a line in quotes can carry.
fn string_of(data: &[u8]) -> Option<String> {
    let (last, units) = utf16::units(data).split_last().map(|(last, units)| (*last, units.to_vec()))?;
    let text = String::from_utf16(&units).ok()?;
    (data.len().is_multiple_of(2) && last == 0 && !text.contains(|c: char| c.is_control())).then_some(text)
}

/// Reads a file.
///
/// # Errors
/// [`Error::Header`], [`Error::Encoding`], or [`Error::Syntax`] with the line.
pub fn parse(bytes: &[u8]) -> Result<Vec<Section>, Error> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] if rest.len() % 2 == 0 => {
            String::from_utf16(&utf16::units(rest)).map_err(|_| Error::Encoding)?
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).map_err(|_| Error::Encoding)?,
        _ if bytes.starts_with(HEADER_4.as_bytes()) && !bytes.is_ascii() => return Err(Error::CodePage),
        _ => String::from_utf8(bytes.to_vec()).map_err(|_| Error::Encoding)?,
    };
    let (body, is_version_4) = match (text.strip_prefix(HEADER), text.strip_prefix(HEADER_4)) {
        (Some(body), _) => (body, false),
        (None, Some(body)) => (body, true),
        (None, None) => return Err(Error::Header),
    };
    if is_version_4 && !text.is_ascii() {
        return Err(Error::CodePage);
    }
    let mut cursor = Cursor { rest: body, line: 1, is_version_4 };
    cursor.end_of_line()?;
    let mut sections: Vec<Section> = Vec::new();
    // Each turn takes at least a character.
    loop {
        cursor.skip_blank();
        let line = cursor.line;
        let wrong = |expected| Error::Syntax { line, expected };
        let Some(first) = cursor.rest.chars().next() else { return Ok(sections) };
        if first == '[' {
            let end = cursor.rest.find(['\r', '\n']).unwrap_or(cursor.rest.len());
            let head = cursor.rest.get(1..end).unwrap_or_default();
            let key = key_in(head).ok_or(wrong(
                "one `]` that ends the key; behind it a comment without another, which could be part of the key",
            ))?;
            let (key, delete) = key.strip_prefix('-').map_or((key, false), |key| (key, true));
            if key.is_empty() {
                return Err(wrong("a key between brackets"));
            }
            sections.push(Section { key: key.to_owned(), delete, values: Vec::new(), line });
            cursor.rest = cursor.rest.get(end..).unwrap_or_default();
            cursor.end_of_line()?;
            continue;
        }
        let name = match first {
            '@' => {
                cursor.rest = cursor.rest.get(1..).unwrap_or_default();
                String::new()
            }
            '"' => cursor.quoted()?,
            _ => return Err(wrong("a key in brackets, a value, or a comment")),
        };
        let section = sections.last_mut().filter(|section| !section.delete);
        let section = section.ok_or(wrong("a key in brackets before its values"))?;
        cursor.skip_spaces();
        cursor.take('=', "`=` after the name of a value")?;
        cursor.skip_spaces();
        section.values.push((name, cursor.value()?));
        cursor.end_of_line()?;
    }
}

/// Returns the key that stands before `]`, behind which a comment may stand. A name of a key may hold both `]` and `;`, so
/// that a line in which the comment could be a part of the name is not understood.
fn key_in(head: &str) -> Option<&str> {
    let is_comment = |rest: &str| rest.trim_start().is_empty() || rest.trim_start().starts_with(';');
    let mut ends = head.match_indices(']').filter(|(at, _)| head.get(at + 1..).is_some_and(is_comment));
    let (end, _) = ends.next()?;
    if ends.next().is_some() { None } else { head.get(..end) }
}

struct Cursor<'t> {
    rest: &'t str,
    line: usize,
    /// Whether hex digits of strings are bytes of characters.
    is_version_4: bool,
}

impl<'t> Cursor<'t> {
    fn wrong(&self, expected: &'static str) -> Error {
        Error::Syntax { line: self.line, expected }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn skip_comment(&mut self) {
        self.skip_spaces();
        if self.rest.starts_with(';') {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = self.rest.get(end..).unwrap_or_default();
        }
    }

    /// Skips blank lines and comments.
    fn skip_blank(&mut self) {
        loop {
            self.skip_comment();
            let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) else { return };
            self.rest = rest;
            self.line += 1;
        }
    }

    /// Skips what may stand behind a key or value: blanks and a comment.
    fn end_of_line(&mut self) -> Result<(), Error> {
        self.skip_comment();
        match self.rest.is_empty() || self.rest.starts_with('\n') || self.rest.starts_with("\r\n") {
            true => Ok(()),
            false => Err(self.wrong("the end of the line")),
        }
    }

    fn take(&mut self, wanted: char, expected: &'static str) -> Result<(), Error> {
        self.rest = self.rest.strip_prefix(wanted).ok_or(self.wrong(expected))?;
        Ok(())
    }

    /// Reads a string in quotes, which may go over several lines.
    fn quoted(&mut self) -> Result<String, Error> {
        self.take('"', "a string in quotes")?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => return Err(self.wrong("`\\\\` or `\\\"` after a backslash")),
                },
                '\n' => {
                    self.line += 1;
                    text.push(c);
                }
                _ => text.push(c),
            }
        }
        Err(self.wrong("a quote that ends the string"))
    }

    fn value(&mut self) -> Result<Content, Error> {
        if let Some(rest) = self.rest.strip_prefix('-') {
            self.rest = rest;
            return Ok(None);
        }
        if self.rest.starts_with('"') {
            return Ok(Some((SZ, utf16::encode_with_nul(&self.quoted()?))));
        }
        if let Some(rest) = strip_word(self.rest, "dword:") {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            let number = rest.get(..digits).filter(|digits| (1..=8).contains(&digits.len()));
            let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let number = number.ok_or(self.wrong("one to eight hex digits"))?;
            self.rest = rest.get(digits..).unwrap_or_default();
            return Ok(Some((DWORD, number.to_le_bytes().to_vec())));
        }
        if let Some((kind, text)) = strip_word(self.rest, "str(").and_then(|rest| rest.split_once("):")) {
            let kind = hex::number(kind)
                .and_then(|kind| u32::try_from(kind).ok())
                .filter(|kind| matches!(*kind, SZ | EXPAND_SZ | MULTI_SZ));
            let kind = kind.ok_or(self.wrong("the type of a string: 1, 2 or 7"))?;
            self.rest = text;
            return Ok(Some((kind, utf16::encode_with_nul(&self.quoted()?))));
        }
        let rest = strip_word(self.rest, "hex").ok_or(self.wrong("a string, dword:, hex: or -"))?;
        let (kind, rest) = match rest.strip_prefix('(').map(|rest| rest.split_once("):")) {
            None => (BINARY, rest.strip_prefix(':').ok_or(self.wrong("`:` after hex"))?),
            Some(Some((digits, rest))) => {
                let kind = hex::number(digits).and_then(|kind| u32::try_from(kind).ok());
                (kind.ok_or(self.wrong("a type in hex digits"))?, rest)
            }
            Some(_) => return Err(self.wrong("a type in hex digits, and `):`")),
        };
        self.rest = rest;
        let data = self.hex_digits()?;
        if self.is_version_4 && matches!(kind, SZ | EXPAND_SZ | MULTI_SZ) {
            return match data.is_ascii() {
                true => Ok(Some((kind, data.iter().flat_map(|byte| [*byte, 0]).collect()))),
                false => Err(Error::CodePage),
            };
        }
        Ok(Some((kind, data)))
    }

    /// Reads bytes in hex digits between commas, over as many lines as end in a backslash.
    fn hex_digits(&mut self) -> Result<Vec<u8>, Error> {
        let mut data = Vec::new();
        // Whether a byte must follow: behind a comma or a backslash.
        let mut owed = false;
        // Each turn takes at least a character, or ends.
        loop {
            self.skip_spaces();
            if let Some(rest) = self.rest.strip_prefix('\\') {
                self.rest = rest;
                self.end_of_line()?;
                self.skip_blank();
                owed = true;
                continue;
            }
            let digits = self.rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            let byte = match digits {
                0 if !owed => return Ok(data),
                1 | 2 => self.rest.get(..digits).and_then(|byte| u8::from_str_radix(byte, 16).ok()),
                _ => None,
            };
            data.push(byte.ok_or(self.wrong("a byte of one or two hex digits"))?);
            self.rest = self.rest.get(digits..).unwrap_or_default();
            self.skip_spaces();
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => return Ok(data),
            }
            owed = true;
        }
    }
}

/// Takes a word off the start, in any case.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| text.get(word.len()..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, kind: u32, data: &[u8]) -> (String, Content) {
        (name.to_owned(), Some((kind, data.to_vec())))
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        let text = "Windows Registry Editor Version 5.00\r\n\r\n; a comment\r\n[HKEY_LOCAL_MACHINE\\A]\r\n\
            @=\"say \\\"C:\\\\\\\"\"\r\n\"two\nlines\"=dword:1F\r\n\"b\"=hex:00,ff,\\\r\n  1\r\n\"c\" = hex(b):\r\n\
            \"d\"=-\r\n@=-\r\n\n[-HKEY_LOCAL_MACHINE\\B]\n";
        let sections = parse(text.as_bytes()).unwrap();
        assert_eq!(
            sections,
            [
                Section {
                    key: r"HKEY_LOCAL_MACHINE\A".into(),
                    delete: false,
                    line: 4,
                    values: vec![
                        set("", 1, &utf16::encode_with_nul("say \"C:\\\"")),
                        set("two\nlines", 4, &[0x1f, 0, 0, 0]),
                        set("b", 3, &[0, 255, 1]),
                        set("c", 11, &[]),
                        ("d".into(), None),
                        (String::new(), None),
                    ],
                },
                Section { key: r"HKEY_LOCAL_MACHINE\B".into(), delete: true, values: vec![], line: 14 },
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let line = |text: &str| match parse(format!("{HEADER}\n{text}").as_bytes()) {
            Err(Error::Syntax { line, .. }) => line,
            other => panic!("{text}: {other:?}"),
        };
        for (text, at) in [
            ("\"a\"=dword:1", 2),
            ("[A]\n\"a\"=dword:", 3),
            ("[A]\n\"a\"=dword:123456789", 3),
            ("[A]\n\"a\"=hex:1ff", 3),
            ("[A]\n\"a\"=hex:001", 3),
            ("[A]\n\"a\"=hex:01,", 3),
            ("[A]\n\"a\"=hex:01,\\\n", 4),
            ("[A]\n\"a\"=hex(+1):1", 3),
            ("[A]\n\"a\"=hex:1 x", 3),
            ("[A]\n\n\"a\"", 4),
            ("[A]\n\"a\\x\"=-", 3),
            ("[A]\n\"a", 3),
            ("[A", 2),
            ("[-]", 2),
            ("[-A]\n@=-", 3),
            ("[A] x\n", 2),
            ("x", 2),
        ] {
            assert_eq!(line(text), at, "{text}");
        }
        assert_eq!(parse(b"REGEDIT5\n"), Err(Error::Header));
        assert_eq!(parse(&[0xff, 0xfe, 0]), Err(Error::Encoding));
    }

    #[test]
    fn comments_behind_keys_and_values_are_skipped() {
        let text = "Windows Registry Editor Version 5.00 ; exported\r\n\r\n; first\r\n[HKLM\\A] ; why\r\n\
            \"a\"=dword:00000001 ; [x]\r\n\"b\"=\"t;u\";c\r\n\"c\"=hex:01,\\ ; more\r\n  ; still\r\n  02 ; end\r\n\
            \"d\"=- ; gone\r\n@=hex(0):;\r\n[-HKLM\\B];gone\r\n[HKLM\\C;D]\t\r\n";
        let sections = parse(text.as_bytes()).unwrap();
        let keys: Vec<_> = sections.iter().map(|section| (section.key.as_str(), section.delete)).collect();
        assert_eq!(keys, [(r"HKLM\A", false), (r"HKLM\B", true), (r"HKLM\C;D", false)]);
        let expected = [
            set("a", DWORD, &[1, 0, 0, 0]),
            set("b", SZ, &utf16::encode_with_nul("t;u")),
            set("c", BINARY, &[1, 2]),
            ("d".to_owned(), None),
            set("", 0, &[]),
        ];
        assert_eq!(sections[0].values, expected);
        // Either bracket could end the name of the key.
        for line in ["[A] ; see [1]", "[A];[B]"] {
            let text = format!("{HEADER}\n{line}\n");
            assert!(matches!(parse(text.as_bytes()), Err(Error::Syntax { line: 2, .. })), "{line}");
        }
    }

    #[test]
    fn files_of_version_4_are_read_in_ascii() {
        let text = b"REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\r\n\"a\"=dword:5\r\n\"s\"=\"x\"\r\n\
            \"e\"=hex(2):25,41,25,00\r\n\"m\"=hex(7):61,00,62,00,00\r\n\"b\"=hex:61,00\r\n";
        let expected = [
            set("a", DWORD, &[5, 0, 0, 0]),
            set("s", SZ, &utf16::encode_with_nul("x")),
            set("e", EXPAND_SZ, &utf16::encode_with_nul("%A%")),
            set("m", MULTI_SZ, &utf16::encode("a\0b\0\0")),
            set("b", BINARY, &[0x61, 0]),
        ];
        assert_eq!(parse(text).unwrap()[0].values, expected);
        for text in [
            b"REGEDIT4\n[A]\n\"a\"=\"\xe4\"\n".to_vec(),
            "REGEDIT4\n[A]\n\"a\"=\"\u{e4}\"\n".into(),
            b"REGEDIT4\n[A]\n\"a\"=hex(2):e4,00\n".to_vec(),
            utf16::encode("\u{feff}REGEDIT4\n[A]\n\"a\"=\"\u{e4}\"\n"),
        ] {
            assert_eq!(parse(&text), Err(Error::CodePage));
        }
        assert!(parse(&utf16::encode("\u{feff}REGEDIT4\n[A]\n\"a\"=dword:1\n")).is_ok(), "ASCII is the same in each");
    }

    #[test]
    fn both_styles_are_read_again_as_they_were_written() {
        let long: Vec<u8> = (0..=255).collect();
        let text = utf16::encode_with_nul("\\ \"x\" \u{1F600}");
        let cut = utf16::encode("no end");
        let values = [
            ("", Some((1, &text[..]))),
            ("a\"\\", Some((1, &cut[..]))),
            ("ä", Some((3, &long[..]))),
            ("d", Some((4, &[1, 2, 3, 4][..]))),
            ("e", Some((4, &[1][..]))),
            ("f", Some((0xffff_0001, &[][..]))),
            ("g", None),
        ];
        for style in [Style::Hivex, Style::Regedit] {
            let mut writer = Writer::new(style);
            writer.key(r"HKEY_USERS\x]y", values).unwrap();
            writer.delete_key("Z").unwrap();
            let sections = parse(&writer.finish()).unwrap();
            let told: Vec<_> = values.iter().map(|(n, v)| (n.to_string(), v.map(|(k, d)| (k, d.to_vec())))).collect();
            assert_eq!((sections[0].key.as_str(), &sections[0].values), (r"HKEY_USERS\x]y", &told));
            assert_eq!((sections[1].key.as_str(), sections[1].delete), ("Z", true));
        }
        assert!(Writer::new(Style::Hivex).key("a\nb", []).is_err());
    }

    #[test]
    fn regedit_breaks_lines_of_hex_digits_as_it_does() {
        let mut writer = Writer::new(Style::Regedit);
        writer.key("K", [("Name", Some((3, &[0xab; 30][..])))]).unwrap();
        let text = String::from_utf16(&utf16::units(&writer.finish())).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], format!("\u{feff}{HEADER}"));
        assert_eq!(lines[3], format!("\"Name\"=hex:{}\\", "ab,".repeat(22)));
        assert_eq!(lines[4], format!("  {}ab", "ab,".repeat(7)));
    }
}
