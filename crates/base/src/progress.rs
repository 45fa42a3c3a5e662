//! How long work reports that it moves: a trait without a terminal.

/// Receives progress of long work; called from several threads.
pub trait Progress: Sync {
    /// A stage of `total` units (bytes, rules) begins; the stage before it is over.
    fn start(&self, stage: &'static str, total: u64);

    /// `by` more units of the current stage are done.
    fn advance(&self, by: u64);

    /// The last stage is over.
    fn finish(&self) {}
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &'static str, _: u64) {}

    fn advance(&self, _: u64) {}
}
