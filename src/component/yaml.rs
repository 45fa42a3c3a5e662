//! YAML as a tree that keeps the position of each node and how each scalar was written: `1.10` is a number to one action
//! and a text to another, so the original text is kept.
//!
//! Aliases are followed, and counted: a document that expands to more nodes than a component can need is refused.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::fault::{Fault, Flaw, Position};

/// A component of Image Builder has at most 64 KiB; this leaves room for comments.
const MAX_BYTES: usize = 1 << 20;
/// Nodes, those of aliases counted each time.
const MAX_NODES: usize = 50_000;
/// Nodes in nodes. A condition may be nested four deep, inside six levels of document.
const MAX_DEPTH: usize = 48;

/// A node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
    /// How many nodes it is, itself counted.
    nodes: usize,
    /// How deep it is, itself counted.
    depth: usize,
}

/// What a node is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    /// A scalar: its text, and whether it is plain, without quotation marks.
    Scalar(String, bool),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the document; each key once.
    Map(Vec<(String, Position, Node)>),
}

impl Node {
    /// Returns a scalar of this text.
    pub fn scalar(at: Position, text: String) -> Self {
        Self { at, value: Value::Scalar(text, false), nodes: 1, depth: 1 }
    }

    /// Returns a map of scalars.
    pub fn of<const N: usize>(at: Position, members: [(&str, Self); N]) -> Self {
        let members = members.into_iter().map(|(name, node)| (name.to_owned(), at, node)).collect();
        Self { at, value: Value::Map(members), nodes: N.saturating_add(1), depth: 2 }
    }

    /// Returns a scalar's text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Returns a member of a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.map()?.iter().find(|(key, ..)| key == name).map(|(.., node)| node)
    }

    /// Returns the members of a map.
    pub fn map(&self) -> Option<&[(String, Position, Self)]> {
        match &self.value {
            Value::Map(members) => Some(members),
            _ => None,
        }
    }

    /// Returns the items of a list.
    pub fn list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the boolean of a scalar, in any case of letters.
    pub fn flag(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Returns whether the value is empty: no value, `null` or `~`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Returns what a node of another form is called.
    pub fn form(&self) -> &'static str {
        match self.value {
            Value::Scalar(..) => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let start = Position { line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        return Err(Fault::new(start, Flaw::Size, "a document of more than 1 MiB"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    let mut found = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            _ if found.is_some() => {
                return Err(Fault::new(position(&span), Flaw::Yaml, "a second document in the file"));
            }
            event => found = Some(reader.node(event, &span, 1)?),
        }
    }
    found.ok_or_else(|| Fault::new(start, Flaw::Yaml, "nothing"))
}

struct Reader<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Fault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                let at = Position { line: error.marker().line(), column: error.marker().col().saturating_add(1) };
                let said = error.to_string();
                Err(Fault::new(at, Flaw::Yaml, said.lines().next().unwrap_or_default()))
            }
        }
    }

    /// Reads a node whose first event was taken.
    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, Fault> {
        let at = position(span);
        if depth > MAX_DEPTH {
            return Err(Fault::new(at, Flaw::Size, "nodes that are nested too deep"));
        }
        self.count(1, at)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::new(at, Flaw::Yaml, "an alias of what is not finished"));
                };
                self.count(node.nodes, at)?;
                if depth.saturating_add(node.depth) > MAX_DEPTH {
                    return Err(Fault::new(at, Flaw::Size, "nodes that are nested too deep"));
                }
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.as_ref().is_some_and(|tag| tag.core_suffix().is_none()) {
                    return Err(Fault::new(
                        at,
                        Flaw::Yaml,
                        "a tag of its own, as templates have: give the document itself",
                    ));
                }
                (Value::Scalar(text.into_owned(), style == ScalarStyle::Plain), anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.expected(at)?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, &span, depth.saturating_add(1))?);
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let mut members: Vec<(String, Position, Node)> = Vec::new();
                loop {
                    let (event, span) = self.expected(at)?;
                    if event == Event::MappingEnd {
                        break;
                    }
                    let key = self.node(event, &span, depth.saturating_add(1))?;
                    let Some(name) = key.text().map(str::to_owned) else {
                        let what = "a key that is not text: put `{{ ... }}` in quotation marks";
                        return Err(Fault::new(key.at, Flaw::Yaml, what));
                    };
                    if members.iter().any(|(known, ..)| *known == name) {
                        return Err(Fault::new(key.at, Flaw::Duplicate, &name));
                    }
                    let (event, span) = self.expected(at)?;
                    let node = self.node(event, &span, depth.saturating_add(1))?;
                    members.push((name, key.at, node));
                }
                (Value::Map(members), anchor)
            }
            _ => return Err(Fault::new(at, Flaw::Yaml, "a mark that begins nothing")),
        };
        let below: Vec<&Node> = match &value {
            Value::Scalar(..) => Vec::new(),
            Value::List(items) => items.iter().collect(),
            Value::Map(members) => members.iter().map(|(.., node)| node).collect(),
        };
        let nodes = below.iter().map(|node| node.nodes.saturating_add(1)).sum::<usize>().saturating_add(1);
        let deepest = below.iter().map(|node| node.depth).max().unwrap_or(0).saturating_add(1);
        let node = Node { at, value, nodes, depth: deepest };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn expected(&mut self, at: Position) -> Result<(Event<'t>, Span), Fault> {
        self.next()?.ok_or_else(|| Fault::new(at, Flaw::Yaml, "a node without an end"))
    }

    fn count(&mut self, more: usize, at: Position) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(more);
        match self.nodes > MAX_NODES {
            true => Err(Fault::new(at, Flaw::Size, "more nodes than a component can need")),
            false => Ok(()),
        }
    }
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col().saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> Flaw {
        parse(text).unwrap_err().flaw
    }

    #[test]
    fn a_scalar_keeps_its_text_and_its_place() {
        let node = parse("a: 1.10\nb:\n  - 0777\n  - 'true'\n").unwrap();
        assert_eq!(node.get("a").and_then(Node::text), Some("1.10"));
        let items = node.get("b").unwrap().list().unwrap();
        assert_eq!((items[0].text(), items[0].at), (Some("0777"), Position { line: 3, column: 5 }));
        assert_eq!(items[1].flag(), Some(true));
    }

    #[test]
    fn what_unfolds_without_end_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{below}]\n");
        }
        assert_eq!(flaw(&bomb), Flaw::Size);
        assert_eq!(flaw(&("[".repeat(60) + &"]".repeat(60))), Flaw::Size);
        assert!(parse(&"[".repeat(5000)).is_err(), "the parser has a limit of its own");
        assert_eq!(flaw(&"a".repeat((1 << 20) + 1)), Flaw::Size);
        assert!(parse("a: &x [1]\nb: *x\n").is_ok(), "an alias by itself is no bomb");
        assert_eq!(flaw("a: &x [*x]\n"), Flaw::Yaml);
    }

    #[test]
    fn what_is_no_one_document_is_refused() {
        for text in ["", "a: 1\n---\nb: 2\n", "a: !Sub x\n", "a: \"C:\\Users\"\n", "{{ x }}: 1\n", "a: *none\n"] {
            assert_eq!(flaw(text), Flaw::Yaml, "{text}");
        }
        assert_eq!(flaw("a: 1\na: 2\n"), Flaw::Duplicate);
    }
}
