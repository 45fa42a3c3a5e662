//! Benchmarks as DISA publishes them: the reader against the built-in catalogs, and files that somebody has damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coldforge::policy::xccdf::{self, Document, Imported, Origin};
use coldforge::policy::{Catalog, RuleKind};
use coldforge_base::Failure as _;

use crate::support::{self, Seeded, text};

/// Where a built-in catalog says something else than the reader, or than the table (`table:`), each with its reason.
/// Reviewed by hand.
pub const DIFFERENCES: &str = include_str!("differences.tsv");

/// The benchmark files: the name's beginning, and how many rules there are, and of how many the demand is understood.
const FILES: [(&str, usize, usize); 10] = [
    ("U_MS_Windows_Server_2016_STIG_V2R10", 273, 208),
    ("U_MS_Windows_Server_2019_STIG_V3R7", 283, 219),
    ("U_MS_Windows_Server_2019_STIG_V3R8", 282, 219),
    ("U_MS_Windows_Server_2022_STIG_V2R7", 283, 219),
    ("U_MS_Windows_Server_2022_STIG_V2R8", 282, 219),
    ("U_MS_Windows_Server_2025_STIG_V1R1", 284, 218),
    ("U_MS_Windows_Defender_Antivirus_STIG_V2R8", 67, 67),
    ("U_MS_Edge_V2R5_STIG", 61, 53),
    ("U_MS_IE11_STIG_V2R6", 137, 136),
    ("U_MS_DotNet_Framework_4-0_STIG_V2R8", 16, 0),
];

/// Unpacks a benchmark file; `None`, said aloud, where there are none.
fn file(name: &str) -> Option<Vec<u8>> {
    let path = support::shared()?.join(format!("stig/xccdf/{name}_Manual-xccdf.xml.xz"));
    if !support::oracle("xz") {
        return None;
    }
    let done = support::ask("xz", &["-dkc", text(&path)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(done.stdout)
}

fn document(name: &str) -> Option<Document> {
    file(name).map(|bytes| xccdf::read(&bytes).unwrap())
}

/// The release of each built-in catalog.
fn releases() -> [(&'static Catalog, &'static str); 4] {
    [
        (Catalog::ws2016(), FILES[0].0),
        (Catalog::ws2019(), FILES[2].0),
        (Catalog::ws2022(), FILES[4].0),
        (Catalog::ws2025(), FILES[5].0),
    ]
}

#[test]
fn every_benchmark_is_read_and_what_is_not_understood_is_counted() {
    for (name, rules, understood) in FILES {
        let Some(document) = document(name) else { return };
        let found: Vec<_> = document.rules.iter().filter(|entry| xccdf::expect(&entry.check).is_some()).collect();
        assert_eq!((document.rules.len(), found.len()), (rules, understood), "{name}");
        for entry in &document.rules {
            assert!(entry.vuln_id.starts_with("V-") && entry.rule_id.starts_with("SV-"), "{name}: {}", entry.rule_id);
            for text in [&entry.title, &entry.discussion, &entry.check, &entry.fix, &entry.requirement] {
                assert!(!text.trim().is_empty(), "{name}: {}", entry.stig_id);
            }
            assert!(!entry.discussion.contains("VulnDiscussion") && !entry.ccis.is_empty(), "{}", entry.stig_id);
        }
    }
}

#[test]
fn no_registry_rule_of_a_server_is_left_unread() {
    for (catalog, name) in releases() {
        let Some(document) = document(name) else { return };
        for entry in &document.rules {
            let rule = catalog.find_rule(&entry.vuln_id).unwrap();
            if rule.kind == RuleKind::Registry && entry.stig_id != "WN16-DC-000401" {
                assert!(xccdf::expect(&entry.check).is_some(), "{}: {}", entry.stig_id, entry.check);
            }
        }
    }
}

#[test]
fn the_built_in_catalogs_say_what_the_benchmarks_say() {
    let listed: BTreeMap<(&str, &str), &str> = DIFFERENCES
        .lines()
        .skip(1)
        .filter(|line| !line.contains("\ttable:"))
        .map(|line| {
            let [rule, what, reason] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(reason.len() > 20, "{line}");
            ((rule, what), reason)
        })
        .collect();
    let mut met = BTreeSet::new();
    for (catalog, name) in releases() {
        let Some(document) = document(name) else { return };
        let imported = Imported::of(&document);
        let other = &imported.catalog;
        assert_eq!((&other.id, &other.benchmark), (&catalog.id, &catalog.benchmark));
        assert_eq!((other.version, other.release, &other.date), (catalog.version, catalog.release, &catalog.date));
        assert_eq!((&other.builds, other.rules.len()), (&catalog.builds, catalog.rules.len()));
        for ((own, theirs), origin) in catalog.rules.iter().zip(&other.rules).zip(&imported.origins) {
            let id = own.stig_id.as_str();
            let ids = |rule: &coldforge::policy::Rule| [&rule.stig_id, &rule.vuln_id, &rule.rule_id].map(String::clone);
            assert_eq!(ids(own), ids(theirs));
            assert_eq!((own.severity, own.role, own.kind), (theirs.severity, theirs.role, theirs.kind), "{id}");
            assert_eq!(own.ccis, theirs.ccis, "{id}");
            assert_eq!((&own.organization, &own.import_risk), (&theirs.organization, &theirs.import_risk), "{id}");
            let mut differs = |what: &'static str| {
                assert!(listed.contains_key(&(id, what)), "{id}: {what}, {origin:?}\n{own:#?}\n{theirs:#?}");
                met.insert((id.to_owned(), what));
            };
            if own.applies != theirs.applies {
                differs("applies");
            }
            if own.checks != theirs.checks || (own.checks.is_empty() != (*origin == Origin::None)) {
                differs("checks");
            } else if *origin == Origin::BuiltIn {
                differs("unread");
            }
        }
    }
    for (rule, what) in listed.keys() {
        assert!(met.contains(&((*rule).to_owned(), *what)), "{rule}: {what} is listed and does not differ");
    }
}

#[test]
fn a_benchmark_in_its_archive_is_read_and_other_archives_are_refused() {
    let Some(bytes) = file(FILES[9].0) else { return };
    if !support::oracle("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (xml, archive) = (folder.path().join("U_MS_Manual-xccdf.xml"), folder.path().join("stig.zip"));
    std::fs::write(&xml, &bytes).unwrap();
    let pack = |code: &str| {
        let code =
            format!("import zipfile\nz = zipfile.ZipFile(\"{}\", \"w\", zipfile.ZIP_DEFLATED)\n{code}", text(&archive));
        let done = support::ask("python3", &["-c", &code]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        std::fs::read(&archive).unwrap()
    };
    let whole = format!("z.writestr('Readme.txt', 'r' * 90)\nz.write('{}', 'U_MS/U_MS_Manual-xccdf.xml')", text(&xml));
    let packed = xccdf::read(&pack(&whole)).unwrap();
    let plain = xccdf::read(&bytes).unwrap();
    assert_eq!((packed.id, packed.rules), (plain.id, plain.rules));
    assert_ne!(packed.sha256, plain.sha256, "the digest is that of the file the user named");

    for (code, expected) in [
        ("z.writestr('Readme.txt', 'r')".to_owned(), "E-BENCHMARK-ARCHIVE"),
        (format!("{whole}\nz.writestr('b-xccdf.xml', '<a/>')"), "E-BENCHMARK-ARCHIVE"),
        (format!("{whole}\nz.writestr('../b', 'b')"), "E-ZIP-NAME"),
        ("z.writestr('b-xccdf.xml', b' ' * 100_000_001)".to_owned(), "E-BENCHMARK-SIZE"),
        ("z.writestr(zipfile.ZipInfo('b-xccdf.xml'), '<a/>', zipfile.ZIP_BZIP2)".to_owned(), "E-ZIP-UNSUPPORTED"),
    ] {
        let error = xccdf::read(&pack(&code)).unwrap_err();
        assert_eq!(error.code(), Some(expected), "{error}");
    }
}

#[test]
fn a_damaged_benchmark_is_an_error_or_a_benchmark_and_never_a_panic() {
    let Some(bytes) = file(FILES[9].0) else { return };
    let mut random = Seeded(0x7ccdf);
    let mut refused = 0;
    for round in 0..120 {
        let mut damaged = bytes.clone();
        if round % 3 == 0 {
            damaged.truncate(random.below(bytes.len() as u64) as usize);
        } else {
            for _ in 0..3 {
                let at = random.below(bytes.len() as u64) as usize;
                damaged[at] = random.below(256) as u8;
            }
        }
        match xccdf::read(&damaged) {
            Ok(document) => assert_eq!(Imported::of(&document).catalog.rules.len(), document.rules.len()),
            Err(error) => {
                refused += 1;
                assert!(error.code().is_some() && error.hint().is_some(), "{error}");
            }
        }
    }
    assert!(refused >= 40, "{refused} of 120 were refused");
}

#[test]
fn a_text_that_is_cut_anywhere_is_never_understood_as_another_demand() {
    let Some(document) = document(FILES[4].0) else { return };
    let mut random = Seeded(0x70_5e);
    for entry in &document.rules {
        let Some(whole) = xccdf::expect(&entry.check) else { continue };
        let cuts: Vec<usize> = entry.check.char_indices().map(|(at, _)| at).collect();
        for _ in 0..3 {
            let cut = cuts[random.below(cuts.len() as u64) as usize];
            // Half a text may be no demand, fewer of the same, or a value that is not ended: no other setting.
            let part = xccdf::expect(&entry.check[..cut]).unwrap_or_default();
            assert!(part.len() <= whole.len(), "{}", entry.stig_id);
        }
    }
}

#[test]
fn a_missing_file_is_no_benchmark() {
    assert!(!Path::new("U_nothing-xccdf.xml").exists());
    assert_eq!(xccdf::read(b"").unwrap_err().code(), Some("E-BENCHMARK-NAMESPACE"));
}
