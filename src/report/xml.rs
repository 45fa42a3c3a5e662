//! XML documents, written element by element.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::text::plain;

/// An XML document in the making. What is written is escaped, and made [inert](plain) first.
pub(super) struct Xml {
    writer: Writer<Vec<u8>>,
}

impl Xml {
    /// Begins a document.
    pub(super) fn new() -> Self {
        let mut xml = Self { writer: Writer::new_with_indent(Vec::new(), b' ', 1) };
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        xml
    }

    /// Writes an element with what `inner` writes inside it.
    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &str)], inner: impl FnOnce(&mut Self)) {
        self.event(Event::Start(start(name, attributes)));
        inner(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// Writes an element with a text inside it.
    pub(super) fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        if text.is_empty() {
            return self.event(Event::Empty(start(name, attributes)));
        }
        self.event(Event::Start(start(name, attributes)));
        self.event(Event::Text(BytesText::new(&plain(text))));
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// Ends the document.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.writer.into_inner();
        bytes.push(b'\n');
        bytes
    }

    fn event(&mut self, event: Event<'_>) {
        self.writer.write_event(event).expect("memory takes every write");
    }
}

fn start<'a>(name: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (name, value) in attributes {
        start.push_attribute((*name, plain(value).as_str()));
    }
    start
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads a document to its end, and panics where it is none.
    pub(in super::super) fn well_formed(text: &str) {
        let mut reader = quick_xml::Reader::from_str(text);
        loop {
            match reader.read_event() {
                Ok(Event::Eof) => return,
                Ok(Event::Text(text)) => drop(text.xml10_content()),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn what_is_written_is_escaped() {
        let mut xml = Xml::new();
        xml.element("a", &[("b", "\"<\u{1}")], |xml| xml.leaf("c", &[], "<d>&\u{0}"));
        let text = String::from_utf8(xml.into_bytes()).unwrap();
        well_formed(&text);
        assert!(text.contains("b=\"&quot;&lt;\\u{1}\"") && text.contains("<c>&lt;d&gt;&amp;\\u{0}</c>"), "{text}");
    }
}
