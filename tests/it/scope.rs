//! What a result covers is said alike everywhere, and a STIG that does not fit is refused.

use std::path::{Path, PathBuf};

use coldforge::policy::{Catalog, Rule, Severity};
use serde_json::Value;

use crate::support::{Answer, coldforge, fixture, text};

/// Makes a benchmark in XCCDF 1.1 of the rules of a built-in catalog.
fn benchmark(head: &Head, rules: &[&Rule]) -> String {
    let Head { id, title, platform, version, release, date } = head;
    let platform = if platform.is_empty() { String::new() } else { format!("<platform idref=\"{platform}\"/>") };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Benchmark xmlns=\"http://checklists.nist.gov/xccdf/1.1\" id=\"{id}\">\
         <title>{title}</title>{platform}<plain-text id=\"release-info\">Release: {release} Benchmark Date: {date}</plain-text>\
         <version>{version}</version>\n"
    );
    for rule in rules {
        xml.push_str(&format!(
            "<Group id=\"{}\"><title>SRG-OS-000001</title><Rule id=\"{}\" severity=\"{}\" weight=\"10.0\"><version>{}</version>\
             <title>A rule</title><description>Why</description><ident system=\"http://cyber.mil/cci\">CCI-000366</ident>\
             <fixtext>Mend it</fixtext><check><check-content>Look at it</check-content></check></Rule></Group>\n",
            rule.vuln_id, rule.rule_id, rule.severity, rule.stig_id
        ));
    }
    xml + "</Benchmark>\n"
}

struct Head {
    id: &'static str,
    title: &'static str,
    platform: &'static str,
    version: u32,
    release: u32,
    date: &'static str,
}

const SERVER_2022: Head = Head {
    id: "MS_Windows_Server_2022_STIG",
    title: "Microsoft Windows Server 2022 Security Technical Implementation Guide",
    platform: "",
    version: 2,
    release: 8,
    date: "01 Apr 2026",
};

fn write(home: &Path, name: &str, content: &str) -> PathBuf {
    let path = home.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn scan(more: &[&str]) -> Answer {
    let image = fixture("ws2022.vhd");
    coldforge([&["scan", text(&image), "--fail-on", "none"], more].concat())
}

/// Every report of a bundle or of a folder of reports.
fn reports(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        found.push((name, String::from_utf8(std::fs::read(path).unwrap()).unwrap()));
    }
    found
}

#[test]
fn a_stig_of_another_windows_is_refused_whoever_asks_unless_it_is_forced() {
    let home = tempfile::tempdir().unwrap();
    let image = fixture("ws2022.vhd");
    let mismatch = |answer: Answer| {
        let answer = answer.expect(3);
        assert!(answer.err.contains("[E-STIG-MISMATCH]") && answer.err.contains("--force-stig"), "{}", answer.err);
        assert!(answer.err.contains("build 20348"), "{}", answer.err);
    };
    for stig in ["ws2016", "ws2019", "ws2025"] {
        mismatch(scan(&["--stig", stig]));
        mismatch(coldforge(["harden", text(&image), "--dry-run", "--stig", stig]));
    }
    let component = "name: c\nschemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n      - name: S\n        action: ApplyStig\n        \
                     inputs: {release: ws2019}\n";
    let component = write(home.path(), "c.yml", component);
    mismatch(coldforge(["harden", text(&image), "--dry-run", "--component", text(&component)]));
    let recipe = |force: &str| {
        format!(
            "schema = \"coldforge/recipe/1\"\nname = \"r\"\nversion = \"1.0.0\"\n[[source]]\nimage = '{}'\n[stig]\nrelease = \
             \"ws2016\"\nfail_on = \"none\"\n{force}",
            text(&image)
        )
    };
    let refused = coldforge(["run", text(&write(home.path(), "recipe.toml", &recipe("")))]);
    assert!(refused.code != 0 && (refused.out + &refused.err).contains("E-STIG-MISMATCH"));
    let forced = coldforge(["run", text(&write(home.path(), "forced.toml", &recipe("force = true\n")))]).expect(0);
    assert!(forced.out.contains("W-STIG-FORCED"), "{}{}", forced.out, forced.err);
    scan(&["--stig", "ws2022"]).expect(0);
    scan(&["--stig", "edge"]).expect(0);
}

#[test]
fn a_forced_stig_is_told_in_console_log_every_report_and_by_verify() {
    let home = tempfile::tempdir().unwrap();
    let (image, out) = (fixture("ws2022.vhd"), home.path().join("out"));
    let run = ["harden", text(&image), "-o", text(&out), "--fail-on", "none", "--stig", "ws2019", "--force-stig"];
    let run = coldforge(run).expect(0);
    let said = "W-STIG-FORCED: Microsoft Windows Server 2019 STIG V3R8 is not for the Windows in this image";
    assert!(run.err.contains(said) && run.out.contains(said), "{}{}", run.out, run.err);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    assert!(log.lines().next().unwrap().contains("\"force_stig\":true"));
    for line in [log.lines().next().unwrap(), log.lines().last().unwrap()] {
        assert!(line.contains(said), "{line}");
    }
    for (name, report) in reports(&out.join("reports")) {
        assert!(report.contains("W-STIG-FORCED") || report.contains("W\\-STIG"), "{name}");
    }
    assert!(std::fs::read_to_string(out.join("provenance.json")).unwrap().contains(said));
    let proof = coldforge(["verify", text(&out), "--source", text(&image)]).expect(0);
    assert!(proof.out.contains(said), "{}", proof.out);
}

#[test]
fn a_benchmark_of_another_windows_or_system_is_refused_by_title_id_and_platform() {
    let home = tempfile::tempdir().unwrap();
    let rules: Vec<&Rule> = Catalog::ws2022().rules.iter().take(3).collect();
    let answer = |head: Head| {
        let file = write(home.path(), "benchmark.xml", &benchmark(&head, &rules));
        scan(&["--benchmark", text(&file)])
    };
    let of = |id, title, platform| Head { id, title, platform, ..SERVER_2022 };
    for (id, title, platform) in [
        ("MS_Windows_11_STIG", "Microsoft Windows 11 Security Technical Implementation Guide", ""),
        ("Windows_10_STIG", "Microsoft Windows 10 STIG", ""),
        ("MS_Windows_Server_2016_STIG", "Microsoft Windows Server 2016 STIG", ""),
        ("Windows_Server_2012_MS_STIG", "Windows Server 2012/2012 R2 Member Server STIG", ""),
        ("Windows_2012_Server_DNS_STIG", "Microsoft Windows 2012 Server Domain Name System STIG", ""),
        ("own", "CIS Microsoft Windows Server 2025 Benchmark", ""),
        ("own", "Our baseline", "cpe:/o:microsoft:windows_11"),
        ("own", "Our baseline", "cpe:2.3:o:microsoft:windows_server_2019:-"),
        ("own", "Our baseline", "cpe:/o:redhat:enterprise_linux:9"),
        ("RHEL_9_STIG", "Red Hat Enterprise Linux 9 STIG", ""),
        ("CAN_Ubuntu_22-04_LTS_STIG", "Canonical Ubuntu 22.04 LTS STIG", ""),
        // The title alone is not believed where the id says otherwise.
        ("MS_Windows_Server_2019_STIG", "Microsoft Windows Server 2022 STIG", ""),
    ] {
        let refused = answer(of(id, title, platform)).expect(3);
        assert!(refused.err.contains("[E-STIG-MISMATCH]"), "{title}: {}", refused.err);
    }
    for (id, title, platform) in [
        ("MS_Windows_Server_2022_STIG", "Microsoft Windows Server 2022 STIG", "cpe:/o:microsoft:windows_server_2022"),
        ("own", "Our baseline", ""),
        ("MS_Edge_STIG", "Microsoft Edge Security Technical Implementation Guide", ""),
        ("Windows_Firewall", "Windows Defender Firewall with Advanced Security STIG", ""),
        ("own", "Windows Server 2019 and Windows Server 2022 baseline", ""),
        ("SQL_2016", "MS SQL Server 2016 Instance STIG", "cpe:/a:microsoft:sql_server:2016"),
    ] {
        answer(of(id, title, platform)).expect(0);
    }
    let file = write(
        home.path(),
        "benchmark.xml",
        &benchmark(&of("MS_Windows_11_STIG", "Microsoft Windows 11 STIG", ""), &rules),
    );
    let forced = scan(&["--benchmark", text(&file), "--force-stig"]).expect(0);
    assert!(forced.out.contains("W-STIG-FORCED: Microsoft Windows 11 STIG V2R8"), "{}", forced.out);
}

#[test]
fn a_benchmark_that_lacks_rules_or_is_older_or_milder_says_so_everywhere() {
    let home = tempfile::tempdir().unwrap();
    let (image, out) = (fixture("ws2022.vhd"), home.path().join("out"));
    let all = &Catalog::ws2022().rules;
    let whole: Vec<&Rule> = all.iter().collect();
    let file = write(home.path(), "whole.xml", &benchmark(&SERVER_2022, &whole));
    let complete = scan(&["--benchmark", text(&file)]).expect(0);
    assert!(complete.out.contains("all 282 rules") && !complete.out.contains("W-BENCHMARK"), "{}", complete.out);

    // Without the rules of CAT I, so that `--fail-on high` finds nothing.
    let kept: Vec<&Rule> = all.iter().filter(|rule| rule.severity != Severity::High).collect();
    let (missing, first) = (all.len() - kept.len(), all.iter().find(|rule| rule.severity == Severity::High).unwrap());
    assert_eq!(missing, 31);
    let file = write(home.path(), "cut.xml", &benchmark(&SERVER_2022, &kept));
    let run = coldforge(["harden", text(&image), "-o", text(&out), "--fail-on", "high", "--benchmark", text(&file)]);
    let run = run.expect(0);
    let said =
        "W-BENCHMARK-RULES: the benchmark file (V2R8) lacks 31 of the 282 rules of the built-in V2R8, 31 of them CAT I";
    for text in [&run.out, &run.err] {
        assert!(text.contains(said) && text.contains(&first.vuln_id) && text.contains(&first.stig_id), "{text}");
    }
    assert!(!run.out.contains("all 2"), "{}", run.out);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains(said));
    for (name, report) in reports(&out.join("reports")) {
        assert!(report.contains("lacks 31 of the 282 rules") && report.contains(&first.stig_id), "{name}");
    }
    let proof = coldforge(["verify", text(&out)]).expect(0);
    assert!(proof.out.contains(said) && !proof.out.contains("all 2"), "{}", proof.out);
    let json = coldforge(["scan", text(&image), "--fail-on", "none", "--benchmark", text(&file), "--json"]).expect(0);
    let json: Value = json.json();
    assert!(json["scope"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains(said)), "{json}");

    let older = Head { release: 7, date: "07 Jan 2026", ..SERVER_2022 };
    let file = write(home.path(), "older.xml", &benchmark(&older, &whole[1..]));
    let older = scan(&["--benchmark", text(&file)]).expect(0);
    let said =
        "W-BENCHMARK-OLDER: the benchmark file is V2R7 of 2026-01-07, and the built-in release is V2R8 of 2026-04-01";
    assert!(older.out.contains(said) && older.out.contains("lacks 1 of the 282 rules"), "{}", older.out);
    assert!(older.err.contains("warning: W-BENCHMARK-OLDER"), "{}", older.err);

    // Another name hides nothing, and neither does a lower severity.
    let renamed = Head { id: "our_benchmark", title: "Our benchmark", ..SERVER_2022 };
    let file = write(home.path(), "renamed.xml", &benchmark(&renamed, &kept));
    let renamed = scan(&["--benchmark", text(&file)]).expect(0);
    assert!(renamed.out.contains("lacks 31 of the 282 rules"), "{}", renamed.out);
    let milder = benchmark(&SERVER_2022, &whole).replace("severity=\"high\"", "severity=\"low\"");
    let file = write(home.path(), "milder.xml", &milder);
    let milder = scan(&["--benchmark", text(&file)]).expect(0);
    assert!(milder.out.contains("W-BENCHMARK-SEVERITY: 31 rules have a lower severity"), "{}", milder.out);
}

#[test]
fn verify_and_every_report_name_each_component_and_policy_with_digest_and_counts() {
    let home = tempfile::tempdir().unwrap();
    let (image, out) = (fixture("ws2022.vhd"), home.path().join("out"));
    let component = "name: acme\nschemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n      - name: S\n        action: SetRegistry\n        \
                     inputs:\n          - {path: 'HKLM\\SOFTWARE\\Acme', name: A, value: x, type: SZ}\n          - {path: 'HKLM\\SOFTWARE\\Acme', name: B, value: y, type: SZ}\n";
    let component = write(home.path(), "acme.yml", component);
    let policy = "schema = \"coldforge/policy/1\"\n[[rule]]\nid = \"EX-1\"\ntitle = \"A value\"\nseverity = \"low\"\ncheck = \
                  [{ key = 'HKLM\\SOFTWARE\\Acme', name = \"P\", type = \"REG_DWORD\", equals = 1 }]\n";
    let policy = write(home.path(), "ours.toml", policy);
    let run = [
        "harden",
        text(&image),
        "-o",
        text(&out),
        "--fail-on",
        "none",
        "--with",
        "firewall",
        "--policy",
        text(&policy),
        "--component",
        text(&component),
    ];
    let run = coldforge(run).expect(0);
    let said = [
        format!("component acme (SHA-256 {}): 2 settings changed", crate::support::sha256(&component)),
        format!("policy ours (given, SHA-256 {}): all 1 rules: 1 pass, 0 open", crate::support::sha256(&policy)),
        "Microsoft Windows Firewall STIG V2R2 (built in, SHA-256 ".to_owned(),
        "all 282 rules: 190 pass, 8 open, 54 not applicable, 30 not reviewed".to_owned(),
    ];
    let proof = coldforge(["verify", text(&out)]).expect(0);
    let log = std::fs::read_to_string(out.join("audit.jsonl")).unwrap();
    for said in &said {
        for (name, text) in [("console", &run.out), ("verify", &proof.out), ("log", &log)] {
            assert!(text.contains(said), "{name}: {said}\n{text}");
        }
        for (name, report) in reports(&out.join("reports")) {
            // The assessment knows rules, and no components.
            let plain = report.replace('\\', "");
            assert!(
                plain.contains(said) || name == "assessment.json" && said.starts_with("component"),
                "{name}: {said}"
            );
        }
        assert!(std::fs::read_to_string(out.join("provenance.json")).unwrap().contains(said), "{said}");
    }
    // What `verify` proves stands beside what it does not.
    assert!(proof.out.contains("without --source") && proof.out.contains("nothing else on the disk differs"));
    let json = coldforge(["verify", text(&out), "--json"]).expect(0).json();
    assert!(json["claims"].as_array().unwrap().iter().any(|claim| claim["without_source"] == false));
    assert_eq!(json["scope"].as_array().unwrap().len(), 4);
    // Less than all is never called all.
    let some = scan(&["--only", "WN22-SO-000030"]).expect(0);
    assert!(some.out.contains("1 of 282 rules") && some.out.contains("limited by choice"), "{}", some.out);
    let some = scan(&["--skip", "WN22-SO-000030", "--level", "medium"]).expect(0);
    assert!(!some.out.contains("all 282") && some.out.contains("rules above the level medium"), "{}", some.out);
}
