//! Recipes: one file that says which images are hardened, how, which tests the result must pass, and where it goes.
//!
//! A recipe is read into the same request that `coldforge harden` makes ([`crate::harden::Harden`]); there is no second way to
//! make a bundle. A bundle is tested under a temporary name, and gets its final name when every test passes. [`run`] keeps
//! a lock file next to the recipe, from which a later run knows what changed and what is already built.

mod assertion;
mod budget;
mod built_in_tests;
mod document;
mod error;
mod images;
mod loaded;
mod lock;
mod parsed;
mod report;
mod run;
mod show;

pub use error::Fault;
pub use loaded::Recipe;
pub(super) use lock::{added_to, sums_of};
pub use parsed::Heading;
pub use run::{Built, Options, Summary, TestReport, run};

/// The recipe that `coldforge recipe init` writes.
pub const TEMPLATE: &str = include_str!("template.toml");

/// The JSON Schema of a recipe.
pub const SCHEMA: &str = include_str!("recipe.schema.json");
