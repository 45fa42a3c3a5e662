//! What can be wrong with a component document, and where.

use std::fmt;

use serde::Serialize;

/// A place in a document.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something that is wrong with a document, or that cannot be done with a powered-off machine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// Where.
    pub at: Position,
    /// What kind.
    pub flaw: Flaw,
    /// What stands there: a name or a text of the document.
    pub what: String,
}

impl Fault {
    pub(in crate::pipeline) fn new(at: Position, flaw: Flaw, what: impl Into<String>) -> Self {
        Self { at, flaw, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is wrong with the document as a whole has no place.
        if self.at != Position::default() {
            write!(f, "{}: ", self.at)?;
        }
        write!(f, "{}: {}", self.flaw, self.what)
    }
}

/// Gives each kind of fault its word, which is stable, and its sentence.
macro_rules! flaws {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $text:literal;)+) => {
        /// What can be wrong with a component.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Flaw {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl Flaw {
            /// Returns the word that names it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for Flaw {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

flaws! {
    /// It is no YAML.
    Yaml = "yaml", "the YAML cannot be read";
    /// It is larger than a component can be.
    Size = "size", "the document is too large";
    /// A key stands twice in one map.
    Duplicate = "duplicate-key", "a key stands there twice";
    /// A node has another form than the grammar gives it.
    Form = "form", "a node has the wrong form";
    /// A key is not known.
    UnknownField = "unknown-field", "no such field";
    /// A key is missing.
    Missing = "missing-field", "a field is missing";
    /// The schema version is another one.
    Schema = "schema-version", "the schemaVersion is not 1.0";
    /// No phase is one of build, validate and test.
    Phases = "phases", "no phase is build, validate or test";
    /// A name stands twice where it must be unique.
    Name = "duplicate-name", "a name is used twice";
    /// A name has other characters than names may have.
    BadName = "name", "a name is not 3 to 128 of A-Z a-z 0-9 _ -";
    /// An action is not known.
    UnknownAction = "unknown-action", "no such action";
    /// An action is not one of Windows.
    OtherSystem = "not-windows", "the action is not one of Windows";
    /// A number is outside its bounds.
    Number = "number", "a number is out of bounds";
    /// A word is none of those that can stand there.
    Word = "word", "a word that cannot stand there";
    /// An expression names what is not there.
    Expression = "expression", "an expression cannot be resolved";
    /// A parameter has no value.
    Parameter = "parameter", "a parameter has no value";
    /// A loop cannot be run.
    Loop = "loop", "a loop cannot be run";
    /// A condition is none.
    Condition = "condition", "a condition cannot be judged";
    /// A path leads out of the Windows volume, or to what must not be touched.
    Path = "path", "a path cannot be used";
    /// A registry value is not what its type says.
    RegistryValue = "registry-value", "a value does not fit its type";
    /// A key has no place in the registry of an image.
    RegistryKey = "registry-key", "a key cannot be used";
    /// The action needs a Windows that runs.
    NeedsWindows = "needs-windows", "this needs a Windows that runs";
    /// A script is not made of what can be done without a Windows that runs.
    Script = "script", "the script cannot be translated";
    /// A step found what it did not expect.
    Failed = "failed", "the step fails";
}

impl Flaw {
    /// Tells whether the document is sound, and only cannot be carried out on a powered-off machine.
    pub fn is_offline(self) -> bool {
        matches!(self, Self::NeedsWindows | Self::Script)
    }
}
