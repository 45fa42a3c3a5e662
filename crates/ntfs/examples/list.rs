//! Lists a folder of the largest NTFS volume of a disk image, and verifies the volume.
//!
//! ```text
//! cargo run -p coldforge-ntfs --example list -- fixtures/ws2022.vhd '\Windows\System32\config'
//! ```
#![allow(clippy::print_stdout)] // it is what an example does

use std::error::Error;
use std::path::Path;

use coldforge_base::progress::Silent;
use coldforge_disk::{Image, Window, partition};
use coldforge_ntfs::Volume;
use coldforge_ntfs::verify::Check;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, folder] = arguments.as_slice() else {
        return Err("usage: list IMAGE FOLDER".into());
    };
    let image = Image::open(Path::new(image), None)?;
    let table = partition::scan(&image)?;
    let parts = table.partitions.iter().filter(|part| !part.is_extended());
    let part = parts.max_by_key(|part| part.length_bytes).ok_or("the disk has no partition")?;
    let volume = Volume::open(Window::open(&image, part.start, part.length_bytes)?)?;
    let directory = volume.find(folder)?.ok_or("there is no such folder")?;
    for entry in volume.list(&directory)? {
        println!("{} {}", if entry.is_directory { "d" } else { "-" }, entry.name);
    }
    let report = volume.verify(Check::Full, &Silent)?;
    println!("verified: {} findings", report.findings.len());
    Ok(())
}
