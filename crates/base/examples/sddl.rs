//! Reads the text of a security descriptor (SDDL), and tells whether somebody may read the file that it stands on.
//!
//! ```text
//! cargo run -p coldforge-base --example sddl -- 'O:BAG:SYD:P(A;;FA;;;BA)(A;;FR;;;BU)' S-1-5-32-545
//! ```
#![allow(clippy::print_stdout)] // it is what an example does

use std::error::Error;

use coldforge_base::access::{self, Kind};
use coldforge_base::descriptor::Descriptor;
use coldforge_base::sddl;
use coldforge_base::sid::Sid;

/// FILE_GENERIC_READ.
const READ: u32 = 0x0012_0089;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, sid] = arguments.as_slice() else {
        return Err("usage: sddl DESCRIPTOR SID".into());
    };
    let bytes = sddl::parse(text)?;
    let descriptor = Descriptor::parse(&bytes)?;
    println!("{} bytes: {descriptor}", bytes.len());
    let sid: Sid = sid.parse()?;
    match access::allows(Kind::File, &descriptor, std::slice::from_ref(&sid), READ) {
        Some(true) => println!("{sid} may read it"),
        Some(false) => println!("{sid} may not read it"),
        None => println!("it has an entry that is not understood"),
    }
    Ok(())
}
