//! Whether a benchmark is for the Windows that it is to be applied to, and what it lacks of the built-in release of the
//! same STIG.
//!
//! A benchmark of a program beside Windows names no release of Windows and fits every machine.

use std::ops::RangeInclusive;

use super::catalog::{Benchmark, Catalog, catalogs};
use super::error::Error;
use super::rule::Rule;
use super::xccdf::Document;
use crate::windows::setting::{Identity, Role};

/// A release of Windows, with the builds that carry it.
struct Release {
    /// The words that name it, behind `windows`, `windows server` or `microsoft windows`.
    words: &'static [&'static str],
    is_server: bool,
    builds: RangeInclusive<u32>,
}

/// Releases that benchmarks name. Of two that begin alike, the longer one stands first.
const RELEASES: [Release; 16] = [
    Release { words: &["2025"], is_server: true, builds: 26_100..=26_100 },
    Release { words: &["2022"], is_server: true, builds: 20_348..=20_349 },
    Release { words: &["2019"], is_server: true, builds: 17_763..=17_764 },
    Release { words: &["2016"], is_server: true, builds: 14_393..=14_393 },
    Release { words: &["2012", "r2"], is_server: true, builds: 9_600..=9_600 },
    Release { words: &["2012r2"], is_server: true, builds: 9_600..=9_600 },
    Release { words: &["2012"], is_server: true, builds: 9_200..=9_200 },
    Release { words: &["2008", "r2"], is_server: true, builds: 7_600..=7_601 },
    Release { words: &["2008"], is_server: true, builds: 6_001..=6_003 },
    Release { words: &["2003"], is_server: true, builds: 3_790..=3_790 },
    Release { words: &["11"], is_server: false, builds: 22_000..=29_999 },
    Release { words: &["10"], is_server: false, builds: 10_240..=19_999 },
    Release { words: &["8"], is_server: false, builds: 9_200..=9_600 },
    Release { words: &["7"], is_server: false, builds: 7_600..=7_601 },
    Release { words: &["vista"], is_server: false, builds: 6_000..=6_003 },
    Release { words: &["xp"], is_server: false, builds: 2_600..=3_790 },
];

/// Words by which the title or the id of a benchmark names another operating system.
const OTHER_SYSTEMS: [&str; 17] = [
    "linux",
    "rhel",
    "ubuntu",
    "debian",
    "centos",
    "almalinux",
    "fedora",
    "sles",
    "suse",
    "solaris",
    "aix",
    "macos",
    "android",
    "esxi",
    "unix",
    "freebsd",
    "ios",
];

impl Catalog {
    /// Refuses a built-in benchmark of another Windows than the machine's.
    ///
    /// # Errors
    /// [`Error::StigMismatch`] (`E-STIG-MISMATCH`).
    pub fn fits(&self, identity: &Identity) -> Result<(), Error> {
        let is_server = identity.role != Role::Workstation;
        match self.builds.is_empty() || is_server && self.builds.contains(&identity.build) {
            true => Ok(()),
            false => Err(mismatch(&Benchmark::of(self).to_string(), identity)),
        }
    }
}

impl Document {
    /// Refuses a benchmark whose title, id or platforms name another Windows than the machine's, or another system.
    ///
    /// # Errors
    /// [`Error::StigMismatch`] (`E-STIG-MISMATCH`).
    pub fn fits(&self, identity: &Identity) -> Result<(), Error> {
        let built_in = same_stig(&self.id).is_none_or(|catalog| catalog.fits(identity).is_ok());
        // The platforms are alternatives; title and id each speak of the whole benchmark.
        let platforms: Vec<Option<bool>> = self.platforms.iter().map(|platform| names(platform, identity)).collect();
        let by_platform = match platforms.iter().any(|fits| *fits == Some(true) || fits.is_none()) {
            true => None,
            false => platforms.into_iter().flatten().next(),
        };
        let told = [names(&self.title, identity), names(&self.id, identity), by_platform];
        match built_in && !told.contains(&Some(false)) {
            true => Ok(()),
            false => Err(mismatch(&format!("{} V{}R{}", self.title, self.version, self.release), identity)),
        }
    }
}

fn mismatch(stig: &str, identity: &Identity) -> Error {
    let product = match identity.role {
        Role::Workstation => format!("{}, a client", identity.product),
        _ => identity.product.clone(),
    };
    Error::StigMismatch { stig: stig.to_owned(), product, build: identity.build }
}

/// Tells whether a text names the machine's Windows: `None` if it names no release of Windows and no other system.
fn names(text: &str, identity: &Identity) -> Option<bool> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_windows = words.contains(&"windows");
    if !is_windows {
        let is_other = words.iter().any(|word| OTHER_SYSTEMS.contains(word)) || is_other_platform(&text);
        return is_other.then_some(false);
    }
    let mut named = None;
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "windows") {
        let mut rest = words.get(at.saturating_add(1)..).unwrap_or_default();
        while let Some(after) = rest.strip_prefix(&["server"]).or_else(|| rest.strip_prefix(&["nt"])) {
            rest = after;
        }
        while let Some((release, after)) = RELEASES.iter().find_map(|one| Some((one, rest.strip_prefix(one.words)?))) {
            named = Some(named == Some(true) || is_on(release, identity));
            rest = after;
        }
    }
    named
}

/// Tells whether a CPE names an operating system that is not Microsoft's.
fn is_other_platform(text: &str) -> bool {
    let vendor = text.strip_prefix("cpe:/o:").or_else(|| text.strip_prefix("cpe:2.3:o:"));
    vendor.is_some_and(|vendor| !vendor.starts_with("microsoft:"))
}

fn is_on(release: &Release, identity: &Identity) -> bool {
    release.builds.contains(&identity.build) && release.is_server == (identity.role != Role::Workstation)
}

/// Returns the built-in catalog of the STIG with this XCCDF id.
fn same_stig(id: &str) -> Option<&'static Catalog> {
    catalogs().into_iter().find(|catalog| catalog.benchmark.eq_ignore_ascii_case(id))
}

/// Returns the built-in catalog that at least half of a benchmark's rules are of, whatever the benchmark calls itself.
fn same_rules(own: &Catalog) -> Option<&'static Catalog> {
    let shared = |catalog: &Catalog| {
        own.rules.iter().filter(|rule| catalog.rules.iter().any(|other| other.vuln_id == rule.vuln_id)).count()
    };
    let nearest = catalogs().into_iter().map(|catalog| (shared(catalog), catalog)).max_by_key(|(shared, _)| *shared);
    nearest.filter(|(shared, _)| *shared > 0 && *shared >= own.rules.len().div_ceil(2)).map(|(_, catalog)| catalog)
}

/// Says what a user's own benchmark lacks of the built-in release of the same STIG, one sentence a lack, each with its
/// code: an older release, rules that are missing, and rules whose severity is lower. Nothing, if the STIG is not built in.
pub fn lacks(own: &Catalog) -> Vec<String> {
    let Some(built_in) = same_stig(&own.benchmark).or_else(|| same_rules(own)) else { return Vec::new() };
    let mut said = Vec::new();
    let (release, name) =
        (format!("V{}R{}", own.version, own.release), format!("V{}R{}", built_in.version, built_in.release));
    if (own.version, own.release) < (built_in.version, built_in.release) {
        said.push(format!(
            "W-BENCHMARK-OLDER: the benchmark file is {release} of {}, and the built-in release is {name} of {}",
            own.date, built_in.date
        ));
    }
    let twin =
        |rule: &Rule| own.rules.iter().find(|other| other.vuln_id == rule.vuln_id || other.stig_id == rule.stig_id);
    let missing: Vec<&Rule> = built_in.rules.iter().filter(|rule| twin(rule).is_none()).collect();
    if !missing.is_empty() {
        let high = missing.iter().filter(|rule| rule.severity == super::rule::Severity::High).count();
        said.push(format!(
            "W-BENCHMARK-RULES: the benchmark file ({release}) lacks {} of the {} rules of the built-in {name}, {high} of them CAT I: {}",
            missing.len(),
            built_in.rules.len(),
            listed(&missing)
        ));
    }
    let lowered: Vec<&Rule> =
        built_in.rules.iter().filter(|rule| twin(rule).is_some_and(|own| own.severity < rule.severity)).collect();
    if !lowered.is_empty() {
        said.push(format!(
            "W-BENCHMARK-SEVERITY: {} rules have a lower severity in the benchmark file ({release}) than in the built-in {name}: {}",
            lowered.len(),
            listed(&lowered)
        ));
    }
    said
}

fn listed(rules: &[&Rule]) -> String {
    rules.iter().map(|rule| format!("{} ({})", rule.vuln_id, rule.stig_id)).collect::<Vec<_>>().join(", ")
}
