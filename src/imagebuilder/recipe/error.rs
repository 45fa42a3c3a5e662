//! What is wrong with a recipe, or with what it names.

use std::path::PathBuf;

use thiserror::Error;

use coldforge_base::Failure;

/// A hint that several of these errors share.
const START_FROM_INIT: &str = "run `coldforge recipe init` for a recipe with the fields that there are";

/// A fault of a recipe.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Fault {
    /// It is no TOML, or a member has another type than it should.
    #[error("the recipe cannot be read")]
    #[failure(refused, "E-RECIPE", hint = START_FROM_INIT)]
    Document {
        /// What the reader says, with the line.
        source: Box<toml::de::Error>,
    },

    /// It is of another schema.
    #[error("the recipe is of schema `{}`, not of `{expected}`", one_line(found))]
    #[failure(refused, "E-RECIPE", hint = START_FROM_INIT)]
    Schema {
        /// The schema.
        found: String,
        /// The one that is read.
        expected: &'static str,
    },

    /// A field is not known.
    #[error("line {line}: there is no field `{name}`{}", meant(nearest.as_deref()))]
    #[failure(refused, "E-RECIPE", hint = START_FROM_INIT)]
    Field {
        /// Its line, from 1.
        line: usize,
        /// The field.
        name: String,
        /// The field that is nearest, if one is near.
        nearest: Option<String>,
    },

    /// A word is not one of those that a field takes.
    #[error("`{field}` is `{}`; expected {expected}", one_line(found))]
    #[failure(
        refused,
        "E-RECIPE",
        hint = "write into that field what is expected: `coldforge recipe schema` describes each"
    )]
    Word {
        /// The field.
        field: &'static str,
        /// The word.
        found: String,
        /// What it takes.
        expected: &'static str,
    },

    /// An assignment of the command line meets nothing that it could set.
    #[error("`{key}` cannot be set: there is no such table in the recipe")]
    #[failure(refused, "E-RECIPE", hint = START_FROM_INIT)]
    Key {
        /// The dotted key.
        key: String,
    },

    /// An image is not there, or a pattern matches none.
    #[error("the recipe names the image `{}`, and there is none", path.display())]
    #[failure(refused, "E-RECIPE-SOURCE", hint = "check the path: it counts from the recipe's folder")]
    Missing {
        /// The path or pattern.
        path: PathBuf,
    },

    /// An image is another one than the recipe expects.
    #[error("`{}` has SHA-256 {found}; the recipe expects {expected}", path.display())]
    #[failure(
        refused,
        "E-RECIPE-DIGEST",
        hint = "look at the image, and write the new digest into the recipe if it is the one you want"
    )]
    Digest {
        /// The image.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The expected one.
        expected: String,
    },

    /// Two images would become bundles of one name.
    #[error("two images would become the bundle `{name}`")]
    #[failure(refused, "E-RECIPE-OUTPUT", hint = "put {source.name} into output.name")]
    SameName {
        /// The name.
        name: String,
    },

    /// Something that no run of this recipe made has the name of a bundle.
    #[error("`{}` has the name of a new bundle, and is not in the lock", path.display())]
    #[failure(refused, "E-RECIPE-OUTPUT", hint = "raise the recipe's version, or remove it")]
    Taken {
        /// The place.
        path: PathBuf,
    },

    /// Somebody put a file into the bundle that a new one would take the place of.
    #[error("`{}` would be replaced, but contains `{file}`, which is not part of the bundle", path.display())]
    #[failure(refused, "E-RECIPE-OUTPUT", hint = "move that file away, or raise the recipe's version")]
    Added {
        /// The bundle.
        path: PathBuf,
        /// The file in it.
        file: String,
    },

    /// The schedule is none.
    #[error("the schedule `{}` cannot be read: {why}", one_line(text))]
    #[failure(
        refused,
        "E-RECIPE",
        hint = "write five fields (0 3 * * MON), cron(0 3 ? * MON *) or rate(7 days); times are UTC"
    )]
    Schedule {
        /// The schedule.
        text: String,
        /// What is wrong with it.
        why: String,
    },

    /// Another run writes to the same folder.
    #[error("another run writes to `{}`", path.display())]
    #[failure(refused, "E-RECIPE-BUSY", hint = "wait until that run has ended")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

/// Returns text of a recipe as a single line of a message.
fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let spelled = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    let mut line: String = text.chars().take(MAX_CHARS).map(spelled).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        line.push_str("...");
    }
    line
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; `{nearest}` is near")).unwrap_or_default()
}
