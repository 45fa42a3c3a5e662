//! Ctrl-C and its like: the process ends, and nothing temporary is left behind.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::ui::plain;
use coldforge_base::interrupt;

/// Waits for a signal to stop, on a thread of its own. A run that is writing into an image is brought to its end first, and
/// what stands for good is said.
pub(super) fn watch() {
    // Where signals cannot be watched, they end the process as they always did.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let nothing_begins = interrupt::break_off();
            use std::io::Write as _;
            for said in nothing_begins.done() {
                // There is nobody else to tell if the terminal is gone.
                let _ = writeln!(std::io::stderr(), "stopped by a signal when this was done: {}", plain(said));
            }
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
