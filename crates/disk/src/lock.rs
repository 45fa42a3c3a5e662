//! Locks on image files that other programs heed: `flock`, and the record locks that qemu takes.
//!
//! Record locks are taken as open file description locks (`F_OFD_SETLK`). A POSIX record lock belongs to the process and
//! is lost as soon as any descriptor of the file is closed in it, also one that was opened for a moment to read a byte;
//! a lock of an open file description lasts until the last descriptor of that description is closed.
//!
//! qemu says by shared locks on single bytes what it does with an image (byte 100 + n: it has permission n) and what
//! others must not do (byte 200 + n). The permissions are 0 to read consistent data, 1 to write, 2 to write what is
//! there already, 3 to resize. A reader here does the same; a writer locks every byte, which meets each lock of others.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::FlockOperation;

use super::{Error, Result};
use coldforge_base::fs;

/// What a writing qemu holds: permissions 1 to 3.
const WRITES: (i64, i64) = (101, 3);
/// What a reader holds: that it reads, and that nobody is to write or to resize meanwhile.
const READS: [(i64, i64); 3] = [(100, 1), (201, 1), (203, 1)];
/// All bytes of a file, however long it becomes.
const ALL: (i64, i64) = (0, 0);

/// Takes the locks of a reader on an open file. A file system without locks has nobody to ask.
///
/// # Errors
/// [`Error::Busy`] if another program writes to the file, or holds it for itself.
pub(super) fn share(file: &File, path: &Path) -> Result<()> {
    flock(file, path, FlockOperation::NonBlockingLockShared)?;
    if is_written(file) {
        return Err(Error::Busy { path: path.to_owned() });
    }
    READS.into_iter().try_for_each(|range| record(file, path, libc::F_RDLCK, range))
}

/// Takes the locks of a writer on an open file; `reader` is another description of the same file, whose own locks of a
/// reader give way.
///
/// # Errors
/// [`Error::Busy`] if another program uses the file; the reader's locks are as they were then.
pub(super) fn claim(file: &File, reader: Option<&File>, path: &Path) -> Result<()> {
    if let Some(reader) = reader {
        flock(reader, path, FlockOperation::NonBlockingUnlock)?;
        record(reader, path, libc::F_UNLCK, ALL)?;
    }
    let claimed = flock(file, path, FlockOperation::NonBlockingLockExclusive)
        .and_then(|()| record(file, path, libc::F_WRLCK, ALL));
    if let (Err(_), Some(reader)) = (&claimed, reader) {
        let _ = flock(file, path, FlockOperation::NonBlockingUnlock);
        let _ = share(reader, path);
    }
    claimed
}

/// Tells whether another description of a file has a lock that says that it writes.
fn is_written(file: &File) -> bool {
    let mut lock = range(libc::F_WRLCK, WRITES);
    // Where nobody can say, nobody writes.
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok();
    asked && i32::from(lock.l_type) != libc::F_UNLCK
}

fn flock(file: &File, path: &Path, operation: FlockOperation) -> Result<()> {
    answer(rustix::fs::flock(file, operation).map_err(io::Error::from), path)
}

fn record(file: &File, path: &Path, kind: i32, bytes: (i64, i64)) -> Result<()> {
    let lock = range(kind, bytes);
    answer(fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(|_| ()).map_err(io::Error::from), path)
}

fn range(kind: i32, (start, length): (i64, i64)) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: start,
        l_len: length,
        // Demanded for locks of descriptions.
        l_pid: 0,
    }
}

fn answer(answer: io::Result<()>, path: &Path) -> Result<()> {
    let Err(error) = answer else { return Ok(()) };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN | Errno::EACCES) => Err(Error::Busy { path: path.to_owned() }),
        // EINVAL: a kernel or a file system that does not know locks of descriptions.
        Some(Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        _ => Err(fs::failed("lock", path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coldforge_base::Failure as _;

    fn open(path: &Path) -> File {
        File::options().read(true).write(true).open(path).expect("a file")
    }

    fn code(result: Result<()>) -> Option<&'static str> {
        result.err().and_then(|error| error.code())
    }

    #[test]
    fn a_writers_lock_outlives_every_other_descriptor_of_the_file_and_ends_with_its_own() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (reader, writer) = (open(file.path()), open(file.path()));
        share(&reader, file.path()).expect("a reader");
        claim(&writer, Some(&reader), file.path()).expect("a writer");
        // A POSIX record lock of this process would be lost here.
        drop(open(file.path()));
        drop(writer.try_clone().expect("a second descriptor"));
        drop(reader);
        assert_eq!(code(share(&open(file.path()), file.path())), Some("E-IMAGE-BUSY"));
        let probe = open(file.path());
        assert_eq!(code(record(&probe, file.path(), libc::F_RDLCK, (100, 1))), Some("E-IMAGE-BUSY"));
        drop(writer);
        record(&probe, file.path(), libc::F_RDLCK, (100, 1)).expect("free");
        share(&open(file.path()), file.path()).expect("free");
    }

    #[test]
    fn only_a_program_that_writes_makes_a_file_busy_for_readers_and_any_makes_it_busy_for_writers() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (byte, busy) in [(100, false), (101, true), (102, true), (103, true), (201, false)] {
            let other = open(file.path());
            record(&other, file.path(), libc::F_RDLCK, (byte, 1)).expect("a lock as qemu takes it");
            let reader = open(file.path());
            assert_eq!(code(share(&reader, file.path())).is_some(), busy, "byte {byte}");
            drop(reader);
            let reader = open(file.path());
            let _ = share(&reader, file.path());
            let claimed = claim(&open(file.path()), Some(&reader), file.path());
            assert_eq!(code(claimed), Some("E-IMAGE-BUSY"), "byte {byte}");
            if !busy {
                // The reader reads on, under its own locks.
                let third = open(file.path());
                assert_eq!(code(record(&third, file.path(), libc::F_WRLCK, (201, 1))), Some("E-IMAGE-BUSY"));
            }
        }
    }
}
