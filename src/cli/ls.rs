//! `coldforge ls`.

use clap::Args;
use serde_json::{Value, json};

use super::options::{LAST_MOMENT, Parent};
use super::ui::{Ui, columns, plain};
use super::volume::{self, Opened, Place};
use super::{Result, Verdict, boxed};
use coldforge_base::descriptor::Descriptor;
use coldforge_ntfs::File;

/// List a folder of the Windows volume, or show one file
///
/// 8.3 names are left out where a file has a long one. Links and junctions are shown, not followed.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    parent: Parent,

    /// A path as Windows or as a shell writes it: \Windows, C:\Windows, /Windows
    #[arg(value_name = "PATH", default_value = "\\")]
    path: String,

    /// Show attributes, size, last change and number of names
    #[arg(long, short)]
    long: bool,

    /// Show security descriptors, in SDDL
    #[arg(long)]
    acl: bool,
}

const AFTER_HELP: &str = "\
Attributes: d folder, r read-only, h hidden, s system, a archive, c compressed, e encrypted, p sparse, l reparse point

Examples:
  coldforge ls base.vhd                                     the root
  coldforge ls base.vhd -l /Windows/System32/config         the hives, with sizes and times
  coldforge ls base.vhd --acl 'C:\\Windows\\System32\\winevt\\Logs'
  coldforge ls base.vhd --json \\\\ | jq -r '.entries[].name'";

/// What is shown of one file.
struct Shown {
    name: String,
    file: File,
    /// The descriptor's text, or why it has none.
    acl: Option<std::result::Result<String, String>>,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let Place { source, partition } = &arguments.place;
    let image = source.open(&arguments.parent, ui)?;
    let (number, volume) = volume::choose(&image, *partition)?;
    let path = volume::path(&arguments.path);
    let file = volume::find(&volume, &path)?;
    let mut shown = Vec::new();
    if file.is_directory() {
        for entry in volume.list(&file).map_err(boxed)? {
            let file = volume.file(entry.reference).map_err(boxed)?;
            shown.push(Shown { name: entry.name, acl: acl(arguments, &volume, &file), file });
        }
    } else {
        let name = path.rsplit('\\').next().unwrap_or_default().to_owned();
        shown.push(Shown { name, acl: acl(arguments, &volume, &file), file });
    }
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/ls/1",
            "image": source.image.display().to_string(),
            "partition": number,
            "path": path,
            "entries": shown.iter().map(document).collect::<Vec<_>>(),
        }));
        return Ok(Verdict::Done);
    }
    let rows: Vec<_> = shown.iter().map(|shown| row(shown, arguments.long)).collect();
    let mut text = String::new();
    for (line, shown) in columns(&rows).lines().zip(&shown) {
        text.push_str(&format!("{line}\n"));
        match &shown.acl {
            None => {}
            Some(Ok(acl)) => text.push_str(&format!("    {acl}\n")),
            Some(Err(reason)) => text.push_str(&format!("    ({})\n", plain(reason))),
        }
    }
    ui.data(&text);
    Ok(Verdict::Done)
}

/// Returns the text of a file's descriptor, if it is asked for.
fn acl(arguments: &Arguments, volume: &Opened<'_>, file: &File) -> Option<std::result::Result<String, String>> {
    let text = |bytes: Vec<u8>| match Descriptor::parse(&bytes) {
        Ok(descriptor) => Ok(descriptor.to_string()),
        Err(error) => Err(error.to_string()),
    };
    arguments.acl.then(|| match volume.security(file) {
        Ok(Some(bytes)) => text(bytes),
        Ok(None) => Err("no security descriptor".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

fn row(shown: &Shown, long: bool) -> Vec<String> {
    let Shown { name, file, .. } = shown;
    let tail = if file.is_directory() { "\\" } else { "" };
    let name = format!("{}{tail}", plain(name));
    if !long {
        return vec![name];
    }
    vec![letters(file), format!("{:>2}", file.links()), format!("{:>12}", file.size()), changed(file), name]
}

/// Returns the attributes as letters.
fn letters(file: &File) -> String {
    const LETTERS: [(u32, char); 8] =
        [(0x1, 'r'), (0x2, 'h'), (0x4, 's'), (0x20, 'a'), (0x800, 'c'), (0x4000, 'e'), (0x200, 'p'), (0x400, 'l')];
    let folder = if file.is_directory() { 'd' } else { '-' };
    let letter = |(bit, letter): (u32, char)| if file.attributes() & bit != 0 { letter } else { '-' };
    std::iter::once(folder).chain(LETTERS.into_iter().map(letter)).collect()
}

/// Returns the last change to the second.
fn changed(file: &File) -> String {
    file.modified().moment().filter(|moment| moment.0 <= LAST_MOMENT).map_or_else(|| "-".to_owned(), |m| m.to_string())
}

fn document(shown: &Shown) -> Value {
    let Shown { name, file, acl } = shown;
    let mut document = json!({
        "name": name,
        "directory": file.is_directory(),
        "size": file.size(),
        "allocated": file.allocated(),
        "attributes": file.attributes(),
        "links": file.links(),
        "modified": changed(file),
        "record": file.reference().record(),
        "sequence": file.reference().sequence(),
        "resident": file.is_resident(),
        "reparse_tag": file.reparse_tag(),
    });
    if let (Value::Object(members), Some(acl)) = (&mut document, acl) {
        members.insert("sddl".into(), acl.as_ref().ok().cloned().into());
        members.insert("sddl_error".into(), acl.as_ref().err().cloned().into());
    }
    document
}
