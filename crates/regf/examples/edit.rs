//! Sets a REG_DWORD in a hive, verifies the hive, and writes it as a new file.
//!
//! ```text
//! cargo run -p coldforge-regf --example edit -- fixtures/hives/minimal-1.5 'Alpha' Number 42 /tmp/edited
//! ```
#![allow(clippy::print_stdout)] // it is what an example does

use std::error::Error;

use coldforge_base::time::FileTime;
use coldforge_regf::Hive;

const REG_DWORD: u32 = 4;
/// 2022-06-15: an edit reads no clock of its own.
const NOW: FileTime = FileTime(132_997_248_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hive, key, name, number, out] = arguments.as_slice() else {
        return Err("usage: edit HIVE KEY VALUE NUMBER OUT".into());
    };
    let number: u32 = number.parse()?;
    let mut hive = Hive::parse(std::fs::read(hive)?)?;
    let before = hive.key(key)?.map(|key| key.value(name)).transpose()?.flatten();
    println!("before: {}", before.map_or_else(|| "absent".to_owned(), |value| format!("type {}", value.kind())));
    let edit = hive.set_value(key, name, REG_DWORD, &number.to_le_bytes(), NOW)?;
    for range in &edit.touched {
        println!("changed: {} bytes at {:#x}", range.length, range.offset);
    }
    let sealed = hive.seal()?;
    println!("sealed: {} ranges of the base block", sealed.len());
    let findings = hive.verify();
    if let Some(first) = findings.first() {
        return Err(format!("the hive has {} findings, the first: {first}", findings.len()).into());
    }
    println!("verified: no finding");
    std::fs::write(out, hive.into_bytes())?;
    Ok(())
}
