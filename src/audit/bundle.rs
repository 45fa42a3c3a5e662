//! The bundle: a folder that appears whole or not at all, with a manifest and `SHA256SUMS` over everything in it.
//!
//! A signed bundle holds two signatures: one of the audit log, listed like every file, and one of `SHA256SUMS`, which
//! names the digest of every other file. The latter alone can be listed nowhere.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::record::LinearChecksum;
use super::signature::{PublicKey, SecretKey, Signature};
use super::{Error, Result};
use crate::formats::json;
use coldforge_base::digest::Digest;
use coldforge_base::fs;
use coldforge_base::interrupt::{self, CriticalSection};
use coldforge_base::temporary::Folder;
use coldforge_base::time::Moment;

const SCHEMA: &str = "coldforge/manifest/1";
/// The list of files with digests and lengths.
pub const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";
const SUMS_SIGNATURE: &str = "SHA256SUMS.minisig";
const LOG: &str = "audit.jsonl";
/// The signature of the audit log.
pub const LOG_SIGNATURE: &str = "audit.jsonl.minisig";
/// Names that an image must not have, because other files of a bundle have them.
const RESERVED: [&str; 9] =
    [LOG, LOG_SIGNATURE, "aws", "policy", "provenance.json", "reports", MANIFEST, SUMS, SUMS_SIGNATURE];
/// Files that a bundle must list to be one.
const DEMANDED: [&str; 4] = [LOG, "aws/containers.json", "aws/import-image.json", "reports/assessment.json"];
/// Begins those of them that are about an upload, which a differencing disk is not fit for.
const UPLOAD: &str = "aws/";
/// A manifest or a list of sums is small; a stranger's bundle must not make us read more.
const LIST_LIMIT_BYTES: u64 = 16 << 20;
/// A log is text, a few hundred bytes a change.
const LOG_LIMIT_BYTES: u64 = 256 << 20;

/// A bundle being made, under a temporary name beside its place.
#[derive(Debug)]
pub struct Staging {
    folder: Folder,
    output: PathBuf,
    files: Vec<Listed>,
    signer: Option<(SecretKey, Moment)>,
}

/// What a bundle holds of the image that it is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// The image.
    #[default]
    Image,
    /// A differencing disk whose parent is the source.
    Delta,
    /// Nothing: the source itself was written to.
    Nothing,
}

/// A file of a bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The path inside the bundle, with `/`.
    pub path: String,
    /// The length.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema: &'static str,
    image: &'a str,
    holds: Holds,
    ebs_linear: &'a LinearChecksum,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<&'a str>,
    files: &'a [Listed],
}

impl Staging {
    /// Begins a bundle that will stand at `output`, which must not exist, or be an empty folder; `image` is the name
    /// that its image will have.
    ///
    /// # Errors
    /// [`Error::OutputExists`], [`Error::Name`], or the operating system's.
    pub fn begin(output: &Path, image: &str) -> Result<Self> {
        if RESERVED.contains(&image) || image.chars().any(char::is_control) {
            return Err(Error::Name { name: image.escape_default().to_string() });
        }
        let exists = || Error::OutputExists { path: output.to_owned() };
        match std::fs::symlink_metadata(output) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fs::failed("look at", output)(error).into()),
            Ok(metadata) if !metadata.is_dir() => return Err(exists()),
            Ok(_) => {
                let mut entries = std::fs::read_dir(output).map_err(fs::failed("read", output))?;
                if entries.next().is_some() {
                    return Err(exists());
                }
            }
        }
        output.file_name().ok_or_else(exists)?;
        let parent = parent(output);
        if !parent.is_dir() {
            return Err(fs::failed("find the folder", parent)(std::io::ErrorKind::NotFound.into()).into());
        }
        let folder = Folder::create(output).map_err(fs::failed("create a folder in", parent))?;
        Ok(Self { folder, output: output.to_owned(), files: Vec::new(), signer: None })
    }

    /// Returns where the file `path` of the bundle has to be written, its folders made.
    ///
    /// # Errors
    /// The operating system's.
    pub fn place(&self, path: &str) -> Result<PathBuf> {
        let mut place = self.folder.path().to_owned();
        let mut names = Path::new(path).components().peekable();
        while let Some(name) = names.next() {
            place.push(name);
            if names.peek().is_some() {
                // Never the staging folder itself: where a signal has removed it, it must not come back.
                match std::fs::create_dir(&place) {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                        return Err(fs::failed("create", &place)(error).into());
                    }
                    _ => {}
                }
            }
        }
        Ok(place)
    }

    /// Lists a file that was written at [`Staging::place`] and whose digest is known.
    pub fn list(&mut self, path: &str, bytes: u64, sha256: Digest) {
        self.files.push(Listed { path: path.to_owned(), bytes, sha256 });
    }

    /// Writes and lists a file.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let place = self.place(path)?;
        fs::write_new(&place, content)?;
        if path.ends_with(".sh") {
            fs::make_executable(&place)?;
        }
        self.list(path, content.len() as u64, Digest::of(content));
        Ok(())
    }

    /// Writes and lists a JSON document, indented, with a final line end; returns its digest.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write_json(&mut self, path: &str, document: &impl Serialize) -> Result<Digest> {
        let text = json::file(document);
        self.write(path, &text)?;
        Ok(Digest::of(&text))
    }

    /// Has the finished bundle signed with a key; its signatures tell this moment.
    pub fn sign(&mut self, key: SecretKey, now: Moment) {
        self.signer = Some((key, now));
    }

    /// Writes manifest, sums and signatures and puts the bundle in its place, durably.
    ///
    /// # Errors
    /// The operating system's. Nothing stands at the place then, unless only the last flush of its folder failed.
    pub fn finish(mut self, image: &str, holds: Holds, ebs_linear: &LinearChecksum) -> Result<Bundle> {
        let signer = self.signer.take();
        if let Some((key, now)) = &signer {
            let log = fs::read(&self.place(LOG)?, LOG_LIMIT_BYTES)?;
            self.write(LOG_SIGNATURE, key.sign(LOG, &log, *now).as_bytes())?;
        }
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let signed_by = signer.as_ref().map(|(key, _)| key.public());
        let signed = signed_by.as_ref().map(PublicKey::to_base64);
        let signed = signed.as_deref();
        let manifest = Manifest { schema: SCHEMA, image, holds, ebs_linear, signed_by: signed, files: &self.files };
        let text = json::file(&manifest);
        self.write(MANIFEST, &text)?;
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let sums = lines_of(&self.files);
        fs::write_new(&self.place(SUMS)?, sums.as_bytes())?;
        if let Some((key, now)) = &signer {
            fs::write_new(&self.place(SUMS_SIGNATURE)?, key.sign(SUMS, sums.as_bytes(), *now).as_bytes())?;
        }
        let folders: BTreeSet<PathBuf> = self
            .files
            .iter()
            .filter_map(|file| self.folder.path().join(&file.path).parent().map(Path::to_owned))
            .collect();
        for folder in &folders {
            fs::sync_folder(folder)?;
        }
        let folder = self.folder.path().to_owned();
        // tempfile makes the folder for its owner alone; a bundle is to be read by others.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))
                .map_err(fs::failed("set the permissions of", &folder))?;
        }
        // A signal that removes the folder meanwhile would leave a bundle that is not whole.
        let whole = CriticalSection::begin();
        if let Err(error) = std::fs::rename(&folder, &self.output) {
            // Another run was faster: the place is not empty any more.
            return Err(match error.kind() {
                std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::NotADirectory => {
                    Error::OutputExists { path: self.output.clone() }
                }
                _ => fs::failed("rename the finished bundle to", &self.output)(error).into(),
            });
        }
        self.folder.keep(); // it stands under its own name now
        interrupt::stands(&self.output, format!("the bundle `{}` is whole", self.output.display()));
        fs::sync_folder(parent(&self.output))?;
        drop(whole);
        let (image, ebs_linear) = (image.to_owned(), ebs_linear.clone());
        Ok(Bundle { folder: self.output, image, holds, ebs_linear, signed_by, files: self.files })
    }
}

/// Checks that a file which is not of a bundle would not be written into one: neither `folder` nor a folder above it is a
/// bundle.
///
/// # Errors
/// [`Error::InBundle`].
pub fn check_outside(folder: &Path) -> Result<()> {
    // A link or `..` in the path leads elsewhere than its words say; of what does not exist yet, its folder is asked.
    let asked = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let place = asked.ancestors().find_map(|path| path.canonicalize().ok()).unwrap_or(asked);
    let is_bundle = |path: &&Path| [MANIFEST, SUMS, LOG].iter().all(|list| path.join(list).symlink_metadata().is_ok());
    match place.ancestors().find(is_bundle) {
        Some(bundle) => Err(Error::InBundle { path: folder.to_owned(), bundle: bundle.to_owned() }),
        None => Ok(()),
    }
}

/// Returns the folder that a path lies in; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A bundle that stands.
#[derive(Debug)]
pub struct Bundle {
    /// The folder.
    pub folder: PathBuf,
    /// The image's file name.
    pub image: String,
    /// What the bundle holds of it.
    pub holds: Holds,
    /// The image's checksum, as the manifest has it.
    pub ebs_linear: LinearChecksum,
    /// The key that signed the bundle when it was made; `None` of one without signatures. Whose key it is, the bundle alone
    /// does not prove.
    pub signed_by: Option<PublicKey>,
    /// Every file that `SHA256SUMS` names.
    pub files: Vec<Listed>,
}

/// A file of a bundle that is not what the lists say.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Damage {
    /// The path inside the bundle.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

/// What [`Bundle::check`] says of a file that no list names.
const UNLISTED: &str = "is not listed in the manifest";

#[derive(Deserialize)]
struct ReadManifest {
    schema: String,
    image: String,
    #[serde(default)]
    holds: Holds,
    ebs_linear: LinearChecksum,
    #[serde(default)]
    signed_by: Option<String>,
    files: Vec<Listed>,
}

impl Bundle {
    /// Reads the lists of the bundle at `folder` and holds them against each other.
    ///
    /// # Errors
    /// [`Error::NotABundle`] if a list is missing, malformed, or names a path outside the bundle; the operating system's
    /// where it does not let a list be read, which says nothing about the bundle.
    pub fn open(folder: &Path) -> Result<Self> {
        let wrong = |file: &str, what| Error::NotABundle { path: folder.to_owned(), file: file.to_owned(), what };
        match std::fs::metadata(folder) {
            Err(error) => return Err(fs::failed("open the bundle", folder)(error).into()),
            Ok(metadata) if !metadata.is_dir() => {
                return Err(wrong(".", "a file where the folder of a bundle belongs"));
            }
            Ok(_) => {}
        }
        // A list that lies elsewhere can be changed without this folder being touched.
        let list = |file: &str| match std::fs::symlink_metadata(folder.join(file)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(wrong(file, "no such file")),
            Err(error) => Err(fs::failed("look at", &folder.join(file))(error).into()),
            Ok(metadata) if metadata.is_symlink() => Err(wrong(file, "a link where a list belongs")),
            Ok(metadata) if !metadata.is_file() => Err(wrong(file, "no plain file where a list belongs")),
            Ok(metadata) if metadata.len() > LIST_LIMIT_BYTES => Err(wrong(file, "more bytes than a list has")),
            Ok(_) => Ok(fs::read(&folder.join(file), LIST_LIMIT_BYTES)?),
        };
        let sums = String::from_utf8(list(SUMS)?).map_err(|_| wrong(SUMS, "bytes that are not text"))?;
        let mut listed = Vec::new();
        for line in sums.lines() {
            let (hex, path) = line.split_once("  ").ok_or_else(|| wrong(SUMS, "a malformed line"))?;
            let sha256 = Digest::from_hex(hex).ok_or_else(|| wrong(SUMS, "a malformed digest"))?;
            if !plain(path) {
                return Err(wrong(SUMS, "a path that leaves the bundle"));
            }
            listed.push((path.to_owned(), sha256));
        }
        let text = list(MANIFEST)?;
        if !listed.contains(&(MANIFEST.to_owned(), Digest::of(&text))) {
            return Err(wrong(MANIFEST, "another content than SHA256SUMS says"));
        }
        let manifest: ReadManifest =
            serde_json::from_slice(&text).map_err(|_| wrong(MANIFEST, "a document that is not a manifest"))?;
        if manifest.schema != SCHEMA {
            return Err(wrong(MANIFEST, "an unknown schema"));
        }
        let ReadManifest { image, holds, ebs_linear, signed_by, files, .. } = manifest;
        let signed = signed_by.as_deref();
        let again = Manifest {
            schema: SCHEMA,
            image: &image,
            holds,
            ebs_linear: &ebs_linear,
            signed_by: signed,
            files: &files,
        };
        if json::file(&again) != text {
            return Err(wrong(MANIFEST, "a member that is unknown, repeated, or not as this version writes it"));
        }
        if !files.is_sorted_by(|a, b| a.path <= b.path) {
            return Err(wrong(MANIFEST, "files that are not in the order of this version"));
        }
        let signed_by = signed_by.map(|text| PublicKey::parse(&text).ok().filter(|key| key.to_base64() == text));
        if signed_by == Some(None) {
            return Err(wrong(MANIFEST, "a public key that is none"));
        }
        let signed_by = signed_by.flatten();
        let mut files = files;
        files.push(Listed { path: MANIFEST.into(), bytes: text.len() as u64, sha256: Digest::of(&text) });
        if files.iter().any(|file| !plain(&file.path)) || !plain(&image) {
            return Err(wrong(MANIFEST, "a path that leaves the bundle"));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        listed.sort();
        for (file, (path, sha256)) in files.iter().zip(&listed) {
            if file.path != *path || file.sha256 != *sha256 {
                return Err(wrong(SUMS, "a line that the manifest contradicts"));
            }
        }
        if files.len() != listed.len() {
            return Err(wrong(SUMS, "another number of files than in the manifest"));
        }
        if files.windows(2).any(|pair| pair[0].path == pair[1].path) {
            return Err(wrong(MANIFEST, "a file that is listed twice"));
        }
        if sums != lines_of(&files) {
            return Err(wrong(SUMS, "lines that are not in the order and form of this version"));
        }
        let listed = |path: &str| files.iter().any(|file| file.path == path);
        if listed(&image) == (holds == Holds::Nothing) {
            return Err(wrong(MANIFEST, "no entry for the image, or one for an image that lies elsewhere"));
        }
        Ok(Self { folder: folder.to_owned(), image, holds, ebs_linear, signed_by, files })
    }

    /// Proves the signatures by the key that the manifest names: which there are, their form, and that the key made each.
    ///
    /// `is_proven` tells that a key is at hand to prove a signature of `SHA256SUMS` that somebody made later, with minisign
    /// itself; without it, a signature that the manifest does not announce is a file that anybody can have added.
    ///
    /// # Errors
    /// The operating system's.
    pub fn signature_faults(&self, is_proven: bool) -> Result<Vec<Damage>> {
        let is_listed = |path: &str| self.files.iter().any(|file| file.path == path);
        let stands = |path: &str| self.path(path).symlink_metadata().is_ok();
        let mut faults = Vec::new();
        for (path, is_there) in [(SUMS_SIGNATURE, stands(SUMS_SIGNATURE)), (LOG_SIGNATURE, is_listed(LOG_SIGNATURE))] {
            let what = match (&self.signed_by, is_there) {
                (None, false) => None,
                (Some(key), false) => Some(format!("is missing: the key {key} signed the bundle")),
                (None, true) if path == LOG_SIGNATURE || !is_proven => Some(
                    "is a signature that the manifest does not announce: one that was made later is proven with \
                     --public-key, any other is to be removed"
                        .to_owned(),
                ),
                // What is listed and missing is said by its list.
                (_, true) if !stands(path) => None,
                (expected, true) => match (self.signature(path)?, expected) {
                    (Err(damage), _) => Some(damage.what),
                    (Ok(signature), Some(_)) if !signature.is_own() => {
                        Some("has another untrusted comment than this program writes".to_owned())
                    }
                    (Ok(signature), Some(key)) => {
                        let signed = self.path(if path == LOG_SIGNATURE { LOG } else { SUMS });
                        key.prove(&fs::read(&signed, LOG_LIMIT_BYTES)?, &signature).err()
                    }
                    (Ok(_), None) => None,
                },
            };
            faults.extend(what.map(|what| Damage { path: path.to_owned(), what }));
        }
        Ok(faults)
    }

    /// Proves the signatures of the bundle; returns what each that holds tells, and what is wrong.
    ///
    /// # Errors
    /// The operating system's.
    pub fn check_signatures(&self, key: &PublicKey) -> Result<(Vec<String>, Vec<Damage>)> {
        let (mut proven, mut damages) = (Vec::new(), Vec::new());
        for (file, signature) in [(SUMS, SUMS_SIGNATURE), (LOG, LOG_SIGNATURE)] {
            // Whoever signs later, with minisign itself, signs what names all files.
            if signature == LOG_SIGNATURE && !self.files.iter().any(|file| file.path == signature) {
                continue;
            }
            if self.path(signature).symlink_metadata().is_err() {
                damages.push(Damage { path: signature.into(), what: "is missing: the bundle is not signed".into() });
                continue;
            }
            let said = match self.signature(signature)? {
                Err(damage) => Err(damage),
                Ok(signed) => {
                    let content = fs::read(&self.path(file), LOG_LIMIT_BYTES)?;
                    let proof = key.prove(&content, &signed).map(str::to_owned);
                    proof.map_err(|what| Damage { path: signature.into(), what })
                }
            };
            match said {
                Ok(comment) => {
                    proven.push(format!("{file}: the key {key} signed it ({})", comment.replace('\t', ", ")))
                }
                Err(damage) => damages.push(damage),
            }
        }
        Ok((proven, damages))
    }

    fn signature(&self, path: &str) -> Result<std::result::Result<Signature, Damage>> {
        if !self.path(path).symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(Err(Damage { path: path.into(), what: "is not a plain file".into() }));
        }
        let bytes = fs::read(&self.path(path), LIST_LIMIT_BYTES)?;
        let signature = std::str::from_utf8(&bytes).ok().and_then(Signature::parse);
        Ok(signature.ok_or(Damage { path: path.into(), what: "is not a signature as minisign writes it".into() }))
    }

    /// Returns the path of a file of the bundle.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Reads every file anew and returns those that are missing, changed or unlisted; `advance` hears of bytes read.
    ///
    /// # Errors
    /// The operating system's, other than a missing file, if nothing is found to be wrong elsewhere.
    pub fn check(&self, advance: &(dyn Fn(u64) + Sync)) -> Result<Vec<Damage>> {
        let (mut damages, mut unreadable) = (Vec::new(), None);
        let demanded = DEMANDED.iter().filter(|path| self.holds != Holds::Delta || !path.starts_with(UPLOAD));
        for demanded in demanded.filter(|path| !self.files.iter().any(|file| file.path == **path)) {
            damages
                .push(Damage { path: (*demanded).to_owned(), what: "is not listed, and every bundle has it".into() });
        }
        for file in &self.files {
            let path = self.folder.join(&file.path);
            let linked = Path::new(&file.path).parent().is_some_and(|folder| self.folder.join(folder).is_symlink());
            let what = match std::fs::symlink_metadata(&path) {
                _ if linked => Some("lies behind a link".to_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("is missing".to_owned()),
                Err(error) => {
                    unreadable = unreadable.or(Some(fs::failed("open", &path)(error).into()));
                    None
                }
                Ok(metadata) if !metadata.is_file() => Some("is not a plain file".to_owned()),
                Ok(metadata) if metadata.len() != file.bytes => {
                    Some(format!("has {} bytes instead of {}", metadata.len(), file.bytes))
                }
                Ok(_) => match digest_file(&path, advance) {
                    Ok(found) => {
                        (found != file.sha256).then(|| format!("has SHA-256 {found} instead of {}", file.sha256))
                    }
                    Err(error) => {
                        unreadable = unreadable.or(Some(error));
                        None
                    }
                },
            };
            damages.extend(what.map(|what| Damage { path: file.path.clone(), what }));
        }
        let mut known: BTreeSet<String> = self.files.iter().map(|file| file.path.clone()).collect();
        known.extend([SUMS, SUMS_SIGNATURE].map(str::to_owned));
        // The folders of listed files are known as well; an empty one beside them is not.
        let folders = self.files.iter().filter_map(|file| Some(format!("{}/", file.path.rsplit_once('/')?.0)));
        known.extend(folders.collect::<Vec<_>>());
        let mut found = Vec::new();
        if let Err(error) = list_files(&self.folder, "", &mut found) {
            unreadable = unreadable.or(Some(error));
        }
        let unlisted = found.into_iter().filter(|path| !known.contains(path));
        damages.extend(unlisted.map(|path| Damage { path: path.replace('\0', ""), what: UNLISTED.into() }));
        // A bundle that is broken anyway is broken, whatever else cannot be read.
        match unreadable {
            Some(error) if damages.is_empty() => Err(error),
            Some(error) => {
                damages.push(Damage { path: ".".into(), what: format!("cannot be read as a whole: {error}") });
                Ok(damages)
            }
            None => Ok(damages),
        }
    }
}

/// Returns a list of files as `sha256sum` writes it.
fn lines_of(files: &[Listed]) -> String {
    files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect()
}

/// Tells whether a listed path is relative and stays inside the bundle.
fn plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn list_files(folder: &Path, prefix: &str, found: &mut Vec<String>) -> Result<()> {
    // A bundle is two folders deep; a deeper tree is somebody else's and is listed by its top.
    for entry in std::fs::read_dir(folder).map_err(fs::failed("read", folder))? {
        let entry = entry.map_err(fs::failed("read", folder))?;
        // A name that is no text is none that a list can hold: the NUL keeps it from being taken for one.
        let name = match entry.file_name().to_str() {
            Some(name) => format!("{prefix}{name}"),
            None => format!("{prefix}{}\0", entry.file_name().to_string_lossy()),
        };
        let is_folder = entry.file_type().map_err(fs::failed("read", folder))?.is_dir();
        if is_folder && prefix.is_empty() {
            list_files(&entry.path(), &format!("{name}/"), found)?;
            found.push(format!("{name}/"));
        } else {
            found.push(name);
        }
    }
    found.sort();
    Ok(())
}

/// Returns the digest of a file; `advance` hears of bytes read.
///
/// # Errors
/// The operating system's.
pub fn digest_file(path: &Path, advance: &(dyn Fn(u64) + Sync)) -> Result<Digest> {
    use std::io::Read as _;
    let mut file = fs::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let length = file.read(&mut buffer).map_err(fs::failed("read", path))?;
        if length == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(&buffer[..length]);
        advance(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear() -> LinearChecksum {
        LinearChecksum { sha256_base64: "x".into(), blocks: 0 }
    }

    fn bundle(at: &Path) -> Bundle {
        let mut staging = Staging::begin(at, "disk.vhd").unwrap();
        staging.write("disk.vhd", b"image").unwrap();
        for file in DEMANDED {
            staging.write(file, b"{}").unwrap();
        }
        staging.finish("disk.vhd", Holds::Image, &linear()).unwrap()
    }

    #[test]
    fn a_bundle_appears_whole_and_is_found_intact() {
        let home = tempfile::tempdir().unwrap();
        bundle(&home.path().join("out"));
        let opened = Bundle::open(&home.path().join("out")).unwrap();
        assert_eq!(opened.image, "disk.vhd");
        assert_eq!(opened.check(&|_| ()).unwrap(), []);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "no temporary folder is left");
    }

    #[test]
    fn a_dropped_staging_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut staging = Staging::begin(&home.path().join("out"), "disk.vhd").unwrap();
        staging.write("disk.vhd", b"image").unwrap();
        drop(staging);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_occupied_place_is_refused_and_an_empty_folder_is_not() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "x").unwrap();
        assert!(matches!(Staging::begin(&home.path().join("file"), "disk.vhd"), Err(Error::OutputExists { .. })));
        assert!(matches!(Staging::begin(home.path(), "disk.vhd"), Err(Error::OutputExists { .. })));
        std::fs::create_dir(home.path().join("empty")).unwrap();
        bundle(&home.path().join("empty"));
        assert!(home.path().join("empty/SHA256SUMS").is_file());
    }

    #[test]
    fn names_that_would_break_the_lists_are_refused_at_once() {
        let home = tempfile::tempdir().unwrap();
        for name in ["audit.jsonl", "manifest.json", "SHA256SUMS", "aws", "reports", "new\nline.vhd"] {
            assert!(matches!(Staging::begin(&home.path().join("out"), name), Err(Error::Name { .. })), "{name}");
        }
    }

    #[test]
    fn a_link_is_no_place_for_a_bundle_and_hides_no_file_of_one() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("real")).unwrap();
        std::os::unix::fs::symlink(home.path().join("real"), home.path().join("link")).unwrap();
        let begun = Staging::begin(&home.path().join("link"), "disk.vhd");
        assert!(matches!(begun, Err(Error::OutputExists { .. })));
        let out = home.path().join("out");
        bundle(&out);
        std::fs::rename(out.join("reports"), home.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), out.join("reports")).unwrap();
        let damages = Bundle::open(&out).unwrap().check(&|_| ()).unwrap();
        assert!(damages.iter().any(|damage| damage.path == "reports/assessment.json"), "{damages:?}");
    }

    #[test]
    fn changed_missing_and_unlisted_files_are_named() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        bundle(&out);
        std::fs::write(out.join("disk.vhd"), b"imagE").unwrap();
        std::fs::remove_file(out.join("reports/assessment.json")).unwrap();
        std::fs::write(out.join("reports/b.json"), b"").unwrap();
        let damages = Bundle::open(&out).unwrap().check(&|_| ()).unwrap();
        let names: Vec<&str> = damages.iter().map(|damage| damage.path.as_str()).collect();
        assert_eq!(names, ["disk.vhd", "reports/assessment.json", "reports/b.json"]);
    }

    #[test]
    fn a_file_is_not_written_into_a_bundle_by_any_path() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        bundle(&out);
        std::os::unix::fs::symlink(&out, home.path().join("link")).unwrap();
        for inside in ["out", "out/reports", "out/new", "out/new/deep", "link", "link/new"] {
            let error = check_outside(&home.path().join(inside)).expect_err(inside);
            assert!(matches!(error, Error::InBundle { .. }) && error.to_string().contains("out"), "{inside}");
        }
        for outside in ["", "beside", "beside/deep"] {
            check_outside(&home.path().join(outside)).unwrap();
        }
    }

    #[test]
    fn every_flipped_byte_of_manifest_and_sums_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        bundle(&out);
        for name in [MANIFEST, SUMS] {
            let whole = std::fs::read(out.join(name)).unwrap();
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut damaged = whole.clone();
                    damaged[at] ^= 1 << bit;
                    std::fs::write(out.join(name), &damaged).unwrap();
                    let error = Bundle::open(&out).expect_err("a list that was changed is no list");
                    let Error::NotABundle { file, .. } = error else { panic!("{error}") };
                    assert!(file == name || name == SUMS, "bit {bit} of byte {at} of {name} is laid to {file}");
                }
            }
            std::fs::write(out.join(name), &whole).unwrap();
        }
    }

    #[test]
    fn a_path_that_leaves_the_bundle_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        bundle(&out);
        let sums = std::fs::read_to_string(out.join(SUMS)).unwrap();
        std::fs::write(out.join(SUMS), sums.replace("disk.vhd", "../disk.vhd")).unwrap();
        assert!(matches!(Bundle::open(&out), Err(Error::NotABundle { what: "a path that leaves the bundle", .. })));
    }
}
