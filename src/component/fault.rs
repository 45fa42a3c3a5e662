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
    /// The name or text of the document that is at fault.
    pub what: String,
}

impl Fault {
    pub(crate) fn new(at: Position, flaw: Flaw, what: impl Into<String>) -> Self {
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
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

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
    /// A key occurs twice in one map.
    Duplicate = "duplicate-key", "a key occurs twice";
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
    /// A name occurs twice where it must be unique.
    Name = "duplicate-name", "a name is used twice";
    /// A name has other characters than names may have.
    BadName = "name", "a name is not 3 to 128 of A-Z a-z 0-9 _ -";
    /// An action is not known.
    UnknownAction = "unknown-action", "no such action";
    /// An action is not one of Windows.
    OtherSystem = "not-windows", "the action is not one of Windows";
    /// A number is outside its bounds.
    Number = "number", "a number is out of bounds";
    /// A word is not one of those allowed.
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
    /// A step writes where Windows runs what it finds, which is a script in all but name.
    Autostart = "autostart", "Windows runs by itself what this writes (choose what becomes of scripts)";
    /// A step found what it did not expect.
    Failed = "failed", "the step fails";
}

impl Flaw {
    /// Returns whether the document is sound: what it asks for can be done, if not here or not under this policy for scripts.
    pub fn is_sound(self) -> bool {
        self.is_offline() || self == Self::Autostart
    }

    /// Returns whether it is found by reading the document, which ends at the first one: `component lint` tells all of them.
    pub fn is_of_reading(self) -> bool {
        matches!(self, Self::Yaml | Self::Duplicate | Self::Form | Self::UnknownField | Self::Missing)
    }

    /// Returns what to do about it. It never sends the reader to `component lint`, which gives the same hint.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Yaml | Self::Duplicate | Self::Form | Self::UnknownField | Self::Missing => {
                "mend the document at that place"
            }
            Self::Schema => "write `schemaVersion: 1.0`",
            Self::Phases | Self::Name | Self::BadName | Self::Word | Self::Number | Self::Loop | Self::Condition => {
                "write at that place what the message names"
            }
            Self::Size => "split the component: each has its own limits",
            Self::UnknownAction | Self::OtherSystem => {
                "use an action of Windows from the list in docs/components.md; upper and lower case matter"
            }
            Self::Expression => {
                "name a parameter, a constant, or an earlier step that gives this: what AWS or a running instance knows is not known here"
            }
            Self::Parameter => "give it with --parameter NAME=VALUE, in a recipe with `parameters`, or write a default",
            Self::Path => {
                "name a path on the Windows volume in full, such as C:\\Acme\\file.txt, not one of Windows's own files"
            }
            Self::RegistryValue => {
                "write the value as its type has it: whole numbers for DWORD and QWORD, texts for SZ"
            }
            Self::RegistryKey => "begin the key with HKLM, HKCU, HKU, HKCR or HKCC, and name a key below it",
            Self::NeedsWindows => {
                "choose another --scripts, name a folder with --downloads, or leave the step to a Windows that runs"
            }
            Self::Script => {
                "write the script in the commands that docs/components.md lists, or choose another --scripts"
            }
            Self::Autostart => {
                "leave it out with --scripts skip, or let it be written, with a warning, with --scripts translate or first-boot"
            }
            Self::Failed => {
                "compare what the step expects with what the image holds: `coldforge ls`, `coldforge cat`, `coldforge reg get`"
            }
        }
    }

    /// Returns whether the document is sound, and only cannot be carried out on a powered-off machine.
    pub fn is_offline(self) -> bool {
        matches!(self, Self::NeedsWindows | Self::Script)
    }
}
