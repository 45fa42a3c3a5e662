//! Ctrl-C and its like: the process ends, and nothing temporary is left behind.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::base::interrupt;

/// Waits for a signal to stop, on a thread of its own. A run that is writing into an image is brought to its end first.
pub(super) fn watch() {
    // Where signals cannot be watched, they end the process as they always did.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _nothing_begins = interrupt::break_off();
            std::process::exit(128 + signal);
        }
    });
}

/// Waits for the end of the process, if it was told to stop: what failed because of that is no failure to report.
pub(super) fn heed() {
    while interrupt::is_broken_off() {
        std::thread::park();
    }
}
