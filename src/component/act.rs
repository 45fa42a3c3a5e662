//! Performs single actions of a component against [`PendingChanges`].

use std::collections::BTreeMap;

use super::attachments::{self, Attachments};
use super::destination::{destination_path, encoding_fault, ends_open, same_path, write_file};
use super::download;
use super::fault::{Fault, Flaw};
use super::pending_changes::PendingChanges;
use super::powershell;
use super::registry::{set_service, setting as registry_setting, value as registry_value};
use super::script::perform_operation;
use super::yaml::Node;
use crate::formats::pattern;
use crate::windows::certificates::input as certificates;
use crate::windows::setting::{Content, Setting, Value};

type Result<T> = std::result::Result<T, Fault>;

/// Performs one action once, and returns its outputs.
pub(super) fn act(
    action: &str,
    input: &Node,
    attachments: &Attachments,
    pending: &mut PendingChanges<'_>,
) -> Result<BTreeMap<String, String>> {
    let inputs = Inputs(input);
    let mut outputs = BTreeMap::new();
    if let Some(fault) = input.get("encoding").and_then(encoding_fault) {
        return Err(fault);
    }
    match action {
        "CreateFile" => create_file(&inputs, pending)?,
        "AppendFile" => {
            let path = pending.path(inputs.text("path"))?;
            let current = existing(pending, &path)?;
            pending.put(path, current + inputs.text("content"))?;
        }
        "ReadFile" | "SetFileEncoding" => {
            let path = pending.path(inputs.text("path"))?;
            let current = existing(pending, &path)?;
            outputs.insert("content".to_owned(), current);
        }
        "CopyFile" | "MoveFile" => copy_files(action == "MoveFile", &inputs, pending)?,
        "CopyFolder" | "MoveFolder" => copy_folder(action == "MoveFolder", &inputs, pending)?,
        "ListFiles" => {
            outputs.insert("files".to_owned(), list_files(&inputs, pending)?);
        }
        "S3Download" | "WebDownload" => {
            let placed = download::fetch(action, input, attachments, pending)?;
            if action == "WebDownload" {
                outputs.insert("destination".to_owned(), placed);
            }
        }
        "InstallFiles" => install_files(&inputs, attachments, pending)?,
        "InstallCertificate" => install_certificates(&inputs, attachments, pending)?,
        // They were applied before the first step.
        "ApplyPolicy" | "ApplyStig" => {}
        "DeleteFile" => delete_files(&inputs, pending)?,
        "CreateFolder" => create_folder(&inputs, pending)?,
        "DeleteFolder" => delete_folder(&inputs, pending)?,
        "SetRegistry" => {
            let value = registry_value(input)?;
            pending.set(&registry_setting(inputs.text("path"), inputs.text("name"), pending)?, Some(value))?;
        }
        "AssertRegistry" => assert_registry(&inputs, pending)?,
        "SetService" => set_service(inputs.text("name"), inputs.text("startupType"), pending)?,
        "ExecutePowerShell" => execute_powershell(&inputs, pending)?,
        _ => return Err(pending.fault(Flaw::NeedsWindows, action)),
    }
    Ok(outputs)
}

/// The inputs of an action.
struct Inputs<'a>(&'a Node);

impl<'a> Inputs<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.0.get(name).and_then(Node::text).unwrap_or_default()
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.0.get(name).and_then(Node::flag).unwrap_or(default)
    }
}

/// Creates a text file.
fn create_file(inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    let path = pending.path(inputs.text("path"))?;
    if !inputs.flag("overwrite", true) && pending.is_file(&path)? {
        return Err(pending.fault(Flaw::Failed, format!("`{path}` exists")));
    }
    pending.put(path, inputs.text("content").to_owned())?;
    Ok(())
}

/// Copies or moves the files that match the source.
fn copy_files(moves: bool, inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    let sources = pending.matching(inputs.text("source"))?;
    if sources.is_empty() || (sources.len() > 1 && !ends_open(inputs.text("destination"))) {
        let count = sources.len();
        let what = format!(
            "{count} files fit {:?}, and {:?} is to hold them",
            inputs.text("source"),
            inputs.text("destination")
        );
        return Err(pending.fault(Flaw::Failed, what));
    }
    for source in sources {
        let content = pending.content(&source)?;
        let content = content.ok_or_else(|| pending.fault(Flaw::Failed, format!("there is no file `{source}`")))?;
        let destination = destination_path(inputs.text("destination"), &source, pending)?;
        if same_path(&source, &destination) {
            continue;
        }
        let already_skipped = pending.skipped_writes();
        write_file(destination, content, inputs.flag("overwrite", true), pending)?;
        // A file that was not written to the destination stays at the source.
        if moves && pending.skipped_writes() == already_skipped {
            pending.remove(source)?;
        }
    }
    Ok(())
}

/// Copies or moves a folder with its contents.
fn copy_folder(moves: bool, inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    let source = pending.path(inputs.text("source"))?;
    if !pending.is_folder(&source)? {
        return Err(pending.fault(Flaw::Failed, format!("there is no folder `{source}`")));
    }
    let destination = destination_path(inputs.text("destination"), &source, pending)?;
    let [from, to] = [&source, &destination].map(|path| format!(r"{}\", path.to_uppercase()));
    if to.starts_with(&from) || from.starts_with(&to) {
        return Err(pending.fault(Flaw::Failed, format!("`{destination}` and `{source}` contain one another")));
    }
    if !inputs.flag("overwrite", true) && pending.is_folder(&destination)? {
        return Err(pending.fault(Flaw::Failed, format!("`{destination}` exists")));
    }
    let below = pending.walk(&source)?;
    let already_skipped = pending.skipped_writes();
    pending.make_folder(destination.clone())?;
    for (path, is_folder) in below {
        let place = format!("{destination}{path}");
        if is_folder {
            pending.make_folder(place)?;
        } else if let Some(content) = pending.content(&format!("{source}{path}"))? {
            pending.put_content(place, content)?;
        }
    }
    if moves && pending.skipped_writes() == already_skipped {
        pending.remove_folder(source, true)?;
    }
    Ok(())
}

/// Lists the files of a folder, separated by commas.
fn list_files(inputs: &Inputs<'_>, pending: &PendingChanges<'_>) -> Result<String> {
    let folder = pending.path(inputs.text("path"))?;
    if !pending.is_folder(&folder)? {
        return Err(pending.fault(Flaw::Failed, format!("there is no folder `{folder}`")));
    }
    let wanted = inputs.0.get("fileNamePattern").and_then(Node::text).unwrap_or("*").to_uppercase();
    let is_wanted = |path: &str| {
        let (above, name) = path.rsplit_once('\\').unwrap_or(("", path));
        (inputs.flag("recursive", false) || above.is_empty()) && pattern::fits(&name.to_uppercase(), &wanted)
    };
    let below = pending.walk(&folder)?.into_iter();
    let files = below.filter(|(path, is_folder)| !is_folder && is_wanted(path));
    let files: Vec<String> = files.map(|(path, _)| format!(r"{}:\{folder}{path}", pending.drive())).collect();
    Ok(files.join(","))
}

/// Copies attachments to the volume.
fn install_files(inputs: &Inputs<'_>, attachments: &Attachments, pending: &mut PendingChanges<'_>) -> Result<()> {
    let source = inputs.text("source");
    let files = attachments::below(attachments, source);
    if files.is_empty() {
        return Err(pending.fault(Flaw::Failed, format!("there is no file in {source:?} next to the document")));
    }
    let destination =
        destination_path(inputs.text("destination"), &source.trim_end_matches('/').replace('/', r"\"), pending)?;
    for (below, content) in files {
        // The name of an attachment is checked as a Windows file name.
        let place = match below {
            "" => destination.clone(),
            below => pending.path(&format!(r"{destination}\{below}"))?,
        };
        write_file(place, content.clone(), inputs.flag("overwrite", true), pending)?;
    }
    Ok(())
}

/// Adds the certificates of attachments to a certificate store.
fn install_certificates(
    inputs: &Inputs<'_>,
    attachments: &Attachments,
    pending: &mut PendingChanges<'_>,
) -> Result<()> {
    let store = inputs.0.get("store").and_then(Node::text).unwrap_or("ROOT").to_owned();
    let files = attachments::below(attachments, inputs.text("source"));
    let read = |content: &Content| certificates::parse(content.data.as_deref()?);
    let found: Option<Vec<Vec<_>>> = files.iter().map(|(_, content)| read(content)).collect();
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        return Err(
            pending.fault(Flaw::Failed, format!("{:?} holds something else than certificates", inputs.text("source")))
        );
    };
    for certificate in found.into_iter().flatten() {
        let setting = Setting::Certificate { store: store.clone(), thumbprint: certificate.thumbprint() };
        pending.set(&setting, Some(Value::Certificate(certificate.der().to_vec())))?;
    }
    Ok(())
}

/// Deletes the files that match the path.
fn delete_files(inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    for path in pending.matching(inputs.text("path"))? {
        if !pending.is_file(&path)? {
            return Err(pending.fault(Flaw::Failed, format!("there is no file `{path}`")));
        }
        pending.remove(path)?;
    }
    Ok(())
}

/// Creates a folder.
fn create_folder(inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    let path = pending.path(inputs.text("path"))?;
    if !inputs.flag("overwrite", true) && pending.is_folder(&path)? {
        return Err(pending.fault(Flaw::Failed, format!("`{path}` exists")));
    }
    pending.make_folder(path)?;
    Ok(())
}

/// Deletes a folder.
fn delete_folder(inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    let path = pending.path(inputs.text("path"))?;
    match (pending.is_folder(&path)?, inputs.flag("force", false)) {
        (true, with_all) => pending.remove_folder(path, with_all)?,
        (false, true) => {}
        (false, false) => return Err(pending.fault(Flaw::Failed, format!("there is no folder `{path}`"))),
    }
    Ok(())
}

/// Fails unless a registry value is as given.
fn assert_registry(inputs: &Inputs<'_>, pending: &PendingChanges<'_>) -> Result<()> {
    let setting = registry_setting(inputs.text("path"), inputs.text("name"), pending)?;
    let wanted = inputs.0.get("value").map(|_| registry_value(inputs.0)).transpose()?;
    let found = pending.get(&setting)?;
    if found != wanted {
        let show = |value: &Option<Value>| value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
        let what = format!("{setting} is {} instead of {}", show(&found), show(&wanted));
        return Err(pending.fault(Flaw::Failed, what));
    }
    Ok(())
}

/// Performs the offline operations that a script translates to.
fn execute_powershell(inputs: &Inputs<'_>, pending: &mut PendingChanges<'_>) -> Result<()> {
    let mut operations = Vec::new();
    for command in inputs.0.get("commands").and_then(Node::list).unwrap_or_default() {
        let translated = powershell::translate(command.text().unwrap_or_default());
        operations.extend(translated.map_err(|what| Fault::new(command.at, Flaw::Script, what))?);
    }
    let mut made: Vec<String> = Vec::new();
    for operation in operations {
        perform_operation(operation, inputs.0.at, &mut made, pending)?;
    }
    if let Some(key) = made.iter().find(|key| !pending.has_key(key)) {
        let what = format!("`{key}` is made and holds no value: a key without one is not written");
        return Err(pending.fault(Flaw::Script, what));
    }
    Ok(())
}

/// Returns the content of a file that must be there.
fn existing(pending: &PendingChanges<'_>, path: &str) -> Result<String> {
    pending.text(path)?.ok_or_else(|| pending.fault(Flaw::Failed, format!("there is no file `{path}`")))
}
