//! Certificates: what Windows and openssl say of them, and what an image keeps.

use std::collections::BTreeMap;

use coldforge::formats::registry_pol::RegistryPol;
use coldforge::windows::certificates::blob::{self, Blob};
use coldforge::windows::certificates::{Certificate, find, input, install, list, remove};
use coldforge::windows::setting::{Readings as _, Setting, Settings as _, Value};
use coldforge::windows::{Machine, OpenOptions};
use coldforge_base::Failure as _;
use coldforge_base::time::Moment;
use coldforge_disk::{Image, Overlay};
use coldforge_regf::Hive;

use crate::support::{Seeded, ask, corpus, fixture, oracle, shared, text};

/// The blobs of a real SOFTWARE hive and of real group policy objects.
fn blobs() -> Vec<Blob> {
    let mut blobs = Vec::new();
    let Some(folder) = corpus("^hives/dfwinreg__SOFTWARE") else { return blobs };
    let hive = Hive::accept_dirty(std::fs::read(folder.join("hives/dfwinreg__SOFTWARE")).unwrap()).unwrap().hive;
    for store in ["AuthRoot", "ROOT", "CA", "Disallowed", "TrustedPublisher"] {
        blobs.extend(list(&hive, store).unwrap().into_iter().map(|found| found.blob));
    }
    let home = tempfile::tempdir().unwrap();
    let archive = shared().unwrap().join("stig/gpo/nsa-certificates-computer.tar.xz");
    ask("tar", &["-xJf", text(&archive), "-C", text(home.path())]);
    let found = ask("find", &[text(home.path()), "-iname", "registry.pol"]);
    for path in String::from_utf8(found.stdout).unwrap().lines() {
        let pol = RegistryPol::parse(&std::fs::read(path).unwrap()).unwrap();
        for entry in pol.entries().iter().filter(|entry| entry.name == "Blob") {
            let blob = Blob::parse(&entry.data).unwrap();
            let thumbprint = Certificate::parse(blob.certificate()).unwrap().thumbprint();
            assert!(entry.key.ends_with(&thumbprint), "{}", entry.key);
            assert_eq!(blob.to_bytes(), entry.data);
            blobs.push(blob);
        }
    }
    blobs
}

#[test]
fn the_properties_of_a_certificate_are_those_that_windows_gave_it() {
    let blobs = blobs();
    let mut alike: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for found in &blobs {
        let ours = Certificate::parse(found.certificate()).unwrap().blob();
        for number in [blob::SHA1, blob::MD5, blob::SIGNED_DIGEST, blob::KEY_IDENTIFIER, blob::KEY_MD5, blob::KEY_BITS]
        {
            let (Some(theirs), Some(ours)) = (found.property(number), ours.property(number)) else { continue };
            let count = alike.entry(number).or_default();
            count.0 += 1;
            count.1 += usize::from(theirs == ours);
        }
    }
    eprintln!("{} blobs; property: there, alike: {alike:?}", blobs.len());
    assert!(shared().is_none() || blobs.len() > 60);
    assert!(alike.values().all(|(there, same)| there == same), "{alike:?}");
}

#[test]
fn openssl_names_real_certificates_alike() {
    if !oracle("openssl") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for found in blobs().iter().step_by(5) {
        let certificate = Certificate::parse(found.certificate()).unwrap();
        let path = home.path().join("one.der");
        std::fs::write(&path, certificate.der()).unwrap();
        let said = ask("openssl", &["x509", "-inform", "der", "-in", text(&path), "-noout", "-fingerprint", "-sha1"]);
        let said = String::from_utf8(said.stdout).unwrap().trim().replace(':', "");
        assert_eq!(said.rsplit('=').next(), Some(certificate.thumbprint().as_str()));
        let said = ask(
            "openssl",
            &["x509", "-inform", "der", "-in", text(&path), "-noout", "-subject", "-nameopt", "utf8,sep_comma_plus"],
        );
        let said = String::from_utf8(said.stdout).unwrap();
        let subject = certificate.subject().unwrap_or_default();
        assert!(said.replace('\\', "").contains(subject), "{said} {subject}");
    }
}

#[test]
fn certificates_are_read_from_every_form_in_which_openssl_writes_them() {
    if !oracle("openssl") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str| home.path().join(name);
    let run = |arguments: &[&str]| {
        let done = ask("openssl", arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let mut pem = String::new();
    for (number, key) in [("1", "rsa:2048"), ("2", "rsa:1024")] {
        let (key_file, cert) = (file("key"), file(&format!("{number}.pem")));
        let name = format!("/C=US/O=Forge/CN=Root {number}");
        run(&[
            "req",
            "-x509",
            "-newkey",
            key,
            "-nodes",
            "-keyout",
            text(&key_file),
            "-out",
            text(&cert),
            "-subj",
            &name,
            "-days",
            "9",
        ]);
        pem.push_str(&std::fs::read_to_string(&cert).unwrap());
    }
    std::fs::write(file("both.pem"), &pem).unwrap();
    run(&["x509", "-in", text(&file("1.pem")), "-outform", "der", "-out", text(&file("1.der"))]);
    for (form, name) in [("der", "der.p7b"), ("pem", "pem.p7b")] {
        let (one, two, out) = (file("1.pem"), file("2.pem"), file(name));
        run(&[
            "crl2pkcs7",
            "-nocrl",
            "-certfile",
            text(&one),
            "-certfile",
            text(&two),
            "-outform",
            form,
            "-out",
            text(&out),
        ]);
    }
    let both = input::from_path(&file("both.pem")).unwrap();
    assert_eq!(both.len(), 2);
    for name in ["der.p7b", "pem.p7b"] {
        assert_eq!(input::from_path(&file(name)).unwrap(), both, "{name}");
    }
    assert_eq!(input::from_path(home.path()).unwrap(), both, "the key has another name, each certificate counts once");
    let one = input::from_path(&file("1.der")).unwrap().remove(0);
    assert_eq!(one.subject(), Some("Root 1"));
    assert_eq!(one.blob().property(blob::KEY_BITS), Some(&2048u32.to_le_bytes()[..]));
    assert_eq!(input::from_path(&file("key")).unwrap_err().code(), Some("E-CERT-INPUT"));

    // No damage makes it panic.
    let (der, bundle) = (one.der().to_vec(), std::fs::read(file("der.p7b")).unwrap());
    let mut seeded = Seeded(11);
    for bytes in [&der, &bundle] {
        for _ in 0..3000 {
            let mut bytes = bytes.clone();
            let at = seeded.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << seeded.below(8);
            if seeded.below(2) == 0 {
                bytes.truncate(at);
            }
            if let Some(found) = input::parse(&bytes) {
                found.iter().for_each(|certificate| drop(certificate.blob()));
            }
        }
    }
}

#[test]
fn a_certificate_is_installed_found_by_others_and_removed() {
    let now = Moment(1_767_225_600).filetime();
    let Some(found) = blobs().into_iter().next() else { return };
    let certificate = Certificate::parse(found.certificate()).unwrap();
    let thumbprint = certificate.thumbprint();
    let image = Image::open(&fixture("ws2022.vhd"), None).unwrap();
    let mut machine = Machine::open(Overlay::new(&image), OpenOptions { now, ..OpenOptions::default() }).unwrap();
    let setting = Setting::Certificate { store: "ROOT".to_owned(), thumbprint: thumbprint.clone() };
    let value = Value::Certificate(certificate.der().to_vec());
    assert_eq!(machine.get(&setting).unwrap().value, None);
    assert_eq!(machine.set(&setting, Some(&value)).unwrap().unwrap().before, None);
    assert!(machine.set(&setting, Some(&value)).unwrap().is_none());
    let other = Setting::Certificate { store: "ROOT".to_owned(), thumbprint: "0".repeat(40) };
    assert_eq!(machine.set(&other, Some(&value)).unwrap_err().code(), Some("E-CERT-THUMBPRINT"));
    machine.commit().unwrap();
    let disk = machine.into_device();
    let mut machine = Machine::open(Overlay::new(&disk), OpenOptions { now, ..OpenOptions::default() }).unwrap();
    assert_eq!(machine.get(&setting).unwrap().value, Some(value.clone()));
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("SOFTWARE");
    std::fs::write(&path, machine.read_file(r"\Windows\System32\config\SOFTWARE").unwrap().unwrap()).unwrap();
    let checker = shared().unwrap().join("check/winpolicy.py");
    let done = ask("python3", &[text(&checker), "certs", text(&path)]);
    let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["problems"], serde_json::json!([]));
    let certificates = said["certificates"].as_array().unwrap();
    assert!(certificates.iter().any(|row| row["thumbprint"] == thumbprint.as_str() && row["sha1_ok"] == true));
    assert_eq!(machine.set(&setting, None).unwrap().unwrap().before, Some(value));
    assert_eq!(machine.get(&setting).unwrap().value, None);
    assert!(machine.set(&setting, None).unwrap().is_none());
}

#[test]
fn what_group_policy_keeps_is_found_and_removed_and_damage_is_refused_by_name() {
    let now = Moment(1_767_225_600).filetime();
    let Some(folder) = corpus("^hives/dfwinreg__SOFTWARE") else { return };
    let mut hive = Hive::accept_dirty(std::fs::read(folder.join("hives/dfwinreg__SOFTWARE")).unwrap()).unwrap().hive;
    let found = list(&hive, "AuthRoot").unwrap().remove(0);
    let certificate = Certificate::parse(found.blob.certificate()).unwrap();
    let thumbprint = certificate.thumbprint();
    let policy = format!(r"Policies\Microsoft\SystemCertificates\Disallowed\Certificates\{thumbprint}");
    hive.growing(|hive| hive.set_value(&policy, "Blob", 3, &found.blob.to_bytes(), now)).unwrap();
    assert!(find(&hive, "disallowed", &thumbprint).unwrap().unwrap().by_policy);
    assert!(install(&mut hive, "Disallowed", &certificate, now).unwrap().is_unchanged());
    assert!(remove(&mut hive, "Disallowed", &thumbprint, now).unwrap().is_some());
    assert!(find(&hive, "Disallowed", &thumbprint).unwrap().is_none());
    assert_eq!(install(&mut hive, "MY", &certificate, now).unwrap_err().code(), Some("E-CERT-STORE"));
    let path = format!(r"Microsoft\SystemCertificates\ROOT\Certificates\{thumbprint}");
    let mut cut = found.blob.to_bytes();
    cut.pop();
    for bytes in [cut, Blob::new(vec![], b"0\x03\x02\x01\x05".to_vec()).to_bytes()] {
        hive.growing(|hive| hive.set_value(&path, "Blob", 3, &bytes, now)).unwrap();
        assert_eq!(find(&hive, "ROOT", &thumbprint).unwrap_err().code(), Some("E-CERT-BLOB"));
    }
    assert!(!install(&mut hive, "ROOT", &certificate, now).unwrap().is_unchanged());
    assert!(find(&hive, "ROOT", &thumbprint).unwrap().is_some());
}
