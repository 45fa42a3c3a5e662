//! The pipelines of a folder: `FOLDER/*.toml` and `FOLDER/NAME/recipe.toml`, each parsed by the one parser of recipes.
//!
//! A recipe that cannot be used is reported with its file and does not stop the others. Links are not followed: the target
//! of a link is not in this folder.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{PipelineFault, Result};
use super::recipe::Heading;
use coldforge_base::{Failure, fs};

/// The most recipes of a folder: each is read at once.
const MAX_RECIPES: usize = 1000;
/// The most entries of any kind in a folder.
const MAX_ENTRIES: usize = 100_000;

/// The pipelines of a folder.
#[derive(Debug)]
pub struct Pipelines {
    /// The folder, as it was named.
    pub folder: PathBuf,
    /// The usable recipes, by name.
    pub headings: Vec<Heading>,
    /// The unusable recipes, by file.
    pub unusable: Vec<UnusableRecipe>,
}

/// A recipe of a folder that cannot be used.
#[derive(Debug, Failure)]
#[failure(transparent, otherwise = "run `coldforge recipe lint` on the file to see what is wrong")]
pub struct UnusableRecipe {
    /// The recipe.
    pub path: PathBuf,
    /// Its name, if that could be read.
    pub name: Option<String>,
    /// Why.
    pub source: Box<dyn Failure>,
}

impl fmt::Display for UnusableRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be used", self.path.display())
    }
}

impl std::error::Error for UnusableRecipe {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl UnusableRecipe {
    fn new(path: &Path, source: impl Failure) -> Self {
        Self { path: path.to_owned(), name: None, source: Box::new(source) }
    }

    /// Returns the fault of a recipe whose own text is valid.
    pub fn of(heading: &Heading, fault: PipelineFault) -> Self {
        Self { path: heading.path.clone(), name: Some(heading.name.clone()), source: Box::new(fault) }
    }

    /// Returns whether a pipeline name refers to this recipe: its own name, or that of its file or folder.
    pub fn is_named(&self, name: &str) -> bool {
        let home = self.path.parent().filter(|_| self.path.ends_with("recipe.toml"));
        self.name.as_deref() == Some(name)
            || [self.path.file_stem(), home.and_then(Path::file_name)].contains(&Some(name.as_ref()))
    }
}

impl Pipelines {
    /// Reads the recipes of a folder.
    ///
    /// # Errors
    /// If the folder cannot be read, or holds too many entries.
    pub fn read(folder: &Path) -> Result<Self> {
        let too_many = |most, what| PipelineFault::TooMany { folder: folder.to_owned(), most, what };
        let mut paths = Vec::new();
        let entries = std::fs::read_dir(folder).map_err(fs::failed("list", folder))?;
        for (number, entry) in entries.enumerate() {
            if number >= MAX_ENTRIES {
                return Err(too_many(MAX_ENTRIES, "entries").into());
            }
            let path = entry.map_err(fs::failed("list", folder))?.path();
            let inner = path.join("recipe.toml");
            if path.is_dir() {
                if inner.symlink_metadata().is_ok() {
                    paths.push((path.is_symlink() || inner.is_symlink(), inner));
                }
            } else if path.extension().is_some_and(|suffix| suffix == "toml") && (path.is_symlink() || path.is_file()) {
                paths.push((path.is_symlink(), path));
            }
            if paths.len() > MAX_RECIPES {
                return Err(too_many(MAX_RECIPES, "recipes").into());
            }
        }
        paths.sort();
        let mut found = Self { folder: folder.to_owned(), headings: Vec::new(), unusable: Vec::new() };
        for (is_link, path) in paths {
            match (is_link, Heading::read(&path)) {
                (_, Ok(None)) => {}
                (true, _) => found.unusable.push(UnusableRecipe::new(&path, PipelineFault::Link)),
                (false, Ok(Some(heading))) => found.headings.push(heading),
                (false, Err(error)) => found.unusable.push(UnusableRecipe::new(&path, error)),
            }
        }
        found.part();
        found.headings.sort_by(|one, other| one.name.cmp(&other.name));
        found.unusable.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Sets recipes of one name aside: a name means one pipeline, on file systems that do not tell case as well.
    fn part(&mut self) {
        let all = std::mem::take(&mut self.headings);
        for (number, heading) in all.iter().enumerate() {
            let is_same =
                |(at, other): &(usize, &Heading)| *at != number && other.name.eq_ignore_ascii_case(&heading.name);
            match all.iter().enumerate().find(is_same) {
                None => self.headings.push(heading.clone()),
                Some((_, other)) => {
                    let fault = PipelineFault::Twice { name: other.name.clone(), other: other.path.clone() };
                    self.unusable.push(UnusableRecipe::of(heading, fault));
                }
            }
        }
    }

    /// Returns the pipeline of a name.
    ///
    /// # Errors
    /// [`PipelineFault::Unknown`].
    pub fn named(&self, name: &str) -> std::result::Result<&Heading, PipelineFault> {
        let unknown = || PipelineFault::Unknown { name: name.to_owned(), folder: self.folder.clone() };
        self.headings.iter().find(|heading| heading.name == name).ok_or_else(unknown)
    }
}
