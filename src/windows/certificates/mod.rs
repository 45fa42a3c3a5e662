//! Certificates in the stores of the machine.
//!
//! `SOFTWARE\Microsoft\SystemCertificates\<store>\Certificates\<SHA-1>`, value `Blob`, holds one; group policy keeps
//! others below `SOFTWARE\Policies\Microsoft\SystemCertificates` in the same form, and Windows shows both as one store.
//! Here they are found in either place, installed in the first, and removed from both.

pub mod blob;
mod der;
pub mod input;
mod x509;

use std::path::PathBuf;

use thiserror::Error;

pub use x509::Certificate;

use self::blob::{Blob, Malformed};
use coldforge_base::failure::Code;
use coldforge_base::time::FileTime;
use coldforge_base::{CellOffset, Extent, Failure, fs};
use coldforge_regf::{self as regf, Edit, Hive, Lookup};

/// Where the stores are in SOFTWARE: the machine's own, and those of group policy.
const STORES: [&str; 2] = [r"Microsoft\SystemCertificates", r"Policies\Microsoft\SystemCertificates"];
const BLOB: &str = "Blob";
const BINARY: u32 = 3;

/// The stores that certificates may be installed in and removed from. Not `MY`: its certificates belong to keys.
const WRITABLE: [&str; 7] = ["AuthRoot", "CA", "Disallowed", "ROOT", "Trust", "TrustedPeople", "TrustedPublisher"];

/// A hint that several of these errors share.
const INSTALL_AGAIN: &str = "delete the damaged certificate with `coldforge reg delete`, and install it anew";
/// A hint that several of these errors share.
const FORMS: &str = "give certificates in DER or PEM, or bundles (.p7b) of them with definite lengths, and no keys";

/// The codes of stored certificates.
pub(super) const CODES: &[Code] = Malformed::CODES;

/// Why a certificate cannot be read, installed or removed.
#[derive(Debug, Error, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The hive failed.
    #[error("the hive cannot be used")]
    #[failure(transparent)]
    Hive(#[from] regf::Error),
    /// A value does not hold a certificate.
    #[error("the certificate `{key}` cannot be read")]
    #[failure(transparent)]
    Blob {
        /// The key.
        key: String,
        /// What is wrong.
        source: Malformed,
    },
    /// A key is named by another thumbprint than its certificate has.
    #[error("the certificate in `{key}` has the thumbprint {actual}")]
    #[failure(refused, "E-CERT-BLOB", hint = INSTALL_AGAIN)]
    Thumbprint {
        /// The key.
        key: String,
        /// The thumbprint of what it holds.
        actual: String,
    },
    /// A key has no value with a certificate.
    #[error("`{key}` has no value `Blob` of type REG_BINARY")]
    #[failure(refused, "E-CERT-BLOB", hint = INSTALL_AGAIN)]
    NoBlob {
        /// The key.
        key: String,
    },
    /// The store is none that may be changed.
    #[error("the certificate store `{store}` is none that is changed")]
    #[failure(
        refused,
        "E-CERT-STORE",
        hint = "name ROOT, CA, Disallowed, AuthRoot, Trust, TrustedPeople or TrustedPublisher"
    )]
    Store {
        /// The store.
        store: String,
    },
    /// Bytes are no certificate.
    #[error("the bytes are no certificate in DER")]
    #[failure(refused, "E-CERT-INPUT", hint = FORMS)]
    NoCertificate,
    /// A certificate was to be installed under another thumbprint than its own.
    #[error("the certificate has the thumbprint {actual}, not {expected}")]
    #[failure(refused, "E-CERT-THUMBPRINT", hint = "give the certificate that the rule names, or mend the rule")]
    Other {
        /// The thumbprint asked for.
        expected: String,
        /// That of the certificate.
        actual: String,
    },
    /// A file holds no certificates, or something else as well.
    #[error("`{}` does not hold certificates, and nothing else, in DER, PEM or PKCS #7", path.display())]
    #[failure(refused, "E-CERT-INPUT", hint = FORMS)]
    Input {
        /// The file.
        path: PathBuf,
    },
    /// A folder holds no file of certificates.
    #[error("`{}` has no file that is named as certificates are", path.display())]
    #[failure(refused, "E-CERT-INPUT", hint = FORMS)]
    NoInput {
        /// The folder.
        path: PathBuf,
    },
    /// A file of certificates cannot be read.
    #[error(transparent)]
    #[failure(transparent)]
    File(#[from] fs::Error),
}

/// The answer of every function here.
pub type Result<T> = std::result::Result<T, Error>;

/// A certificate in a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Installed {
    /// The certificate with its properties.
    pub blob: Blob,
    /// Whether group policy keeps it.
    pub by_policy: bool,
    /// The cell of the value.
    pub cell: CellOffset,
}

/// Finds a certificate of a store of the machine by its thumbprint.
///
/// # Errors
/// [`Error::Blob`], [`Error::NoBlob`], [`Error::Thumbprint`] if what is there is damaged; [`Error::Hive`].
pub fn find(software: &dyn Lookup, store: &str, thumbprint: &str) -> Result<Option<Installed>> {
    for (root, by_policy) in STORES.into_iter().zip([false, true]) {
        let path = path(root, store, thumbprint);
        if let Some(key) = software.key(&path)? {
            let (blob, cell) = read(&path, &key)?;
            return Ok(Some(Installed { blob, by_policy, cell }));
        }
    }
    Ok(None)
}

/// Returns every certificate of a store of the machine, those of group policy last.
///
/// # Errors
/// As [`find`].
pub fn list(software: &dyn Lookup, store: &str) -> Result<Vec<Installed>> {
    let mut found = Vec::new();
    for (root, by_policy) in STORES.into_iter().zip([false, true]) {
        let folder = format!(r"{root}\{store}\Certificates");
        let Some(key) = software.key(&folder)? else { continue };
        for key in key.subkeys()? {
            let key = key?;
            let name = String::from_utf16_lossy(&key.name().units().collect::<Vec<_>>());
            let (blob, cell) = read(&format!(r"{folder}\{name}"), &key)?;
            found.push(Installed { blob, by_policy, cell });
        }
    }
    Ok(found)
}

/// Installs a certificate in a store of the machine, unless it is there already.
///
/// # Errors
/// [`Error::Store`], [`Error::Hive`]; nothing is changed then.
pub fn install(software: &mut Hive, store: &str, certificate: &Certificate, now: FileTime) -> Result<Edit> {
    let store = writable(store)?;
    let thumbprint = certificate.thumbprint();
    // What is there and sound stays as it is, whatever properties it has; a damaged one is replaced.
    if let Ok(Some(Installed { cell, .. })) = find(software, store, &thumbprint) {
        return Ok(Edit { before: None, cell, touched: Vec::new() });
    }
    let (path, blob) = (path(STORES[0], store, &thumbprint), certificate.blob().to_bytes());
    Ok(software.growing(|hive| hive.set_value(&path, BLOB, BINARY, &blob, now))?)
}

/// Removes a certificate from a store of the machine, wherever it is; `None` if it is not there.
///
/// # Errors
/// [`Error::Store`], [`Error::Hive`].
pub fn remove(software: &mut Hive, store: &str, thumbprint: &str, now: FileTime) -> Result<Option<Edit>> {
    let store = writable(store)?;
    let mut done: Option<Edit> = None;
    for root in STORES {
        let path = path(root, store, thumbprint);
        let before = software.key(&path)?.map(|key| value_of(&key)).transpose()?.flatten();
        let Some(edit) = software.growing(|hive| hive.delete_tree(&path, now))? else { continue };
        let touched: Vec<Extent> = done.iter().flat_map(|done| done.touched.clone()).chain(edit.touched).collect();
        let (before, cell) = match done {
            Some(done) => (done.before, done.cell),
            None => (before.as_ref().map(|(kind, data, _)| (*kind, data.clone())), edit.cell),
        };
        done = Some(Edit { before, cell, touched: coldforge_base::offset::normalize(touched) });
    }
    Ok(done)
}

fn path(root: &str, store: &str, thumbprint: &str) -> String {
    format!(r"{root}\{store}\Certificates\{thumbprint}")
}

/// Returns the store with the case of letters that Windows gives it.
fn writable(store: &str) -> Result<&'static str> {
    let known = WRITABLE.into_iter().find(|known| known.eq_ignore_ascii_case(store));
    known.ok_or_else(|| Error::Store { store: store.to_owned() })
}

/// Returns type, data and cell of a key's blob.
fn value_of(key: &regf::Key<'_>) -> regf::Result<Option<(u32, Vec<u8>, CellOffset)>> {
    let Some(value) = key.value(BLOB)? else { return Ok(None) };
    Ok(Some((value.kind(), value.data()?.into_owned(), value.cell())))
}

/// Reads the certificate in a key, and checks that the key is named for it.
fn read(path: &str, key: &regf::Key<'_>) -> Result<(Blob, CellOffset)> {
    let Some((BINARY, data, cell)) = value_of(key)? else { return Err(Error::NoBlob { key: path.to_owned() }) };
    let blob = Blob::parse(&data).map_err(|source| Error::Blob { key: path.to_owned(), source })?;
    let actual = x509::thumbprint(blob.certificate());
    match key.name().is(&actual) {
        true => Ok((blob, cell)),
        false => Err(Error::Thumbprint { key: path.to_owned(), actual }),
    }
}
