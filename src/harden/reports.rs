//! Reports, from what a job has written down.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::request::{BENCHMARKS, policies_of};
use super::{Error, Result};
use crate::audit::{self, AssessmentDocument, Bundle, Log, Staging};
use crate::aws;
use crate::policy::{Assessment, Benchmark, Catalog};
use crate::report::{Evidence, Format, Results, Unreadable};
use coldforge_base::digest::Digest;
use coldforge_base::fs;

/// The assessment document of a bundle.
pub(super) const ASSESSMENT: &str = "reports/assessment.json";

/// The audit log of a bundle.
pub(super) const LOG: &str = "audit.jsonl";

/// Documents are text, some kilobytes a rule; a stranger's must not fill our memory.
const LIMIT_BYTES: u64 = 256 << 20;

/// Writes every report about these documents into a bundle.
pub(super) fn write_all(
    staging: &mut Staging,
    (assessment, log): (&[u8], &str),
    preflight: Option<&[u8]>,
    catalog: &Catalog,
    sarif: Results,
) -> Result<()> {
    let mut evidence = Evidence::read(&String::from_utf8_lossy(assessment), Some(log), Some(catalog))?;
    if let Some(preflight) = preflight {
        evidence = evidence.with_preflight(&String::from_utf8_lossy(preflight))?;
    }
    for (path, report) in Format::all().flat_map(|format| format.files(&evidence, sarif)) {
        staging.write(&path, &report)?;
    }
    Ok(())
}

/// Renders reports again from the documents of a bundle, each with its place in the bundle.
///
/// # Errors
/// If there is no bundle, or its documents cannot be read; [`Error::NoReport`] if a format tells of what did not happen.
pub fn report(folder: &Path, formats: &[Format], sarif: Results) -> Result<BTreeMap<String, Vec<u8>>> {
    let evidence = evidence(&Bundle::open(folder)?)?;
    let mut rendered = BTreeMap::new();
    for format in formats {
        let files = format.files(&evidence, sarif);
        if files.is_empty() {
            return Err(Error::NoReport { format: *format });
        }
        rendered.extend(files);
    }
    Ok(rendered)
}

/// Renders every report of a bundle again, each with its place and the contents that it may have: that of SARIF depends
/// on whether all results were asked for.
pub(super) fn rendered(bundle: &Bundle) -> Result<BTreeMap<String, Vec<Vec<u8>>>> {
    let evidence = evidence(bundle)?;
    let mut rendered: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for sarif in [Results::Open, Results::All] {
        let formats = Format::all().filter(|format| sarif == Results::Open || *format == Format::Sarif);
        for (path, report) in formats.flat_map(|format| format.files(&evidence, sarif)) {
            rendered.entry(path).or_default().push(report);
        }
    }
    Ok(rendered)
}

/// Reads what the reports of a bundle are made of.
fn evidence(bundle: &Bundle) -> Result<Evidence> {
    let read = |file: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&bundle.path(file), LIMIT_BYTES)?).into_owned())
    };
    let assessment = read(ASSESSMENT)?;
    let log = Log::read(&read(LOG)?).map_err(Unreadable::Log)?;
    let policies = policies(&log.header.policy)?;
    let document: AssessmentDocument<'_> = serde_json::from_str(&assessment).map_err(Unreadable::Assessment)?;
    let own = match benchmark(bundle)? {
        Some(file) => Some(Cow::Owned(Catalog::of_benchmark(&file)?)),
        None => catalog_of(&document.assessment.benchmark, &policies),
    };
    let catalog = own.map(|own| joined(own, &document.assessment, &policies)).transpose()?;
    let mut evidence = Evidence::of(document, Some(log), catalog.as_deref());
    if bundle.files.iter().any(|file| file.path == aws::PREFLIGHT) {
        evidence = evidence.with_preflight(&read(aws::PREFLIGHT)?)?;
    }
    Ok(evidence)
}

/// Returns where a bundle keeps a file that a component brought.
pub(super) fn brought(sha256: Digest) -> String {
    format!("components/{sha256}")
}

/// Returns the user's own benchmark file, if the bundle holds one.
pub(super) fn benchmark(bundle: &Bundle) -> Result<Option<Vec<u8>>> {
    let held = BENCHMARKS.iter().find(|path| bundle.files.iter().any(|file| file.path == **path));
    Ok(held.map(|path| fs::read(&bundle.path(path), LIMIT_BYTES)).transpose()?)
}

/// Writes every report about an assessment into a new folder; returns the files.
///
/// # Errors
/// The operating system's, and if a file stands there already.
pub fn write_reports(folder: &Path, assessment: &[u8], catalog: &Catalog, sarif: Results) -> Result<Vec<PathBuf>> {
    let evidence = Evidence::read(&String::from_utf8_lossy(assessment), None, Some(catalog))?;
    let rendered = Format::all().flat_map(|format| format.files(&evidence, sarif));
    let reports = rendered.filter_map(|(path, report)| Some((path.rsplit('/').next()?.to_owned(), report)));
    let files: Vec<(String, Vec<u8>)> = reports.chain([("assessment.json".to_owned(), assessment.to_vec())]).collect();
    write_rendered(folder, &files)
}

/// Writes reports into a folder outside any bundle; returns their places.
///
/// # Errors
/// [`audit::Error::InBundle`], and those of [`fs::write_folder`].
pub fn write_rendered(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>> {
    audit::check_outside(folder)?;
    Ok(fs::write_folder(folder, files)?)
}

/// Returns the catalogs of the policies that a log records.
fn policies(policy: &audit::Policy) -> Result<Vec<Catalog>> {
    let sources = policies_of(policy).ok_or(Error::Evidence { member: "policies" })?;
    Ok(sources.iter().map(Catalog::of_policy).collect::<std::result::Result<_, _>>()?)
}

/// Returns a catalog with the built-in components and the policies that an assessment names.
fn joined(
    catalog: Cow<'static, Catalog>,
    assessment: &Assessment,
    policies: &[Catalog],
) -> Result<Cow<'static, Catalog>> {
    let ids = assessment.components.iter().map(|part| part.benchmark.id.clone());
    let (own, built_in): (Vec<String>, Vec<String>) =
        ids.partition(|id| policies.iter().any(|policy| policy.id == *id));
    let mut components: Vec<&Catalog> = Catalog::components_named(&built_in)?;
    components.extend(policies.iter().filter(|policy| own.contains(&policy.id)));
    Ok(if components.is_empty() { catalog } else { Cow::Owned(catalog.joined(&components)) })
}

/// Returns the built-in catalog that an assessment names, if it is of the same release; or the policy.
fn catalog_of(benchmark: &Benchmark, policies: &[Catalog]) -> Option<Cow<'static, Catalog>> {
    if let Some(policy) = policies.iter().find(|policy| policy.id == benchmark.id) {
        return Some(Cow::Owned(policy.clone()));
    }
    let catalog = Catalog::named(&benchmark.id).ok()?;
    let is_same = (benchmark.version, benchmark.release) == (catalog.version, catalog.release);
    is_same.then_some(Cow::Borrowed(catalog))
}
