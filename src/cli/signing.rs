//! Where the keys of signatures come from. No password is ever asked for, nor taken from the command line, which others
//! on the machine can read.

use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

use super::{Result, boxed};
use crate::audit::{PublicKey, SecretKey};
use coldforge_base::{Failure, fs};

/// The variable that holds a secret key's password.
const PASSWORD: &str = "COLDFORGE_SIGN_PASSWORD";
/// Begins the name of a variable that holds a secret key.
const VARIABLE: &str = "env:";
/// A key file is two lines.
const LIMIT_BYTES: u64 = 64 << 10;

/// Who signs.
#[derive(Args, Debug)]
pub(super) struct Signing {
    /// Sign the bundle with a secret key of minisign: its file, or env:NAME for an environment variable that holds it
    ///
    /// A key under a password opens with the one in COLDFORGE_SIGN_PASSWORD, or with --sign-password-file. `minisign -Vm
    /// SHA256SUMS -p KEY.pub` and `sha256sum -c SHA256SUMS` then prove the bundle, as `verify --public-key` does.
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    sign: Option<String>,

    /// The file whose first line is the secret key's password
    #[arg(long, value_name = "FILE", requires = "sign")]
    sign_password_file: Option<PathBuf>,
}

/// A variable that should hold a key.
#[derive(Debug, Error, Failure)]
#[error("there is no key in the environment variable `{name}`")]
#[failure(usage, hint = "put the text of the secret key file into it, or its second line")]
struct NoKey {
    name: String,
}

impl Signing {
    /// Returns the key, if there is to be a signature.
    pub(super) fn key(&self) -> Result<Option<SecretKey>> {
        let Some(place) = &self.sign else { return Ok(None) };
        let text = match place.strip_prefix(VARIABLE) {
            Some(name) => std::env::var(name).map_err(|_| boxed(NoKey { name: name.to_owned() }))?,
            None => text_of(Path::new(place))?,
        };
        let password = match &self.sign_password_file {
            Some(path) => Some(text_of(path)?.lines().next().unwrap_or_default().to_owned()),
            None => std::env::var(PASSWORD).ok(),
        };
        SecretKey::parse(&text, password.as_deref()).map(Some).map_err(boxed)
    }
}

/// Reads a public key from a file of this name, or from the text itself.
pub(super) fn public_key(place: &str) -> Result<PublicKey> {
    match PublicKey::parse(place) {
        Ok(key) => Ok(key),
        Err(_) => PublicKey::parse(&text_of(Path::new(place))?).map_err(boxed),
    }
}

fn text_of(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path, LIMIT_BYTES).map_err(boxed)?).into_owned())
}
