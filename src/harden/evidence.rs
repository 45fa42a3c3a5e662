//! Writes the evidence of a run into its bundle: assessment, log, files for AWS, reports.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::edit::Edit;
use super::emit::Emitted;
use super::job::{Harden, Outcome};
use super::{Result, reports};
use crate::audit::{self, AssessmentDocument, AwsRecord, Chain, Header, Holds, Policy, Record, Staging, Tool, Trailer};
use crate::aws::{self, Import};
use crate::component::Component;
use crate::policy::Catalog;
use crate::windows::BootMode;
use coldforge_base::digest::Digest;
use coldforge_disk::Format;

/// What the evidence is about, beside the outcome of the run.
pub(super) struct Evidence<'a> {
    /// The job.
    pub job: &'a Harden,
    /// What was assessed.
    pub catalog: &'a Catalog,
    /// The request as the log records it.
    pub recorded: Policy,
    /// What was changed.
    pub edit: &'a Edit,
    /// The image.
    pub emitted: &'a Emitted,
    /// The image's name.
    pub name: &'a str,
    /// Its container.
    pub format: Format,
    /// What the bundle holds of it.
    pub holds: Holds,
    /// How firmware starts the machine.
    pub boot_mode: BootMode,
    /// Whether the machine has a driver of Amazon's network adapter.
    pub has_ena: bool,
}

impl Evidence<'_> {
    /// Writes everything but the lists.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn write(self, staging: &mut Staging, outcome: &Outcome) -> Result<()> {
        let assessment = AssessmentDocument::new(self.name, &outcome.windows, &outcome.after).to_bytes();
        staging.write(reports::ASSESSMENT, &assessment)?;
        let log = self.log(outcome, Digest::of(&assessment));
        staging.write(reports::LOG, log.as_bytes())?;
        self.write_inputs(staging)?;
        let preflight = match self.holds {
            // Amazon takes no differencing disks.
            Holds::Delta => None,
            Holds::Image | Holds::Nothing => self.write_aws(staging, outcome)?,
        };
        reports::write_all(staging, (&assessment, &log), preflight.as_deref(), self.catalog, self.job.sarif)
    }

    /// Returns the log.
    fn log(&self, outcome: &Outcome, assessment_sha256: Digest) -> String {
        let mut chain = Chain::default();
        chain.push(&Record::Header(Box::new(self.header(outcome))));
        let changes = self.edit.change_records().map(Record::Change);
        for record in changes.chain(self.edit.file_records().map(Record::File)) {
            chain.push(&record);
        }
        chain.push(&Record::Trailer(Box::new(self.trailer(outcome, assessment_sha256))));
        chain.into_text()
    }

    fn header(&self, outcome: &Outcome) -> Header {
        Header {
            schema: Cow::Borrowed(audit::SCHEMA),
            tool: Tool::THIS,
            started: self.job.now,
            source: self.emitted.source.clone(),
            windows: outcome.windows.clone(),
            policy: self.recorded.clone(),
            aws: (self.holds != Holds::Delta).then(|| AwsRecord {
                options_sha256: Digest::of(&aws::options_file(&self.job.aws)),
                boot_mode: self.job.boot_mode.map(|mode| mode.to_string()),
            }),
            warnings: outcome.warnings.clone(),
        }
    }

    fn trailer(&self, outcome: &Outcome, assessment_sha256: Digest) -> Trailer {
        Trailer {
            output: self.emitted.output.clone(),
            changes: self.edit.applied.len(),
            files: self.edit.files.len(),
            before: outcome.before.totals,
            after: outcome.after.totals,
            scope: outcome.scope.clone(),
            assessment_sha256,
            held_back: outcome.held_back.clone(),
            waived: outcome.waived.clone(),
            left_open: outcome.left_open.clone(),
            at_risk: outcome.at_risk.clone(),
            benchmark: outcome.after.benchmark.to_string(),
            second_opinion: self.emitted.second_opinion.clone(),
        }
    }

    /// Writes the files that the request was made of: what proves the bundle again.
    fn write_inputs(&self, staging: &mut Staging) -> Result<()> {
        let request = &self.job.request;
        if let (Some(path), Some(file)) = (request.benchmark_path(), &request.benchmark) {
            staging.write(path, file)?;
        }
        let brought = request.components.iter().flat_map(Component::files);
        let brought: BTreeMap<Digest, &[u8]> =
            brought.filter_map(|content| Some((content.sha256, content.data.as_deref()?))).collect();
        for (sha256, data) in brought {
            staging.write(&reports::brought(sha256), data)?;
        }
        Ok(())
    }

    /// Writes the files for AWS; returns the document of the preflight.
    fn write_aws(&self, staging: &mut Staging, outcome: &Outcome) -> Result<Option<Vec<u8>>> {
        let Emitted { output, blocks, unsent, .. } = self.emitted;
        let import = Import {
            image: self.name,
            format: self.format,
            sha256: output.sha256,
            disk_bytes: output.disk_bytes,
            blocks,
            linear: &output.ebs_linear.sha256_base64,
            free: unsent,
            identity: &outcome.windows,
            boot_mode: self.boot_mode,
            has_ena: self.has_ena,
            benchmark: &outcome.after.benchmark.to_string(),
            options: &self.job.aws,
        };
        let mut preflight = None;
        for (path, content) in aws::files(&import, &outcome.preflight.1) {
            staging.write(path, &content)?;
            if path == aws::PREFLIGHT {
                preflight = Some(content);
            }
        }
        Ok(preflight)
    }
}
