//! coldforge hardens Windows disk images without booting them.
//!
//! It opens an image (raw, VHD, VHDX, VMDK), finds the Windows in it, reads NTFS and the registry hives, applies a DISA
//! STIG, proves the result, and emits a hardened image with a checksummed audit log. No virtual machine, no root, no mount,
//! no network.
//!
//! # Rooms
//! Four crates know disks, volumes and hives, and nothing of a STIG: anybody can use them alone. Above them each module of
//! this crate is a room that imports only what stands below it; a test holds it so.
//!
//! ```text
//! cli         one verb, one file; the only room that prints
//! imagebuilder  recipes, pipelines, schedules, history
//! harden      the jobs: scan, harden, preflight, verify, reports
//! component  edit  component documents, carried out offline  |  edits of registry and files by hand
//! report  aws  checklists, results and a page, made of the evidence  |  the files that `aws ec2 import-image` reads
//! audit       the evidence: records, hash chain, bundle
//! policy      rules, catalogs, assess, plan, apply; knows a machine only as `windows::setting::Settings`
//! windows     an installed Windows: which volume, which hives, who it is; reads and changes settings
//! formats     `.reg`, Registry.pol, security templates, `audit.csv`, firewall rules, ZIP; text that nobody obeys
//!
//! coldforge-ntfs   a volume: read, verify, write         coldforge-regf   a hive: read, verify, edit, replay its logs
//! coldforge-disk   raw, VHD, VHDX, VMDK, MBR and GPT, window, copy-on-write overlay, export, undo journal, digests
//! coldforge-base   checked byte cuts, addresses, devices, failures, digests, times, SIDs and descriptors, progress
//! ```
//!
//! # The walk of one rule
//! `LmCompatibilityLevel = 5`: a row of the [catalog](policy::Catalog) is a [`policy::Rule`]. [`policy::assess`] asks
//! [`Readings::get`](windows::setting::Readings::get); [`windows::Machine`] turns `HKLM\SYSTEM\CurrentControlSet` into
//! `ControlSet001` by `Select\Default`, and [`coldforge_regf::Hive`] finds the value. It is not 5: a finding is open.
//! [`policy::plan`] makes a step of it, [`policy::apply`] calls `Settings::set`, which edits four bytes of the hive and
//! returns what was touched. [`windows::Machine::commit`] seals the hive, verifies it, and writes the touched bytes
//! through [`coldforge_ntfs::Volume`] into the [`coldforge_disk::Overlay`]. The machine is opened again through the overlay and assessed
//! again: the finding must be closed. [`coldforge_disk::export`] writes the new image; it is opened, assessed, and read by crates
//! that this project did not write. One audit line tells rule, setting, before, after, file, cell and image bytes.
//!
//! # One address language
//! cell -> file offset -> cluster -> volume -> image, each a type of its own ([`coldforge_base::CellOffset`] and its siblings);
//! the same types stand in errors and in audit lines.
//!
//! # Overlay first
//! Everything is written to a copy-on-write overlay over a source that is opened for reading only. A dry run is the same
//! path with the overlay dropped.
//!
//! # Example
//! ```
//! use coldforge_base::time::Moment;
//! use coldforge_disk::{Image, Overlay};
//! use coldforge::windows::{Machine, OpenOptions};
//! use coldforge::windows::setting::{Readings as _, Setting, Settings as _, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image = Image::open("fixtures/ws2022.vhd".as_ref(), None)?;
//! let opening = OpenOptions { now: Moment(1_767_225_600).filetime(), ..OpenOptions::default() };
//! let mut machine = Machine::open(Overlay::new(&image), opening)?;
//! let setting = Setting::Registry {
//!     key: r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa".into(),
//!     name: "LmCompatibilityLevel".into(),
//! };
//! for place in machine.places(&setting) {
//!     machine.set(&place, Some(&Value::dword(5)))?;
//! }
//! machine.commit()?;
//! assert!(!machine.into_device().changed()?.is_empty());
//! # Ok(())
//! # }
//! ```

pub mod audit;
pub mod aws;
pub mod cli;
pub mod component;
pub mod edit;
pub mod formats;
pub mod harden;
pub mod imagebuilder;
pub mod policy;
pub mod report;
pub mod windows;
