//! Proves a bundle from its own files, and with the source at hand also that nothing else was changed.
//!
//! Every claim of the log is derived anew: digests, chain, checksum, the digest of every changed file in the image, the
//! value of every changed setting, the assessment, and (with the source) every byte that differs.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde::Serialize;

use super::digests::{self, Sums, unsent};
use super::edit::Edit;
use super::job;
use super::{Emission, Error, Request, Result, reports, scope};
use crate::audit::{self, AssessmentDocument, Bundle, ChangeRecord, Holds, ImageRecord, Log, Numbered, PublicKey};
use crate::aws::preflight::{Container, Facts, Report};
use crate::aws::{self, Import};
use crate::component;
use crate::policy::Assessment;
use crate::windows::setting::{Readings as _, Setting, Value};
use crate::windows::{BootMode, Evidence, Machine};
use coldforge_base::digest::Digest;
use coldforge_base::offset::normalize;
use coldforge_base::progress::{Progress, Silent};
use coldforge_base::time::Moment;
use coldforge_base::{Extent, ReadAt as _, fs};
use coldforge_disk::{self as disk, Blocks, Format, Image, Overlay};

/// A log is text, a few hundred bytes a change; a stranger's must not fill our memory.
const LOG_LIMIT_BYTES: u64 = 256 << 20;

/// What was proven of a bundle.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Proof {
    /// What holds, one sentence each, in the order of proving.
    pub proven: Vec<String>,
    /// What does not hold; a bundle without problems is intact.
    pub problems: Vec<Problem>,
    /// What was noticed and proves nothing either way.
    pub notes: Vec<String>,
    /// What the result covers, one sentence each, as the log and every report say it; proven by a fresh assessment.
    pub scope: Vec<String>,
    /// The fresh assessment of the image; `None` if it did not come to that, and then there are problems.
    #[serde(skip)]
    pub assessment: Option<Assessment>,
}

/// What is given beside a bundle.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The source: it proves that nothing else was changed.
    pub source: Option<&'a Path>,
    /// The image of a run in place, which lies in no bundle.
    pub image: Option<&'a Path>,
    /// The parent of a source that is a differencing disk and has its parent elsewhere.
    pub parent: Option<&'a Path>,
    /// The key that must have signed the bundle.
    pub public_key: Option<PublicKey>,
}

impl Given<'_> {
    /// Opens the image that a bundle is about, of the container that its log names.
    fn open(&self, bundle: &Bundle, recorded: &ImageRecord) -> Result<Image> {
        let format: Option<Format> = recorded.format.parse().ok();
        Ok(match (bundle.holds, self.image) {
            (Holds::Nothing, None) => return Err(Error::ImageElsewhere { name: bundle.image.clone() }),
            (Holds::Nothing, Some(image)) => Image::open_as(image, format, None)?,
            (Holds::Delta, _) => Image::open_as(&bundle.path(&bundle.image), format, self.source)?,
            (Holds::Image, _) => Image::open_as(&bundle.path(&bundle.image), format, None)?,
        })
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// The file or the part of it.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl Proof {
    fn hold(&mut self, place: &str, claim: &str, holds: bool) {
        if holds {
            self.proven.push(format!("{place}: {claim}"));
        } else {
            self.problems.push(Problem { place: place.to_owned(), what: format!("it does not hold that {claim}") });
        }
    }

    fn deny(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), what: what.into() });
    }
}

/// Proves the bundle in `folder`, and with the source also that the image differs from it only where the log says.
///
/// # Errors
/// [`Error::NotJudged`] where nothing is found to be wrong and yet not everything could be looked at: if a file cannot be
/// opened now, if an image is used by another program or has a journal that is not obeyed, or if something is needed that
/// was not given ([`Error::ImageElsewhere`], or [`disk::Error::ParentMissing`] for a differencing disk without its
/// source). Everything that is wrong with the bundle itself is a [`Problem`], also that it is none.
pub fn verify(folder: &Path, given: Given<'_>, progress: &dyn Progress) -> Result<Proof> {
    let mut proof = Proof::default();
    match prove(folder, given, progress, &mut proof) {
        Ok(()) => Ok(proof),
        // A bundle that is broken anyway does not verify, whatever else could not be looked at.
        Err(error) if !proof.problems.is_empty() => {
            proof.notes.push(format!("not everything was looked at: {}", chain_of(&error)));
            Ok(proof)
        }
        Err(error) => Err(Error::NotJudged { folder: folder.to_owned(), source: Box::new(error) }),
    }
}

fn prove(folder: &Path, given: Given<'_>, progress: &dyn Progress, proof: &mut Proof) -> Result<()> {
    let bundle = match Bundle::open(folder) {
        Ok(bundle) => bundle,
        Err(audit::Error::NotABundle { file, what, .. }) => {
            proof.deny(file, format!("this is no whole bundle: {what}"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    progress.start("digesting", bundle.files.iter().map(|file| file.bytes).sum());
    for damage in bundle.check(&|bytes| progress.advance(bytes))? {
        proof.deny(damage.path, damage.what);
    }
    if proof.problems.is_empty() {
        proof.proven.push(format!("{} files have the digests of manifest.json and SHA256SUMS", bundle.files.len()));
    }
    prove_signatures(&bundle, given.public_key.as_ref(), proof)?;
    let Some(log) = prove_log(&bundle, proof) else { return Ok(()) };
    if let Err(error) = prove_reports(&bundle, proof) {
        proof.deny(reports::ASSESSMENT, format!("the reports cannot be made again: {}", chain_of(&error)));
    }
    let benchmark = match reports::benchmark(&bundle) {
        Ok(benchmark) => benchmark,
        Err(error) => {
            proof.deny("policy", chain_of(&error));
            return Ok(());
        }
    };
    let request = request_of(&bundle, &log, benchmark);
    if holds_of(&log.trailer.output) != bundle.holds {
        proof.deny("manifest.json", "it says otherwise than the log what the bundle holds of the image");
    }
    prove_names(&bundle, &log, proof);
    prove_kinds(&bundle, request.as_ref().ok(), proof);
    if proof.problems.iter().any(|problem| problem.place == bundle.image) {
        return Ok(()); // a damaged image is not worth parsing: its digest already told
    }
    progress.start("assessing", 0);
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            proof.deny(reports::LOG, chain_of(&error));
            return Ok(());
        }
    };
    if let Err(error) = prove_image(&bundle, (&log, &request), given, proof) {
        let is_asked_for = matches!(&error, Error::ImageElsewhere { .. })
            || matches!(&error, Error::Disk(disk::Error::ParentMissing { .. }))
                && given.source.is_none()
                && bundle.holds != Holds::Image;
        if is_asked_for || is_of_the_moment(&error) {
            return Err(error);
        }
        proof.deny(&bundle.image, format!("it cannot be judged: {}", chain_of(&error)));
        return Ok(());
    }
    if let Some(source) = given.source {
        prove_difference(&bundle, (&log, &request), (source, given), progress, proof)?;
    } else {
        proof.notes.push("without --source it is not proven that nothing else differs from the source".to_owned());
    }
    progress.finish();
    Ok(())
}

/// Tells whether an error, or what caused it, is about the moment and not about what is proven: what the operating system
/// answers, an image that another program uses, a journal that is not obeyed.
fn is_of_the_moment(error: &Error) -> bool {
    if let Error::Disk(error) = error
        && error.is_of_the_moment()
    {
        return true;
    }
    let first: &(dyn std::error::Error + 'static) = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    // A file that ends too early, or holds what it should not, is the file's own fault.
    let of_file = [ErrorKind::UnexpectedEof, ErrorKind::InvalidData, ErrorKind::FileTooLarge];
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|answer| !of_file.contains(&answer.kind()))
}

/// Proves that the names in the log agree with each other, and that the files for AWS are made of the options that it
/// names.
fn prove_names(bundle: &Bundle, log: &Log, proof: &mut Proof) {
    let header = &log.header;
    let format = log.trailer.output.format.parse().ok();
    let target = match (bundle.holds, format) {
        (_, None) => None,
        (Holds::Nothing, Some(_)) => Some(Emission::InPlace),
        (Holds::Delta, Some(_)) => Some(Emission::New(disk::Target::Delta)),
        (Holds::Image, Some(format)) => Some(Emission::New(disk::Target::Format(format))),
    };
    let named = Some(header.source.name.as_str()).filter(|name| !name.is_empty() && !name.contains('/'));
    let expected: Vec<String> = match (target, format, named) {
        (Some(target), Some(format), Some(name)) => {
            // A copy of a device is named by the container that was read.
            let read = header.source.format.parse::<Format>().ok();
            let copied =
                read.filter(|_| bundle.holds != Holds::Nothing).map(|read| format!("{name}.{}", read.ending()));
            [Some(name.to_owned()), copied].into_iter().flatten().map(|name| target.name(&name, format)).collect()
        }
        _ => Vec::new(),
    };
    proof.hold(
        reports::LOG,
        "the image is called what such a run calls the image of the source that the header names",
        expected.contains(&bundle.image),
    );
    if bundle.holds == Holds::Delta {
        proof.hold(reports::LOG, "the header names no options for AWS", header.aws.is_none());
        return;
    }
    let listed = bundle.files.iter().find(|file| file.path == aws::OPTIONS);
    proof.hold(
        aws::OPTIONS,
        "these are the options for AWS that the log's header names by their digest",
        listed.is_some_and(|file| header.aws.as_ref().is_some_and(|aws| aws.options_sha256 == file.sha256)),
    );
}

/// Returns what a bundle holds of an image that a log describes: one that was written in place has no digest of its file.
fn holds_of(output: &ImageRecord) -> Holds {
    let format: Option<Format> = output.format.parse().ok();
    match (output.sha256.is_none(), format.is_some_and(|format| format != format.alone())) {
        (true, _) => Holds::Nothing,
        (false, true) => Holds::Delta,
        (false, false) => Holds::Image,
    }
}

/// Proves the chain of the log, and that its lines hold what this version writes and nothing else; `None` if there is no
/// log that could be read.
fn prove_log(bundle: &Bundle, proof: &mut Proof) -> Option<Log> {
    let text = match fs::read(&bundle.path(reports::LOG), LOG_LIMIT_BYTES).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            proof.deny(reports::LOG, "it is no text");
            return None;
        }
        Err(error) => {
            proof.deny(reports::LOG, chain_of(&error));
            return None;
        }
    };
    let log = match Log::read(&text) {
        Ok(log) => log,
        Err(fault) => {
            proof.deny(format!("audit.jsonl line {}", fault.line), fault.what);
            return None;
        }
    };
    proof.proven.push(format!("audit.jsonl: {} lines form an unbroken chain", log.lines));
    if log.header.schema != audit::SCHEMA {
        proof.deny("audit.jsonl line 1", format!("its schema is not {}", audit::SCHEMA));
    }
    if log.oddities.is_empty() {
        proof.proven.push("audit.jsonl: each line holds the members that this version writes, and no other".to_owned());
    }
    for (line, what) in &log.oddities {
        proof.deny(format!("audit.jsonl line {line}"), what);
    }
    Some(log)
}

/// Proves that every listed file is one that such a bundle holds.
fn prove_kinds(bundle: &Bundle, request: Option<&Request>, proof: &mut Proof) {
    let mut known: Vec<String> =
        [reports::LOG, audit::LOG_SIGNATURE, audit::MANIFEST, reports::ASSESSMENT].map(str::to_owned).to_vec();
    known.extend(Some(bundle.image.clone()).filter(|_| bundle.holds != Holds::Nothing));
    known.extend(reports::rendered(bundle).unwrap_or_default().into_keys());
    if bundle.holds != Holds::Delta {
        known.extend(aws::PATHS.map(str::to_owned));
    }
    if let Some(request) = request {
        known.extend(request.benchmark_path().map(str::to_owned));
        let brought = request.components.iter().flat_map(component::Component::files);
        known.extend(brought.map(|content| reports::brought(content.sha256)));
    }
    let unknown: Vec<&str> = bundle
        .files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| !known.iter().any(|one| one == path))
        .collect();
    if unknown.is_empty() {
        proof.proven.push("each listed file is one that such a bundle holds".to_owned());
    }
    for path in unknown {
        proof.deny(path, "it is listed, and no bundle of such a run holds this file");
    }
}

/// Returns an error's sentence with those of its causes.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Returns the request that a log records, with the files that the bundle holds for it.
fn request_of(bundle: &Bundle, log: &Log, benchmark: Option<Vec<u8>>) -> Result<Request> {
    let recorded = Request::from_record(&log.header.policy).map_err(|member| Error::Evidence { member })?;
    let mut request = Request { benchmark, ..recorded };
    let read = |sha256| fs::read(&bundle.path(&reports::brought(sha256)), component::FILE_LIMIT_BYTES).ok();
    for component in &mut request.components {
        if !component.take_files(&read) {
            return Err(Error::Evidence { member: "components" });
        }
    }
    Ok(request)
}

/// Proves who signed the bundle. A signature that nobody asked about is no claim that is proven, and yet it has the form of
/// one, and is by the key that the manifest names.
fn prove_signatures(bundle: &Bundle, key: Option<&PublicKey>, proof: &mut Proof) -> Result<()> {
    let faults = bundle.signature_faults(key.is_some())?;
    match key {
        Some(key) => {
            let (proven, damages) = bundle.check_signatures(key)?;
            proof.proven.extend(proven);
            for damage in damages {
                proof.deny(damage.path, damage.what);
            }
        }
        None => proof.notes.extend(bundle.signed_by.iter().map(|key| {
            format!("the key {key} of the manifest signed it; without --public-key it is not proven whose key that is")
        })),
    }
    for fault in faults {
        if !proof.problems.iter().any(|problem| problem.place == fault.path) {
            proof.deny(fault.path, fault.what);
        }
    }
    Ok(())
}

/// Proves that every report is what the bundle's documents give.
fn prove_reports(bundle: &Bundle, proof: &mut Proof) -> Result<()> {
    let rendered = reports::rendered(bundle)?;
    let mut wrong = 0;
    for (path, reports) in &rendered {
        let stands = fs::read(&bundle.path(path), LOG_LIMIT_BYTES).ok();
        if !stands.is_some_and(|stands| reports.contains(&stands)) {
            wrong += 1;
            proof.deny(path, "it is not what the assessment and the audit log give");
        }
    }
    if wrong == 0 {
        proof.proven.push(format!("{} reports are what the assessment and the audit log give", rendered.len()));
    }
    Ok(())
}

/// Makes the digests that a record has: without SHA-256 only the blocks are read, and no holes.
fn sums(image: &Image, recorded: &ImageRecord, progress: &dyn Progress) -> Result<Sums> {
    if recorded.sha256.is_none() {
        return Ok((&Blocks::of(image)?).into());
    }
    digests::sums(image, progress)
}

/// Proves what the log says of the image.
fn prove_image(bundle: &Bundle, (log, request): (&Log, &Request), given: Given<'_>, proof: &mut Proof) -> Result<()> {
    let (header, trailer) = (&log.header, &log.trailer);
    let image = given.open(bundle, &trailer.output)?;
    let sums = sums(&image, &trailer.output, &Silent)?;
    let record = digests::record(&image, &bundle.image, &sums);
    let claim = match sums.file {
        Some(_) => "the trailer describes this image: format, sizes, SHA-256 and EBS checksum",
        None => "the trailer describes this image: format, sizes and EBS checksum",
    };
    proof.hold("audit.jsonl", claim, record == trailer.output);
    let manifest = bundle.ebs_linear == record.ebs_linear;
    proof.hold("manifest.json", "its EBS checksum is the image's", manifest);
    let counts = (log.changes.len(), log.files.len()) == (trailer.changes, trailer.files);
    proof.hold("audit.jsonl", "the trailer counts the change and file lines", counts);

    let machine = Machine::open(&image, request.opening(Moment(0)))?;
    proof.hold("audit.jsonl", "the header describes the Windows in this image", *machine.identity() == header.windows);
    let mut wrong = 0;
    for Numbered { line, record } in &log.changes {
        if machine.get(&record.setting).ok().is_none_or(|found| found.value != record.after) {
            wrong += 1;
            proof.deny(format!("audit.jsonl line {line}"), "the image does not hold the value that the line says");
        }
    }
    for Numbered { line, record } in &log.files {
        // A file that was taken away, and a folder, have no content, and a `change` line says that they are so.
        let is_gone = |path: &str| {
            let is_taken_away = |change: &ChangeRecord| change.after == Some(Value::Flag(false)) && change.file == path;
            log.changes.iter().any(|change| is_taken_away(&change.record))
        };
        let is_folder = |path: &str| {
            let folder = Setting::Folder { path: path.to_owned() };
            machine.get(&folder).is_ok_and(|found| found.value == Some(Value::Flag(true)))
        };
        let found = match machine.read_file(&record.file) {
            Ok(None) => is_gone(&record.file).then(Vec::new),
            Err(_) if is_folder(&record.file) => Some(Vec::new()),
            found => found.ok().flatten(),
        };
        if found.is_none_or(|bytes| Digest::of(&bytes) != record.sha256_after) {
            wrong += 1;
            proof.deny(
                format!("audit.jsonl line {line}"),
                "the file in the image does not have the digest that the line says",
            );
        }
    }
    let (changes, files) = (log.changes.len(), log.files.len());
    if wrong == 0 {
        let image = &bundle.image;
        proof
            .proven
            .push(format!("{image}: holds the {changes} values and {files} files that the log lists, as it says"));
    }
    if bundle.holds != Holds::Delta {
        prove_import_files(bundle, log, &machine, (&image, &sums), proof);
    }
    prove_assessment(bundle, (log, request), &machine, proof)
}

/// Proves that the files for AWS are what this image and the recorded options give.
fn prove_import_files(
    bundle: &Bundle,
    log: &Log,
    machine: &Machine<&Image>,
    (image, sums): (&Image, &Sums),
    proof: &mut Proof,
) {
    let trailer = &log.trailer;
    let read = |file: &str| fs::read(&bundle.path(file), LOG_LIMIT_BYTES).ok();
    let options = read(aws::OPTIONS).and_then(|options| serde_json::from_slice::<aws::Options>(&options).ok());
    let Some(options) = options.filter(|options| options.check().is_ok()) else {
        proof.deny(aws::OPTIONS, "it cannot be read");
        return;
    };
    // A word of the user comes before the table, and stands in the log.
    let named = match log.header.aws.as_ref().and_then(|aws| aws.boot_mode.as_deref()) {
        Some("uefi") => Some(BootMode::Uefi),
        Some("legacy-bios") => Some(BootMode::LegacyBios),
        Some(other) => {
            proof.deny(reports::LOG, format!("its header names the boot mode {other:?}, which there is not"));
            return;
        }
        None => None,
    };
    let Some(boot_mode) = named.or(machine.boot_mode()) else {
        proof.deny(reports::LOG, "neither its header nor the partition table tells how the machine boots");
        return;
    };
    let evidence = Evidence::of(image);
    let facts = Facts::new(Container::of(image), &evidence, options.route, true);
    let free = unsent(image);
    let import = Import {
        image: &bundle.image,
        format: image.format(),
        sha256: sums.file,
        disk_bytes: image.len(),
        blocks: &sums.blocks,
        linear: &trailer.output.ebs_linear.sha256_base64,
        free: &free,
        identity: machine.identity(),
        boot_mode,
        has_ena: facts.has_ena(),
        benchmark: &trailer.benchmark,
        options: &options,
    };
    let files = aws::files(&import, &Report::of(&facts));
    let mut wrong = 0;
    for (path, content) in &files {
        if read(path).as_ref() != Some(content) {
            wrong += 1;
            proof.deny(*path, "it is not what this image and aws/options.json give");
        }
    }
    if wrong == 0 {
        proof.proven.push(format!("aws/: {} files are what this image and aws/options.json give", files.len()));
    }
}

/// Proves that a fresh assessment by the recorded demand equals the recorded one.
fn prove_assessment(
    bundle: &Bundle,
    (log, request): (&Log, &Request),
    machine: &Machine<&Image>,
    proof: &mut Proof,
) -> Result<()> {
    let (header, trailer) = (&log.header, &log.trailer);
    const REPORT: &str = reports::ASSESSMENT;
    let listed = bundle.files.iter().find(|file| file.path == REPORT);
    let is_named = listed.is_some_and(|file| file.sha256 == trailer.assessment_sha256);
    proof.hold(REPORT, "it is the assessment that the trailer names", is_named);
    let resolved = request.resolve(machine.identity(), header.started)?;
    if request.record(&resolved) != header.policy {
        proof.deny(
            "audit.jsonl",
            "the log names a catalog that this version does not have: verify with the version in the header",
        );
        return Ok(());
    }
    let fresh = resolved.assess(machine);
    if !request.components.is_empty() {
        let tested = resolved.test_components(machine).is_ok();
        proof.hold(&bundle.image, "the tests of the components hold in the image", tested);
    }
    let document = AssessmentDocument::new(&bundle.image, machine.identity(), &fresh).to_bytes();
    let recorded = fs::read(&bundle.path(REPORT), LOG_LIMIT_BYTES).ok();
    proof.hold(REPORT, "a fresh assessment of the image equals it, byte for byte", recorded == Some(document));
    let right = fresh.totals == trailer.after && fresh.benchmark.to_string() == trailer.benchmark;
    proof.hold("audit.jsonl", "the trailer's benchmark and totals are those of a fresh assessment", right);
    let changed: Vec<Vec<String>> = log.changes.iter().map(|change| change.record.rules.clone()).collect();
    proof.scope = fresh.scope.clone();
    proof.scope.extend(scope::of_components(&request.record(&resolved).components, &changed));
    let right = proof.scope == trailer.scope;
    proof.hold("audit.jsonl", "the trailer says what the result covers: benchmarks, policies, components", right);
    proof.notes.push("the time of the run is the log's word, and is not proven".to_owned());
    proof.assessment = Some(fresh);
    Ok(())
}

/// Proves that source and image differ only in bytes that the log explains.
fn prove_difference(
    bundle: &Bundle,
    (log, request): (&Log, &Request),
    (source, given): (&Path, Given<'_>),
    progress: &dyn Progress,
    proof: &mut Proof,
) -> Result<()> {
    let recorded = &log.header.source;
    let place = source.display().to_string();
    let format = recorded.format.parse().ok();
    let before = match Image::open_as(source, format, given.parent) {
        Err(error) if error.is_of_the_moment() || matches!(error, disk::Error::ParentMissing { .. }) => {
            return Err(error.into());
        }
        Err(error) => {
            proof.deny(place, format!("it is not the source that the header describes: {error}"));
            return Ok(());
        }
        Ok(image) => image,
    };
    let name = &recorded.name;
    if digests::record(&before, name, &sums(&before, recorded, progress)?) != *recorded {
        proof.deny(place, "it is not the source that the header describes: name another file with --source");
        return Ok(());
    }
    proof.proven.push(format!("{place}: it is the source that the header describes"));
    if source.file_name().and_then(|given| given.to_str()) != Some(name) {
        proof
            .notes
            .push(format!("the header calls the source `{name}`: a file can be renamed, and its name is not proven"));
    }
    // From here on both disks are those of the log: what fails now is the log's fault.
    if let Err(error) = prove_changes(bundle, (log, request), (&before, &place), given, progress, proof) {
        if is_of_the_moment(&error) {
            return Err(error);
        }
        proof.deny("audit.jsonl", format!("the run cannot be made again from the source: {}", chain_of(&error)));
    }
    Ok(())
}

/// Proves that every byte that differs from the source is explained, and that the same edit gives the same image.
fn prove_changes(
    bundle: &Bundle,
    (log, request): (&Log, &Request),
    (before, place): (&Image, &str),
    given: Given<'_>,
    progress: &dyn Progress,
    proof: &mut Proof,
) -> Result<()> {
    let after = given.open(bundle, &log.trailer.output)?;
    let explained = normalize(log.extents());
    let differing = disk::differences(before, &after, progress)?;
    let unexplained: Vec<&Extent> = differing
        .iter()
        .filter(|extent| !explained.iter().any(|known| known.offset <= extent.offset && extent.end() <= known.end()))
        .collect();
    match unexplained.first() {
        None => proof.proven.push(format!(
            "{}: {} bytes differ from the source, each explained by the log",
            bundle.image,
            differing.iter().map(|extent| extent.length).sum::<u64>()
        )),
        Some(first) => proof.deny(
            &bundle.image,
            format!(
                "{} extents differ from the source and no line explains them, the first at {:#x}",
                unexplained.len(),
                first.offset
            ),
        ),
    }
    prove_again(before, &after, (log, request), place, proof)
}

/// Proves the strongest claim: the same edit, made again on the source, gives the same image and the same lines.
///
/// This also proves every value before, and that no line claims more bytes than its change touched.
fn prove_again(
    before: &Image,
    after: &Image,
    (log, request): (&Log, &Request),
    source: &str,
    proof: &mut Proof,
) -> Result<()> {
    let (header, trailer) = (&log.header, &log.trailer);
    if header.tool != audit::Tool::THIS {
        // Passing this over would let a forger choose what is proven.
        proof.deny("audit.jsonl", "the header names another version of the program: verify with that one");
        return Ok(());
    }
    let mut machine = Machine::open(Overlay::new(before), request.opening(header.started))?;
    let accepted = machine.accepted();
    proof.hold(
        source,
        "its hives are damaged as the header says that they were accepted, and no otherwise",
        (accepted.dirty, accepted.refcounts) == (request.accept_dirty_hive, request.accept_refcounts),
    );
    let mut warnings = machine.warnings().to_vec();
    warnings.extend(request.components.iter().flat_map(component::Component::secrets));
    let resolved = request.resolve(machine.identity(), header.started)?;
    let assessment = resolved.assess(&machine);
    proof.hold(
        source,
        "an assessment of the source has the trailer's totals before",
        assessment.totals == trailer.before,
    );
    let plan = resolved.plan(&assessment, &machine)?;
    let plan = resolved.with_fixes(plan, &assessment, &machine, before)?;
    let (plan, steps) = resolved.with_components(plan, &assessment, &machine)?;
    warnings.extend(steps.iter().flat_map(component::StepReport::warnings));
    let left = [&plan.held_back, &plan.waived, &plan.left_open, &plan.at_risk];
    proof.hold(
        "audit.jsonl",
        "the trailer names what the same plan holds back, waives and leaves open",
        left == [&trailer.held_back, &trailer.waived, &trailer.left_open, &trailer.at_risk],
    );
    warnings.extend(scope::warnings(&proof.scope).cloned());
    let unsettled = job::unsettled();
    let is_same = warnings.iter().eq(header.warnings.iter().filter(|warning| **warning != unsettled));
    proof.hold("audit.jsonl", "the header has the warnings of the same run", is_same);
    let edit = Edit::apply(&plan, &mut machine)?;
    let is_same = edit.change_records().eq(log.changes.iter().map(|change| change.record.clone()))
        && edit.file_records().eq(log.files.iter().map(|file| file.record.clone()));
    proof.hold("audit.jsonl", "the same edit of the source gives the same change and file lines", is_same);
    let differing = disk::differences(&machine.into_device(), after, &Silent)?;
    proof.hold(source, "the same edit of the source gives this disk, byte for byte", differing.is_empty());
    let opinion = edit.second_opinion(after)?;
    proof.hold(
        "audit.jsonl",
        "the second readers say of the image what the trailer says",
        opinion == trailer.second_opinion,
    );
    proof.notes.push(
        "compared is the disk that a guest sees; tables and slack of the container are covered by its digest alone"
            .to_owned(),
    );
    Ok(())
}
