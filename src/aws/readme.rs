//! `README.md` of the folder: both ways to AWS, in the words of this image.

use super::preflight::{Report, Route, Verdict};
use super::{Import, NO_BUCKET};
use crate::formats::markdown::{escaped, with_code};

/// Returns the text.
pub fn readme(import: &Import<'_>, report: &Report) -> String {
    let options = import.options;
    let mut text = format!(
        "# {} to AWS\n\n{}, {}, starts by {}, {} blocks of 512 KiB are not all zero.\n\n",
        escaped(import.image),
        escaped(&import.description()),
        import.format,
        import.boot_mode,
        import.blocks.len()
    );
    text.push_str(&format!(
        "Preflight for {}: {} pass, {} warn, {} fail, {} unknown (`preflight.json`).\n\n",
        report.route,
        report.count(Verdict::Pass),
        report.count(Verdict::Warn),
        report.count(Verdict::Fail),
        report.count(Verdict::Unknown)
    ));
    for check in report.failed() {
        text.push_str(&format!(
            "- {} {}: {}. {}.\n",
            check.id,
            check.title,
            escaped(&check.found),
            with_code(&check.hint)
        ));
    }
    if report.failed().next().is_some() {
        text.push('\n');
    }
    if options.bucket == NO_BUCKET {
        text.push_str(&format!("The requests name no bucket yet: put yours where `{NO_BUCKET}` stands, or run `coldforge harden` with `--bucket`.\n\n"));
    }
    text.push_str(
        "## import-image\n\n`./commands.sh import-image` makes the role, or adds to the policy of the one that is there, uploads the image and \
        sends `import-image.json`. \
        AWS changes the image (drivers, agents, DHCP, licence) and starts it once. AWS advises against hardening before \
        an import: a failed first start tells little, and `preflight.json` names what is likely to cause one.\n\n\
        ## snapshot\n\n`./commands.sh snapshot` uploads the image, sends `import-snapshot.json` and registers what comes of \
        it with `register-image.json`; `./commands.sh direct` sends the blocks of `block-map.json` to EBS without S3: zeros \
        too, unless they lie in free clusters, because a block that was never sent reads as noise on an encrypted volume. \
        Nothing is changed and nothing is started: the image must bring its drivers and agents. The commands \
        compare what AWS bills the image as (`PlatformDetails`) with Windows, and say what to do if it is something else.",
    );
    if report.route == Route::ImportImage {
        text.push_str(" Ask for that route with `coldforge preflight --route snapshot`.");
    }
    if !import.has_ena {
        text.push_str(" It has no ENA driver, so `register-image.json` says `EnaSupport: false`: instances on Nitro have no network then.");
    }
    text.push_str(
        "\n\nNothing was sent anywhere. Ids of tasks, snapshots and images are kept beside the bundle, in \
        `BUNDLE.aws-state`, a folder of the caller's alone, so that the commands can be run again after an interruption; remove \
        that folder to begin anew.\n",
    );
    text
}
