//! The two routes by which an image becomes a machine: VM Import/Export and EBS snapshots.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The way from an image to a machine.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Route {
    /// `aws ec2 import-image`: AWS changes the image, installs drivers and starts it once.
    #[default]
    #[serde(rename = "import-image")]
    ImportImage,
    /// `aws ec2 import-snapshot`, or EBS direct, then `register-image`: nothing is changed, the image brings everything.
    #[serde(rename = "snapshot")]
    Snapshot,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A word that names no route.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the routes are import-image and snapshot")]
pub struct UnknownRoute;

impl FromStr for Route {
    type Err = UnknownRoute;

    fn from_str(word: &str) -> Result<Self, UnknownRoute> {
        match word {
            "import-image" => Ok(Self::ImportImage),
            "snapshot" => Ok(Self::Snapshot),
            _ => Err(UnknownRoute),
        }
    }
}
