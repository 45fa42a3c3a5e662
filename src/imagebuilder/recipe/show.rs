//! Shows a recipe: its images, and the bundles that were made of them.

use serde_json::{Value as Json, json};

use super::super::Result;
use super::super::schedule::Schedule;
use super::images::Image;
use super::loaded::Recipe;
use super::lock::{Lock, LockedBundle, sums_of};

impl Recipe {
    /// Reports for each image whether its bundle exists, by the lock. No image is read: whether one changed since is told by a
    /// run.
    ///
    /// # Errors
    /// What is wrong with the lock.
    pub fn show(&self) -> Result<Json> {
        let lock = Lock::read(&self.path.with_extension("lock"))?;
        let state = |entry: Option<&LockedBundle>| match entry
            .map(|entry| (entry, sums_of(&self.folder.join(&entry.bundle))))
        {
            None => "none",
            Some((_, None)) => "gone",
            Some((entry, Some(sums))) if sums == entry.sha256sums => "there",
            Some(_) => "changed",
        };
        let image = |image: &Image| {
            let entry = lock.image.get(&image.shown);
            json!({
                "image": image.shown,
                "format": image.format.map(|format| format.to_string()),
                "expected_sha256": image.sha256,
                "bundle": entry.map(|entry| self.folder.join(&entry.bundle).display().to_string()),
                "bundle_is": state(entry),
                "sha256sums": entry.map(|entry| &entry.sha256sums),
                "made_of": entry.map(|entry| &entry.inputs),
            })
        };
        Ok(json!({
            "schema": "coldforge/recipe-show/1",
            "recipe": self.path.display().to_string(),
            "name": self.document.name,
            "version": self.document.version,
            "description": self.document.description,
            "schedule": self.schedule.as_ref().map(Schedule::describe),
            "last_run": if lock.finished { "came to its end, or there was none" } else { "was broken off, or an image was not made" },
            "images": self.images.iter().map(image).collect::<Vec<_>>(),
        }))
    }
}
