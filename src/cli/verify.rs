//! `coldforge verify`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::options::{Gate, breaks};
use super::ui::{Ui, columns, plain};
use super::{Result, Verdict, boxed, signing};
use crate::harden;
use crate::harden::Given;

/// Prove a bundle: digests, audit chain, values in the image, and with --source every changed byte
///
/// Exit code 0 if everything holds, 1 if something does not (each problem names its file), or a bound of --threshold is
/// broken.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The folder that `coldforge harden -o` wrote
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,

    /// The image that the bundle was made from, as it was: proves that nothing differs but what the log lists. A
    /// differencing image in a bundle cannot be read without it
    #[arg(long, value_name = "IMAGE")]
    source: Option<PathBuf>,

    /// The image that a run with --in-place wrote into, which is not in the bundle
    #[arg(long, value_name = "IMAGE")]
    image: Option<PathBuf>,

    /// The parent of a source that is a differencing disk, where it is not in the source's own folder
    #[arg(long, value_name = "FILE", requires = "source")]
    parent: Option<PathBuf>,

    /// Request that this key has signed the bundle: a public key file of minisign, or the base64 line in it
    #[arg(long, value_name = "FILE|BASE64")]
    public_key: Option<String>,

    #[command(flatten)]
    gate: Gate,
}

/// Lays out what is proven with the source and without it.
fn claims() -> String {
    let word = |proven: bool| if proven { "yes" } else { "no" }.to_owned();
    let mut rows = vec![["without --source", "with", "what is proven of an intact bundle"].map(str::to_owned).to_vec()];
    for claim in harden::CLAIMS {
        rows.push(vec![word(claim.without_source), word(claim.with_source), claim.claim.to_owned()]);
    }
    format!("\n{}", columns(&rows))
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<Verdict> {
    let Arguments { bundle, source, image, parent, public_key, gate } = arguments;
    let threshold = gate.read()?;
    let public_key = public_key.as_deref().map(signing::public_key).transpose()?;
    let given = Given { source: source.as_deref(), image: image.as_deref(), parent: parent.as_deref(), public_key };
    let proof = harden::verify(bundle, given, ui).map_err(boxed)?;
    let intact = proof.problems.is_empty();
    if ui.json {
        ui.document(&json!({
            "schema": "coldforge/proof/1",
            "bundle": bundle.display().to_string(),
            "intact": intact,
            "proven": proof.proven,
            "problems": proof.problems,
            "scope": proof.scope,
            "notes": proof.notes,
            "source_given": source.is_some(),
            "claims": harden::CLAIMS,
        }));
    } else {
        let mut text = String::new();
        for claim in &proof.proven {
            text.push_str(&format!("ok       {}\n", plain(claim)));
        }
        for said in &proof.scope {
            text.push_str(&format!("covers   {}\n", plain(said)));
        }
        for note in &proof.notes {
            text.push_str(&format!("note     {}\n", plain(note)));
        }
        for problem in &proof.problems {
            text.push_str(&format!("PROBLEM  {}: {}\n", plain(&problem.place), plain(&problem.what)));
        }
        text.push_str(&claims());
        let verdict = if intact { "is intact" } else { "is NOT intact" };
        text.push_str(&format!("\n{} {verdict}\n", bundle.display()));
        ui.data(&text);
    }
    let breaks = proof.assessment.as_ref().is_some_and(|assessment| breaks(threshold.as_ref(), assessment, ui));
    Ok(if intact && !breaks { Verdict::Done } else { Verdict::Open })
}
