//! report.html as a browser shows it.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{ask, coldforge, fixture, oracle, text};

/// Names of a Chromium. It is too large to be demanded of every machine.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn browser() -> Option<&'static str> {
    let paths = std::env::var_os("PATH")?;
    let there = |name: &&&str| std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    let found = BROWSERS.iter().find(there).copied();
    if found.is_none() {
        eprintln!("SKIPPED: chromium is missing");
    }
    found.filter(|_| oracle("python3"))
}

#[test]
fn the_page_filters_searches_prints_and_fits_without_a_complaint() {
    let Some(browser) = browser() else { return };
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    coldforge(["harden", text(&fixture("ws2022.vhd")), "-o", text(&out), "--fail-on", "none"]).expect(0);
    let assessment = std::fs::read(out.join("reports/assessment.json")).unwrap();
    let assessment: Value = serde_json::from_slice(&assessment).unwrap();

    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/page.py");
    let report = out.join("reports/report.html");
    let done = ask("python3", &[text(&tool), browser, text(&report)]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let page: Value = serde_json::from_str(&said).unwrap();

    assert_eq!(page["complaints"], json!([]), "errors and warnings of the console");
    assert_eq!(page["requests"].as_array().unwrap().len(), 1, "nothing is loaded but the page: {}", page["requests"]);
    let totals = &assessment["totals"];
    let count = |of: &Value| ["pass", "open", "not_applicable", "not_reviewed"].map(|name| of[name].as_u64().unwrap());
    let all: u64 = count(totals).iter().sum();
    assert_eq!(page["rules"], all);
    let shown = &page["shown"];
    for status in ["pass", "open", "not_applicable", "not_reviewed"] {
        assert_eq!(shown[format!("status={status}")], totals[status], "{status}");
    }
    assert_eq!(shown["severity=high"], count(&totals["high"]).iter().sum::<u64>());
    let audit = assessment["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "audit_policy");
    assert_eq!(shown["kind=audit_policy"], audit.count());
    assert_eq!((&shown["search=guest RENAMED"], &shown["search=no such text at all"]), (&json!(1), &json!(0)));
    for reset in ["status=", "severity=", "kind=", "search="] {
        assert_eq!(shown[reset], all, "{reset}");
    }
    assert!(shown["status=changed"].as_u64().unwrap() > 50);

    assert_eq!(page["unlabelled"], 0, "every field says what it is");
    for theme in ["light_contrast", "dark_contrast"] {
        assert!(page[theme][0].as_f64().unwrap() >= 4.5, "{theme}: {}", page[theme]);
    }
    assert!(page["light"] != page["dark"] && page["switched"] == page["light"], "the button turns the dark page light");
    assert_eq!((&page["narrow_width"], &page["narrow_width_open"]), (&json!(400), &json!(400)), "nothing sticks out");
    assert!(page["pdf_bytes"].as_u64().unwrap() > 10_000 && page["open_after_print"] == 0);
    for link in page["links"].as_array().unwrap() {
        let target = out.join("reports").join(link.as_str().unwrap());
        assert!(target.is_file(), "{link} leads nowhere");
    }
}
