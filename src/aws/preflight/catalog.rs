//! The list of all checks.

use super::check::Check;
use super::{access, boot, disk, drivers, identity, servicing, software};

/// What the checks about one area are, in the order of their ids.
const AREAS: [&[Check]; 6] =
    [disk::CHECKS, boot::CHECKS, identity::CHECKS, servicing::CHECKS, access::CHECKS, software::CHECKS];

/// Returns all checks by ascending id.
pub fn checks() -> Vec<&'static Check> {
    let mut all: Vec<&Check> = AREAS.iter().flat_map(|area| area.iter()).chain(drivers::CHECKS).collect();
    all.sort_by_key(|check| check.id);
    all
}
