//! The facts that checks read: the container, and the evidence of its disk.

use super::outcome::{Outcome, unknown};
use crate::audit::Route;
use crate::windows::Evidence;
use crate::windows::setting::{Data, Setting, Value};
use coldforge_base::Refusal;
use coldforge_disk::{Format, Image};

/// What a fix sets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fix {
    /// The id of its check.
    pub check: &'static str,
    /// The setting.
    pub setting: Setting,
    /// The value, or none to remove it.
    pub to: Option<Value>,
}

/// The root of the keys of the control set that the next boot loads.
const CURRENT: &str = r"HKLM\SYSTEM\CurrentControlSet";
/// The root of the machine's software.
const SOFTWARE: &str = r"HKLM\SOFTWARE";

/// The container of a disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Container {
    /// Its format.
    pub format: Format,
    /// Whether a VHDX has a log that its reader must replay first.
    pub has_log: bool,
    /// Whether a VMDK is of the kind that AWS takes: `streamOptimized`.
    pub is_stream_optimized: bool,
}

impl Container {
    /// Returns what is known of an image's container.
    pub fn of(image: &Image) -> Self {
        let is_stream_optimized = image.vmdk_kind() == Some("streamOptimized");
        Self { format: image.format(), has_log: image.has_log(), is_stream_optimized }
    }

    /// Returns what is known of a container that will be written.
    pub fn to_be(format: Format) -> Self {
        Self { format, has_log: false, is_stream_optimized: format == Format::Vmdk }
    }
}

/// What is known of an image.
pub struct Facts<'e> {
    pub(super) container: Container,
    pub(super) evidence: &'e Evidence<'e>,
    pub(super) route: Route,
    /// Whether the request names the boot mode, as those of a bundle do.
    pub(super) is_boot_mode_named: bool,
    /// Values that are taken as if they were set: what would be if a fix were made.
    edits: Vec<Fix>,
}

impl<'e> Facts<'e> {
    /// Returns the facts about a disk in a container; `is_boot_mode_named` tells whether the request to AWS will name the
    /// boot mode.
    pub fn new(container: Container, evidence: &'e Evidence<'e>, route: Route, is_boot_mode_named: bool) -> Self {
        Self { container, evidence, route, is_boot_mode_named, edits: Vec::new() }
    }

    /// Returns the facts as they would be if these values were set.
    pub(super) fn with(&self, edits: Vec<Fix>) -> Self {
        Self { edits, ..*self }
    }

    /// Returns the values that are taken as set below a key, by name; `None` for one that is taken as removed.
    fn edits_of<'f>(&'f self, of: &'f str) -> impl Iterator<Item = (&'f str, Option<&'f Data>)> {
        self.edits.iter().filter_map(move |fix| match &fix.setting {
            Setting::Registry { key, name } if key.eq_ignore_ascii_case(of) => {
                Some((name.as_str(), fix.to.as_ref().and_then(Value::as_data)))
            }
            _ => None,
        })
    }

    /// Returns the values of a key.
    fn values(&self, key: &str) -> Result<Vec<(String, Data)>, Refusal> {
        let mut values = self.evidence.values(key)?;
        for (name, data) in self.edits_of(key) {
            values.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            values.extend(data.map(|data| (name.to_owned(), data.clone())));
        }
        Ok(values)
    }

    /// Returns whether the driver of the Elastic Network Adapter (ENA) is installed; `false` if that cannot be read.
    pub fn has_ena(&self) -> bool {
        self.is_ena_installed().unwrap_or(false)
    }

    /// Returns whether the driver of the Elastic Network Adapter (ENA) is installed.
    pub(super) fn is_ena_installed(&self) -> Result<bool, Refusal> {
        Ok(self.start("ena")?.is_some() && self.evidence.is_there(r"\Windows\System32\drivers\ena.sys")?)
    }

    /// Returns a value below the control set of the next boot.
    pub(super) fn current(&self, key: &str, name: &str) -> Result<Found, Refusal> {
        self.found(format!(r"{CURRENT}\{key}"), name)
    }

    /// Returns a value of SOFTWARE.
    pub(super) fn software(&self, key: &str, name: &str) -> Result<Found, Refusal> {
        self.found(format!(r"{SOFTWARE}\{key}"), name)
    }

    /// Returns a value of SYSTEM outside the control sets.
    pub(super) fn system(&self, key: &str, name: &str) -> Result<Found, Refusal> {
        self.found(format!(r"HKLM\SYSTEM\{key}"), name)
    }

    fn found(&self, key: String, name: &str) -> Result<Found, Refusal> {
        let edit =
            self.edits_of(&key).find(|(edited, _)| edited.eq_ignore_ascii_case(name)).map(|(_, data)| data.cloned());
        let value = match edit {
            Some(value) => value,
            None => self.evidence.value(&key, name)?,
        };
        Ok(Found { at: format!("{}!{name}", self.evidence.place(&key)), value })
    }

    /// Returns the subkeys of a key below the control set of the next boot; none if there is no such key.
    pub(super) fn current_keys(&self, key: &str) -> Result<Vec<String>, Refusal> {
        Ok(self.evidence.subkeys(&format!(r"{CURRENT}\{key}"))?.unwrap_or_default())
    }

    /// Returns whether there is a key below the control set of the next boot.
    pub(super) fn has_current(&self, key: &str) -> Result<bool, Refusal> {
        Ok(self.evidence.subkeys(&format!(r"{CURRENT}\{key}"))?.is_some())
    }

    /// Returns the subkeys of a key of SOFTWARE; `None` if there is no such key.
    pub(super) fn software_keys(&self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        self.evidence.subkeys(&format!(r"{SOFTWARE}\{key}"))
    }

    /// Returns the values of a key below the control set of the next boot.
    pub(super) fn current_values(&self, key: &str) -> Result<Vec<(String, Data)>, Refusal> {
        self.values(&format!(r"{CURRENT}\{key}"))
    }

    /// Returns the values of a key of SOFTWARE.
    pub(super) fn software_values(&self, key: &str) -> Result<Vec<(String, Data)>, Refusal> {
        self.values(&format!(r"{SOFTWARE}\{key}"))
    }

    /// Returns a key below the control set of the next boot as it is on the disk.
    pub(super) fn place(&self, key: &str) -> String {
        self.evidence.place(&format!(r"{CURRENT}\{key}"))
    }

    /// Returns how a service is started; `None` if there is no such service, or its key is a leftover without `Start`.
    pub(super) fn start(&self, service: &str) -> Result<Option<u32>, Refusal> {
        self.current(&format!(r"Services\{service}"), "Start")?.dword()
    }

    /// Returns where the start of a service is stored.
    pub(super) fn start_at(&self, service: &str) -> String {
        format!("{}!Start", self.place(&format!(r"Services\{service}")))
    }
}

/// A value that was looked for.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Where it is, or would be.
    pub(super) at: String,
    /// The value, or `None` if it is not there.
    pub(super) value: Option<Data>,
}

impl Found {
    /// Returns the number of a REG_DWORD; `None` if there is no value.
    pub(super) fn dword(&self) -> Result<Option<u32>, Refusal> {
        self.of("REG_DWORD", Data::as_dword)
    }

    /// Returns the text of a REG_SZ or REG_EXPAND_SZ; `None` if there is no value.
    pub(super) fn text(&self) -> Result<Option<String>, Refusal> {
        self.of("REG_SZ", Data::as_text)
    }

    /// Returns the texts of a REG_MULTI_SZ; none if there is no value.
    pub(super) fn texts(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.of("REG_MULTI_SZ", Data::as_texts)?.unwrap_or_default())
    }

    /// A value of another type than Windows writes tells nothing.
    fn of<T>(&self, kind: &str, read: impl FnOnce(&Data) -> Option<T>) -> Result<Option<T>, Refusal> {
        let Some(value) = &self.value else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Refusal {
            code: "E-VALUE-TYPE",
            reason: format!("{} is {} {value}, and Windows writes a {kind}", self.at, value.kind),
            hint: "look at the value in Windows and write it with its own type",
        })
    }
}

/// Returns the unknown outcome of a check for which there is no evidence.
pub(super) fn unproven(what: &str) -> Outcome {
    unknown(format!("{what}: not proven, so not judged"))
}
