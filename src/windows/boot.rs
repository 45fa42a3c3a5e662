//! The boot configuration store (BCD), a hive of its own: `Objects\{id}\Elements\{number}`, value `Element`.
//!
//! Numbers have 8 bytes, booleans one; lists of objects are strings. UEFI machines keep the store on the EFI system
//! partition ([`super::STORE`]), BIOS machines in `\Boot\BCD` of the active partition. Read-only: a wrong byte here keeps
//! the machine from booting.

use coldforge_base::{read, utf16};
use coldforge_regf::{self as regf, Lookup};

/// The boot manager's object.
const MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
/// The type of an object that loads an operating system.
const LOADER: u32 = 0x1020_0003;
/// The deepest chain of inheritance that is followed: real ones have three links.
const MAX_LINKS: usize = 8;

/// Numbers of elements (BcdElementType).
mod element {
    pub(super) const DEFAULT: u32 = 0x2300_0003;
    pub(super) const DISPLAY_ORDER: u32 = 0x2400_0001;
    pub(super) const INHERIT: u32 = 0x1400_0006;
    pub(super) const PATH: u32 = 0x1200_0002;
    pub(super) const DESCRIPTION: u32 = 0x1200_0004;
    pub(super) const BOOT_EMS: u32 = 0x1600_0020;
    pub(super) const NO_INTEGRITY_CHECKS: u32 = 0x1600_0048;
    pub(super) const TEST_SIGNING: u32 = 0x1600_0049;
    pub(super) const NX: u32 = 0x2500_0020;
    pub(super) const HYPERVISOR: u32 = 0x2500_00f0;
    pub(super) const WINPE: u32 = 0x2600_0022;
    pub(super) const EMS: u32 = 0x2600_00b0;
}

/// When data execution prevention is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nx {
    /// For Windows itself and programs that ask for it.
    OptIn,
    /// For all but the programs that are left out.
    OptOut,
    /// Never.
    AlwaysOff,
    /// Always.
    AlwaysOn,
}

/// A loader of an operating system, with what it inherits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loader {
    /// The object, such as `{733b62e5-..}`.
    pub id: String,
    /// The loader's file on its volume.
    pub path: Option<String>,
    /// What the menu shows.
    pub description: Option<String>,
    /// Data execution prevention; `None` for a number that is not known.
    pub nx: Option<Nx>,
    /// Whether drivers with test signatures are loaded.
    pub test_signing: bool,
    /// Whether drivers are loaded whose signatures are wrong.
    pub no_integrity_checks: bool,
    /// Whether the emergency management services are on.
    pub ems: bool,
    /// Whether the hypervisor is started.
    pub hypervisor: bool,
    /// Whether it starts a Windows for setup and repair.
    pub winpe: bool,
}

/// What a boot configuration store says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BootStore {
    /// The object that is loaded by default.
    pub default: Option<String>,
    /// The objects in the menu.
    pub display_order: Vec<String>,
    /// Whether the boot manager speaks on the emergency port.
    pub boot_ems: bool,
    /// Every loader of an operating system.
    pub loaders: Vec<Loader>,
}

impl BootStore {
    /// Returns why the bytes of a file are no boot configuration store at all; `None` for a hive, whole or not. The first
    /// four bytes are enough.
    pub(super) fn fault(bytes: &[u8]) -> Option<&'static str> {
        match bytes {
            [] => Some("is empty"),
            bytes if !bytes.starts_with(b"regf") => Some("is not a hive"),
            _ => None,
        }
    }

    /// Reads a store.
    ///
    /// # Errors
    /// What contradicts the format on the way.
    pub fn read(bcd: &dyn Lookup) -> regf::Result<Self> {
        let mut store = Self {
            default: string(bcd, MANAGER, element::DEFAULT)?,
            display_order: strings(bcd, MANAGER, element::DISPLAY_ORDER)?,
            boot_ems: flag(bcd, MANAGER, element::BOOT_EMS)?,
            loaders: Vec::new(),
        };
        let Some(objects) = bcd.key("Objects")? else { return Ok(store) };
        for object in objects.subkeys()? {
            let id = String::from_utf16_lossy(&object?.name().units().collect::<Vec<_>>());
            let kind = value(bcd, &format!(r"Objects\{id}\Description"), "Type")?;
            if kind.is_some_and(|kind| read::u32_le(&kind, 0) == Ok(LOADER)) {
                store.loaders.push(loader(bcd, id)?);
            }
        }
        Ok(store)
    }

    /// Returns the loader that starts by default.
    pub fn default_loader(&self) -> Option<&Loader> {
        let default = self.default.as_deref()?;
        self.loaders.iter().find(|loader| loader.id.eq_ignore_ascii_case(default))
    }
}

fn loader(bcd: &dyn Lookup, id: String) -> regf::Result<Loader> {
    Ok(Loader {
        path: string(bcd, &id, element::PATH)?,
        description: string(bcd, &id, element::DESCRIPTION)?,
        nx: match number(bcd, &id, element::NX)?.unwrap_or(0) {
            0 => Some(Nx::OptIn),
            1 => Some(Nx::OptOut),
            2 => Some(Nx::AlwaysOff),
            3 => Some(Nx::AlwaysOn),
            _ => None,
        },
        test_signing: flag(bcd, &id, element::TEST_SIGNING)?,
        no_integrity_checks: flag(bcd, &id, element::NO_INTEGRITY_CHECKS)?,
        ems: flag(bcd, &id, element::EMS)? || flag(bcd, &id, element::BOOT_EMS)?,
        hypervisor: number(bcd, &id, element::HYPERVISOR)?.is_some_and(|kind| kind != 0),
        winpe: flag(bcd, &id, element::WINPE)?,
        id,
    })
}

fn string(bcd: &dyn Lookup, id: &str, element: u32) -> regf::Result<Option<String>> {
    Ok(inherited(bcd, id, element)?.map(|data| utf16::decode_to_nul(&data)))
}

fn strings(bcd: &dyn Lookup, id: &str, element: u32) -> regf::Result<Vec<String>> {
    let text = own(bcd, id, element)?.map(|data| utf16::decode(&data)).unwrap_or_default();
    Ok(text.split('\0').filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

fn number(bcd: &dyn Lookup, id: &str, element: u32) -> regf::Result<Option<u64>> {
    Ok(inherited(bcd, id, element)?.and_then(|data| read::u64_le(&data, 0).ok()))
}

fn flag(bcd: &dyn Lookup, id: &str, element: u32) -> regf::Result<bool> {
    Ok(inherited(bcd, id, element)?.is_some_and(|data| data.first().is_some_and(|byte| *byte != 0)))
}

/// Returns an element of an object, or of the first one that it inherits it from.
fn inherited(bcd: &dyn Lookup, id: &str, element: u32) -> regf::Result<Option<Vec<u8>>> {
    let (mut level, mut seen) = (vec![id.to_owned()], Vec::new());
    for _ in 0..MAX_LINKS {
        let mut next = Vec::new();
        for id in level {
            if seen.contains(&id) {
                continue;
            }
            if let Some(data) = own(bcd, &id, element)? {
                return Ok(Some(data));
            }
            next.extend(strings(bcd, &id, element::INHERIT)?);
            seen.push(id);
        }
        level = next;
    }
    Ok(None)
}

fn own(bcd: &dyn Lookup, id: &str, element: u32) -> regf::Result<Option<Vec<u8>>> {
    value(bcd, &format!(r"Objects\{id}\Elements\{element:08x}"), "Element")
}

fn value(bcd: &dyn Lookup, key: &str, name: &str) -> regf::Result<Option<Vec<u8>>> {
    let Some(key) = bcd.key(key)? else { return Ok(None) };
    key.value(name)?.map(|value| value.data().map(std::borrow::Cow::into_owned)).transpose()
}
