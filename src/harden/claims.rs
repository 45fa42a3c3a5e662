//! What `verify` proves of a bundle, with the source and without it.

use serde::Serialize;

/// A claim that a bundle makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Claim {
    /// What is claimed.
    pub claim: &'static str,
    /// Whether the bundle alone proves it.
    pub without_source: bool,
    /// Whether it is proven with the source.
    pub with_source: bool,
}

const fn claim(claim: &'static str, without_source: bool, with_source: bool) -> Claim {
    Claim { claim, without_source, with_source }
}

/// The claims of a bundle, in the order in which they are proven.
pub const CLAIMS: [Claim; 16] = [
    claim("each file has its listed digest; no file, folder or link is missing, added or unknown", true, true),
    claim("the log's chain is unbroken, and no line or list holds an unknown member", true, true),
    claim("the image has the format, sizes and checksums of the log", true, true),
    claim("each value and file in the image is what the log says it is now", true, true),
    claim("a fresh assessment of the image gives the recorded one, with totals, benchmarks and policies", true, true),
    claim("reports are what log and assessment give, and files for AWS what image and options give", true, true),
    claim("the options for AWS (bucket, accounts, keys, regions) are those that the log names by digest", true, true),
    claim("the tests of components hold in the image", true, true),
    claim("each value and file was before what the log says", false, true),
    claim("each change is one that the recorded policy and components make, and none is left out", false, true),
    claim("the warnings, and what was accepted of damaged hives, are those of the same run", false, true),
    claim("nothing else on the disk differs from the source", false, true),
    claim("what was held back, waived and left open is what the plan gives", false, true),
    claim("the second readers found what the log says", false, true),
    claim("who made the bundle, and that log and options are the maker's (only --public-key proves it)", false, false),
    claim("when it was made, the source's name, options that changed nothing, slack of the container", false, false),
];
