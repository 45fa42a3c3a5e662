//! Tells what a disk image is, lists its partitions, and writes its disk as a dynamic VHDX.
//!
//! ```text
//! cargo run -p coldforge-disk --example convert -- fixtures/ws2022.vhd /tmp/ws2022.vhdx
//! ```
#![allow(clippy::print_stdout)] // it is what an example does

use std::error::Error;
use std::path::Path;

use coldforge_base::ReadAt as _;
use coldforge_base::progress::Silent;
use coldforge_disk::{Format, Image, convert, partition};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, out] = arguments.as_slice() else {
        return Err("usage: convert IMAGE OUT".into());
    };
    let image = Image::open(Path::new(image), None)?;
    println!("{}: a disk of {} bytes", image.format(), image.len());
    for part in partition::scan(&image)?.partitions {
        println!("partition {}: {} bytes at {:#x}", part.number, part.length_bytes, part.start.0);
    }
    convert(&image, Path::new(out), Format::VhdxDynamic, &Silent)?;
    println!("written: {out}");
    Ok(())
}
