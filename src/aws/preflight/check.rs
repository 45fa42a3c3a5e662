//! What a check is: its id, the AWS requirement that it covers, and the function that runs it.

use std::fmt;

use super::facts::Facts;
use super::outcome::Answer;

/// A check.
pub struct Check {
    /// `P01` to `P48`.
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// What AWS requires, or what the first start needs.
    pub requires: &'static str,
    /// The error that it prevents, in AWS's words where there are any.
    pub prevents: &'static str,
    /// What to do.
    pub hint: &'static str,
    pub(super) run: fn(&Facts<'_>) -> Answer,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("id", &self.id).finish_non_exhaustive()
    }
}
