//! What can be wrong with a policy, or go wrong while it is applied.

use thiserror::Error;

use crate::windows::setting::{Setting, SettingError};
use coldforge_base::Failure;

/// A failure of this floor.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// A document is not TOML, or not of the shape that its schema asks for.
    #[error("the {document} cannot be understood")]
    #[failure(usage, hint = "correct the document at the line named")]
    Document {
        /// What the document is.
        document: &'static str,
        /// The reader's answer, with the line.
        source: Box<toml::de::Error>,
    },

    /// A document is of another schema than this version reads.
    #[error("the {document} is of schema {found:?} where {expected:?} is read")]
    #[failure(
        unsupported,
        "E-SCHEMA",
        hint = "use a document made for this version, or another version for this document"
    )]
    Schema {
        /// What the document is.
        document: &'static str,
        /// The schema found; empty if it names none.
        found: String,
        /// The schema that this version reads.
        expected: &'static str,
    },

    /// A rule of a catalog is wrong.
    #[error("rule {rule} of the catalog is wrong")]
    #[failure(usage, hint = "correct the rule")]
    Rule {
        /// The rule's STIG id, or its position.
        rule: String,
        /// What is wrong.
        source: Box<RuleFault>,
    },

    /// An organization value is wrong.
    #[error("the organization value for {rule} cannot be used")]
    #[failure(usage, hint = source.hint())]
    Value {
        /// The rule as the document names it.
        rule: String,
        /// What is wrong.
        source: Box<ValueFault>,
    },

    /// A waiver is wrong.
    #[error("the waiver for {rule} cannot be used")]
    #[failure(usage, hint = source.hint())]
    Waiver {
        /// The rule as the document names it.
        rule: String,
        /// What is wrong.
        source: Box<WaiverFault>,
    },

    /// A policy is refused.
    #[error("the policy {name} cannot be used")]
    #[failure(transparent)]
    Policy {
        /// Its name.
        name: String,
        /// What is wrong.
        source: Box<super::source::Fault>,
    },

    /// Policies contradict themselves or each other.
    #[error("the policies contradict themselves in {count} settings: {told}")]
    #[failure(
        refused,
        "E-POLICY-CONTRADICTION",
        hint = "change the policy so that no two of its entries contradict each other, or name fewer policies"
    )]
    Contradictions {
        /// In how many settings.
        count: usize,
        /// The first of them: both rules, and what each wants.
        told: String,
    },

    /// There is neither a STIG nor a policy.
    #[error("there is neither a STIG nor a policy to assess")]
    #[failure(usage, hint = "name a policy with --policy, or a STIG with --stig")]
    NoPolicy,

    /// A benchmark file is refused.
    #[error(transparent)]
    #[failure(transparent)]
    Benchmark(#[from] Box<super::xccdf::Error>),

    /// No catalog is for this Windows.
    #[error("there is no STIG here for {product} (build {build}); there is {available}")]
    #[failure(
        unsupported,
        "E-NO-STIG",
        hint = "give the benchmark of this Windows with --benchmark, or force one of these with --stig and --force-stig"
    )]
    NoStig {
        /// The product's name.
        product: String,
        /// Its build.
        build: u32,
        /// The catalogs that there are.
        available: String,
    },

    /// A benchmark is for another Windows, or for no Windows at all.
    #[error("{stig} is not for the Windows in this image: {product}, build {build}")]
    #[failure(
        refused,
        "E-STIG-MISMATCH",
        hint = "leave --stig out to take the one that fits; --force-stig (`force = true` below [stig] of a recipe) assesses this one all the same, and says so everywhere"
    )]
    StigMismatch {
        /// The benchmark's title, version and release.
        stig: String,
        /// The product's name.
        product: String,
        /// Its build.
        build: u32,
    },

    /// No catalog has this id.
    #[error("there is no STIG {id:?}; there is {available}")]
    #[failure(usage, hint = "choose one of these with --stig")]
    NoCatalog {
        /// The id.
        id: String,
        /// The catalogs that there are.
        available: String,
    },

    /// No catalog for a program beside Windows has this id.
    #[error("there is no component {id:?}; there is {available}")]
    #[failure(usage, hint = "choose of these with --with, separated by commas, or all")]
    NoComponent {
        /// The id.
        id: String,
        /// The components that there are.
        available: String,
    },

    /// No rule has this id.
    #[error("there is no rule {name:?}{}", meant(nearest.as_deref()))]
    #[failure(usage, hint = "look the rule up with `coldforge rules list`; a V-, SV- or STIG id names it")]
    UnknownRule {
        /// The id.
        name: String,
        /// The id that is nearest, if one is near.
        nearest: Option<String>,
    },

    /// A selection takes no rule at all.
    #[error("the selection leaves no rule")]
    #[failure(usage, hint = "raise --level, or take back a --skip")]
    EmptySelection,

    /// Two rules demand different values of one setting.
    #[error("{one} and {other} demand different values of {setting}")]
    #[failure(
        refused,
        "E-RULE-CONFLICT",
        hint = "leave one of the two rules out with --skip, or change what it demands"
    )]
    Conflict {
        /// The setting.
        setting: Setting,
        /// The rule that came first.
        one: String,
        /// The rule that contradicts it.
        other: String,
    },

    /// Nobody could administer the machine any more.
    #[error("{rules} would lock every administrator out: now {now} may log on, then {remain}")]
    #[failure(
        refused,
        "E-LAST-ADMINISTRATOR",
        hint = "enable another administrator in the image first, or leave one of the rules out with --skip"
    )]
    LastAdministrator {
        /// The rules whose steps concern accounts and logging on.
        rules: String,
        /// Who may log on now.
        now: String,
        /// Who would remain.
        remain: String,
    },

    /// No machine would start, or admit anybody, with a change.
    #[error("{rules} would change {setting}: {reason}{}", more(*count))]
    #[failure(
        refused,
        "E-UNSAFE-CHANGE",
        hint = "leave the rule out with --skip, or take it out of the policy or component; `coldforge reg set` writes a value \
                 without this check"
    )]
    Unsafe {
        /// The rules whose step it is.
        rules: String,
        /// The setting.
        setting: Setting,
        /// What hangs on it.
        reason: String,
        /// How many steps are refused.
        count: usize,
    },

    /// Two fields of the account policy would contradict each other.
    #[error("{one} and {other} contradict each other: {why}")]
    #[failure(refused, "E-POLICY-RANGE", hint = "change one of the two values, or leave both rules out with --skip")]
    BoundFields {
        /// The rules that set the first field.
        one: String,
        /// The rules that set the other one.
        other: String,
        /// The fields, and what they would be.
        why: String,
    },

    /// A step of a plan failed.
    #[error("the step for {} failed", rules.join(", "))]
    #[failure(transparent)]
    Step {
        /// The rules that the step is for.
        rules: Vec<String>,
        /// What the machine answered.
        source: Box<SettingError>,
    },

    /// A machine did not answer every step.
    #[error("the machine answered {answered} of {asked} steps")]
    #[failure(corrupt, hint = "report this with the output of `coldforge inspect --json`")]
    Answers {
        /// The steps that were asked for.
        asked: usize,
        /// The answers.
        answered: usize,
    },
}

/// What is wrong with a rule of a catalog.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// A member is missing, unknown or of the wrong type.
    #[error(transparent)]
    Shape(#[from] Box<toml::de::Error>),

    /// A word is none of those that may stand there.
    #[error("{member} is {found:?}, not {expected}")]
    Word {
        /// The member.
        member: &'static str,
        /// The word found.
        found: String,
        /// The words that may stand there.
        expected: &'static str,
    },

    /// A member holds a number or text that cannot stand there.
    #[error("{member} does not fit a {kind}")]
    TypeMismatch {
        /// The member.
        member: &'static str,
        /// The type of the value.
        kind: String,
    },

    /// A check has none or several of the members that name a setting.
    #[error("a check names {count} settings, not one")]
    Targets {
        /// How many it has.
        count: usize,
    },

    /// A check has none or several of the members that state a demand.
    #[error("a check states {count} demands, not one")]
    Demands {
        /// How many it has.
        count: usize,
    },

    /// A demand can never be met.
    #[error("no value meets the demand of {setting}")]
    Impossible {
        /// The setting.
        setting: Setting,
    },

    /// A check has several possible values and does not say which to write.
    #[error("the check of {setting} does not say which value to set")]
    NoSet {
        /// The setting.
        setting: Setting,
    },

    /// The value to write does not meet the demand.
    #[error("the value to set of {setting} does not meet its own demand")]
    BadSet {
        /// The setting.
        setting: Setting,
    },

    /// A key is not the full path of a key below HKLM or HKCU.
    #[error("{found:?} is not a key below HKLM or HKCU")]
    Key {
        /// The key found.
        found: String,
    },

    /// A rule has both checks and a reason not to be reviewed, or neither.
    #[error("a rule has either checks or a reason why it is not reviewed")]
    ChecksOrReason,

    /// An organization decides a value of which there is none or more than one, or the note is missing.
    #[error("{count} checks are the organization's, and the rule {}", if *noted { "says that one is" } else { "does not say so" })]
    Organization {
        /// How many checks are marked.
        count: usize,
        /// Whether the rule has its note.
        noted: bool,
    },

    /// A name does not stand in the table that it points to.
    #[error("{name:?} does not stand in [{table}]")]
    Unnamed {
        /// The name.
        name: String,
        /// The table.
        table: &'static str,
    },

    /// An id is given twice.
    #[error("{id} is already another rule's")]
    Duplicate {
        /// The id.
        id: String,
    },
}

/// What is wrong with an organization value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ValueFault {
    /// It is neither a number from 0 to 4294967295 nor a text.
    #[error("it is neither a number of 32 bits nor a text")]
    Shape,

    /// No rule has this id.
    #[error("there is no such rule{}", meant(nearest.as_deref()))]
    UnknownRule {
        /// The id that is nearest, if one is near.
        nearest: Option<String>,
    },

    /// The benchmark leaves no choice.
    #[error("the benchmark demands {required}")]
    Fixed {
        /// What the benchmark demands.
        required: String,
    },

    /// The rule is not assessed, so no value of it would be used.
    #[error("the rule is not assessed: {reason}")]
    NotAssessed {
        /// Why not.
        reason: String,
    },

    /// The benchmark does not allow the value.
    #[error("the value is {found}, and the benchmark demands {required}")]
    OutOfBounds {
        /// The value.
        found: String,
        /// What the benchmark demands.
        required: String,
    },

    /// The rule is named twice, by two of its ids.
    #[error("the rule has a value already")]
    Twice,
}

impl ValueFault {
    fn hint(&self) -> &'static str {
        match self {
            Self::Shape => "write a number, or a text in quotation marks",
            Self::UnknownRule { .. } => "look the rule up with `coldforge rules list`; a V-, SV- or STIG id names it",
            Self::Fixed { .. } => "leave this value out; the organization decides only where the benchmark lets it",
            Self::NotAssessed { .. } => "leave this value out; this version would not use it",
            Self::OutOfBounds { .. } => "choose a value that the benchmark allows, or waive the rule",
            Self::Twice => "name the rule once",
        }
    }
}

/// What is wrong with a waiver.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WaiverFault {
    /// No rule has this id.
    #[error("there is no such rule{}", meant(nearest.as_deref()))]
    UnknownRule {
        /// The id that is nearest, if one is near.
        nearest: Option<String>,
    },

    /// It does not say why, or who decided.
    #[error("its {member} is blank")]
    Blank {
        /// The member.
        member: &'static str,
    },

    /// Its last day is none.
    #[error("it expires on no day")]
    Day,

    /// The rule is named twice, by two of its ids.
    #[error("the rule is waived already")]
    Twice,
}

impl WaiverFault {
    fn hint(&self) -> &'static str {
        match self {
            Self::UnknownRule { .. } => "look the rule up with `coldforge rules list`; a V-, SV- or STIG id names it",
            Self::Blank { .. } => "write who decided, and why",
            Self::Day => "write the last day of the waiver as 2027-01-31",
            Self::Twice => "name the rule once",
        }
    }
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; {nearest} is near")).unwrap_or_default()
}

fn more(count: usize) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more such changes)"),
    }
}
