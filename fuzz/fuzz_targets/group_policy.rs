//! Read the files of group policy, and security descriptors as text. Input: the file; its first byte chooses the kind.
#![no_main]

use coldforge::formats::audit_csv::{AuditCsv, Audited, Subcategory};
use coldforge_base::descriptor::Descriptor;
use coldforge::formats::registry_pol::{Effect, RegistryPol};
use coldforge_base::sddl;
use coldforge::formats::security_template::SecurityTemplate;
use coldforge::windows::local_policy::gpt_ini::GptIni;
use coldforge::windows::setting::PolicyScope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => {
            let Ok(mut pol) = RegistryPol::parse(bytes) else { return };
            assert_eq!(pol.to_bytes(), bytes);
            if pol.set("Software\\K", "n", 4, &[1, 0, 0, 0]).is_ok() {
                assert!(matches!(pol.effect("software\\k", "N"), Effect::Sets(_)));
                assert_eq!(pol.set("Software\\K", "n", 4, &[1, 0, 0, 0]), Ok(false));
                assert_eq!(RegistryPol::parse(&pol.to_bytes()), Ok(pol));
            }
        }
        1 => {
            let Ok(mut csv) = AuditCsv::parse(bytes) else { return };
            assert_eq!(csv.to_bytes(), bytes);
            let logon = Subcategory::from_name("Logon").expect("it is known");
            let both = Audited { success: true, failure: true };
            if csv.set(logon, Some(both)).is_ok() {
                assert_eq!((csv.audited(logon), csv.set(logon, Some(both))), (Ok(Some(both)), Ok(false)));
            }
        }
        2 => {
            let Ok(mut ini) = GptIni::parse(bytes) else { return };
            assert_eq!(ini.to_bytes(), bytes);
            ini.raise(&[PolicyScope::Machine]).expect("what was read can be raised");
            assert!(GptIni::parse(&ini.to_bytes()).is_ok());
        }
        3 => {
            let Ok(template) = SecurityTemplate::parse(bytes) else { return };
            assert_eq!(template.to_bytes(), bytes);
            let _ = (template.system_access(), template.registry_values(), template.privilege_rights());
            let _ = (template.services(), template.registry_keys(), template.file_security());
        }
        _ => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let Ok(descriptor) = sddl::parse(text) else { return };
            let _ = Descriptor::parse(&descriptor).map(|found| found.to_string());
        }
    }
});
