//! The memory that images built in parallel may use together.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::windows::hive_bytes;
use coldforge_base::ReadAt;

/// The memory that an image uses in addition to its hives.
const BASE_BYTES: u64 = 64 << 20;
/// The copies of a hive in memory: before the edit, after it, and as it is read again.
const COPIES: u64 = 3;

/// An account of bytes.
pub(super) struct Budget {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// Bytes that are taken until this is dropped.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn of(limit: u64) -> Self {
        Self { limit, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until an image's share is free. One that is larger than all there is works alone.
    pub(super) fn take(&self, image: &dyn ReadAt) -> Share<'_> {
        // An image that cannot be opened is refused a moment later, with its reason.
        let hives = hive_bytes(image).unwrap_or(0);
        self.take_bytes(hives.saturating_mul(COPIES).saturating_add(BASE_BYTES))
    }

    fn take_bytes(&self, bytes: u64) -> Share<'_> {
        let is_full = |used: &mut u64| *used > 0 && used.saturating_add(bytes) > self.limit;
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used = self.freed.wait_while(used, is_full).unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_add(bytes);
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.bytes);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn no_more_is_taken_than_there_is_and_who_needs_more_is_alone() {
        let budget = Budget::of(100);
        let (now, most, alone) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [60, 60, 40, 500, 30, 30, 30] {
                let (budget, now, most, alone) = (&budget, &now, &most, &alone);
                scope.spawn(move || {
                    let _share = budget.take_bytes(bytes);
                    let used = now.fetch_add(bytes, Ordering::SeqCst) + bytes;
                    if bytes == 500 {
                        alone.store(used, Ordering::SeqCst);
                    } else {
                        most.fetch_max(used, Ordering::SeqCst);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(bytes, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 100);
        assert_eq!(alone.into_inner(), 500);
        assert_eq!(*budget.used.lock().unwrap(), 0);
    }
}
