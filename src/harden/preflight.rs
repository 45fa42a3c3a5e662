//! Asks whether Amazon would take an image: from its container, its disk and its hives, without changing anything.

use std::path::Path;

use super::Result;
use crate::aws::preflight::{Container, Facts, Report, Route};
use crate::windows::Evidence;
use coldforge_base::{Failure as _, Kind};
use coldforge_disk::{Format, Image};

/// Checks the image at `path`. What stands against reading it is a part of the answer: a container that cannot be opened
/// fails the check that is about it, and leaves the others unknown.
///
/// # Errors
/// What the operating system answers.
pub fn preflight(path: &Path, format: Option<Format>, parent: Option<&Path>, route: Route) -> Result<Report> {
    let image = match Image::open_as(path, format, parent) {
        Ok(image) => image,
        // What stands against opening it now says nothing about its container.
        Err(error) if error.is_of_the_moment() => return Err(error.into()),
        Err(error) => {
            let reason = format!("{}: {error}", error.code().unwrap_or("the container is damaged"));
            return match error.kind() {
                Kind::Refused | Kind::Unsupported => Ok(Report::unopened(route, false, &reason)),
                Kind::Corrupt => Ok(Report::unopened(route, true, &reason)),
                Kind::Io | Kind::Limit | Kind::NotFound | Kind::Usage => Err(error.into()),
            };
        }
    };
    let evidence = Evidence::of(&image);
    Ok(Report::of(&Facts::new(Container::of(&image), &evidence, route, false)))
}
