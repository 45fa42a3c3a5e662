//! Group policy objects in files: backups, as the group policy console and `Backup-GPO` make them, and the objects
//! themselves, as SYSVOL and `GroupPolicy` hold them.
//!
//! A backup is a folder named by a GUID. Its `DomainSysvol/GPO` holds `Machine` and `User` with `Registry.pol`, and below
//! `Machine/Microsoft/Windows NT` a `SecEdit/GptTmpl.inf` and an `Audit/audit.csv`; `bkupInfo.xml` names it. Everything
//! else below `DomainSysvol/GPO` is told by name and not read. An object is a folder of any name with `Machine` and `User` in
//! it.

use std::collections::BTreeMap;

use super::error::Fault;
use super::import::Import;
use super::{File, slug};
use crate::formats::audit_csv::AuditCsv;
use crate::formats::registry_pol::RegistryPol;
use crate::formats::security_template::SecurityTemplate;

/// Where the object itself lies in a backup.
const OBJECT: &str = "domainsysvol/gpo/";
const INFORMATION: &str = "bkupinfo.xml";
/// The two halves of an object.
const SIDES: [&str; 2] = ["machine/", "user/"];
/// Files of the object that describe it and set nothing.
const DESCRIPTIONS: [&str; 4] = ["gpo.cmt", "gpt.ini", "machine/comment.cmtx", "user/comment.cmtx"];

/// A file of the object that is read, by its path in small letters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    MachinePol,
    UserPol,
    Template,
    Audit,
}

const PARTS: [(&str, Part); 4] = [
    ("machine/registry.pol", Part::MachinePol),
    ("user/registry.pol", Part::UserPol),
    ("machine/microsoft/windows nt/secedit/gpttmpl.inf", Part::Template),
    ("machine/microsoft/windows nt/audit/audit.csv", Part::Audit),
];

/// Returns the backup or object that a file belongs to, and its path in small letters as it is in a backup.
fn place(path: &str) -> Option<(&str, String)> {
    let mut end = 0usize;
    for part in path.split('/') {
        let start = end;
        end = end.saturating_add(part.len());
        if part.starts_with('{') && part.ends_with('}') {
            let inside = path.get(end.saturating_add(1)..)?.to_lowercase();
            let is_object = SIDES.iter().any(|side| inside.starts_with(side));
            return Some((path.get(..end)?, if is_object { format!("{OBJECT}{inside}") } else { inside }));
        }
        // An object without a GUID is known by what is read of it.
        let inside = path.get(start..)?.to_lowercase();
        if start > 0 && PARTS.iter().any(|(known, _)| *known == inside) {
            return Some((path.get(..start.saturating_sub(1))?, format!("{OBJECT}{inside}")));
        }
        end = end.saturating_add(1);
    }
    None
}

/// Tells whether a file lies in a backup.
pub(super) fn is_of_backup(path: &str) -> bool {
    place(path).is_some()
}

/// Tells whether a file's content is read.
pub(super) fn is_read(path: &str) -> bool {
    let bare = format!("object/{path}");
    place(path).or_else(|| place(&bare)).is_some_and(|(_, inside)| {
        let object = inside.strip_prefix(OBJECT);
        inside == INFORMATION || object.is_some_and(|object| PARTS.iter().any(|(path, _)| *path == object))
    })
}

/// Returns the files that belong to a backup or an object. What lies right in the folder or archive is an object of its `name`.
pub(super) fn backups(name: &str, mut files: Vec<File>) -> Result<Vec<File>, Fault> {
    let is_bare = |file: &File| SIDES.iter().any(|side| file.path.to_lowercase().starts_with(side));
    for file in files.iter_mut().filter(|file| is_bare(file)) {
        file.path = format!("{name}/{}", file.path);
    }
    let belongs = |file: &File| {
        place(&file.path).is_some_and(|(_, inside)| {
            let object = inside.strip_prefix(OBJECT);
            inside == INFORMATION || object.is_some_and(|object| !DESCRIPTIONS.contains(&object))
        })
    };
    let files: Vec<File> = files.into_iter().filter(belongs).collect();
    if files.is_empty() { Err(Fault::Unknown) } else { Ok(files) }
}

/// Imports every backup among the files, in the order of their names.
pub(super) fn import(files: &[File], import: &mut Import) -> Result<(), Fault> {
    let mut found: BTreeMap<&str, Vec<(&File, String)>> = BTreeMap::new();
    for file in files {
        if let Some((backup, inside)) = place(&file.path) {
            found.entry(backup).or_default().push((file, inside));
        }
    }
    let mut named: Vec<(String, Vec<(&File, String)>)> = Vec::new();
    for (backup, files) in found {
        let information = files.iter().find(|(_, inside)| inside == INFORMATION);
        let information = information.and_then(|(file, _)| file.content.as_deref()).map(text);
        let told = |element| information.as_deref().and_then(|text| leaf(text, element));
        let name = told("GPODisplayName").unwrap_or_else(|| backup.rsplit('/').next().unwrap_or(backup).to_owned());
        if let Some(day) = told("BackupTime").and_then(|time| time.get(..10).map(str::to_owned)) {
            import.dated(&day);
        }
        named.push((slug(&name), files));
    }
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut last = (String::new(), 1usize);
    for (name, files) in named {
        // Two objects may have one name; their rules may not.
        let count = if last.0 == name { last.1.saturating_add(1) } else { 1 };
        import.prefix = if count == 1 { name.clone() } else { format!("{name}-{count}") };
        last = (name, count);
        for (file, inside) in files {
            let Some(object) = inside.strip_prefix(OBJECT) else { continue };
            let part = PARTS.iter().find(|(path, _)| *path == object).map(|(_, part)| *part);
            let (Some(part), Some(content)) = (part, file.content.as_deref()) else {
                import.unread(
                    &format!("file:{object}"),
                    &format!("{object} is in force"),
                    "files of this kind are not read",
                );
                continue;
            };
            match part {
                Part::MachinePol | Part::UserPol => {
                    let pol = RegistryPol::parse(content).map_err(|source| Fault::pol(&file.path, source))?;
                    import.registry_pol(&file.path, &pol, part == Part::UserPol)?;
                }
                Part::Template => {
                    let template = SecurityTemplate::parse(content);
                    let template = template.map_err(|source| Fault::template(&file.path, source))?;
                    import.template(&file.path, &template)?;
                }
                Part::Audit => {
                    let csv = AuditCsv::parse(content).map_err(|source| Fault::csv(&file.path, source))?;
                    import.audit_csv(&file.path, &csv)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns the text of a small XML document.
fn text(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, rest @ ..] => coldforge_base::utf16::decode(rest),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Returns the text of the first element of this name. It names rules and nothing else, so that no reader of XML is asked.
fn leaf(text: &str, element: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    let (inner, _) = rest.split_once(&format!("</{element}>"))?;
    let inner = inner.trim();
    let inner = inner.strip_prefix("<![CDATA[").and_then(|inner| inner.strip_suffix("]]>")).unwrap_or(inner).trim();
    (!inner.is_empty()).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_in_backups_in_sysvol_and_by_themselves() {
        for (path, object, inside) in [
            ("a/{X}/DomainSysvol/GPO/Machine/registry.pol", "a/{X}", "domainsysvol/gpo/machine/registry.pol"),
            ("{X}/Machine/Registry.pol", "{X}", "domainsysvol/gpo/machine/registry.pol"),
            ("{X}/bkupInfo.xml", "{X}", "bkupinfo.xml"),
            ("GPO/User/Registry.pol", "GPO", "domainsysvol/gpo/user/registry.pol"),
            (
                "a/b/Machine/Microsoft/Windows NT/Audit/audit.csv",
                "a/b",
                "domainsysvol/gpo/machine/microsoft/windows nt/audit/audit.csv",
            ),
        ] {
            assert_eq!(place(path), Some((object, inside.to_owned())), "{path}");
        }
        // A single file tells by its folder whose policy it is, and is no object.
        for path in ["Machine/Registry.pol", "User/Registry.pol", "a/Machine/other.pol"] {
            assert_eq!(place(path), None, "{path}");
        }
        let file = |path: &str| File { path: path.to_owned(), content: None };
        assert!(is_read("Machine/Registry.pol") && is_read("{X}/bkupInfo.xml") && !is_read("readme.txt"));
        let bare = backups("base", vec![file("Machine/Registry.pol"), file("readme.txt")]).unwrap();
        assert_eq!(bare, [file("base/Machine/Registry.pol")]);
    }
}
