//! What is demanded of a machine: a benchmark and the selection of its rules.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Error, Result, scope};
use crate::audit;
use crate::aws::preflight::{self, Container, Facts, Route};
use crate::component::{self, Component, Fault, Flaw, PendingChanges, Position, Scripts, StepReport};
use crate::formats::zip;
use crate::policy::source::{self, NO_STIG, Source};
use crate::policy::{
    self, Assessment, Benchmark, Catalog, Check, FirstBoot, Held, HoldBack, HoldBackChoice, Level, LocalGpo, Plan,
    Remedy, Requirement, RoleChoice, Selection, Step, Values, Waivers,
};
use crate::windows::certificates::Certificate;
use crate::windows::setting::{self, Identity, Readings, Setting};
use crate::windows::{Evidence, OpenOptions, VolumeCheck};
use coldforge_base::time::Moment;
use coldforge_base::{ReadAt, digest, hex};
use coldforge_disk::Format;
use coldforge_regf::Accept;

/// Where a bundle holds the user's own benchmark file: as XML, or in a zip.
pub(super) const BENCHMARKS: [&str; 2] = ["policy/benchmark.xml", "policy/benchmark.zip"];

/// What a user asked for; texts are kept as they were typed, since the evidence repeats them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// The benchmark's id, such as `ws2022`; `None` takes the one that fits the machine.
    pub stig: Option<String>,
    /// Whether a STIG or benchmark of another Windows is assessed all the same.
    pub force_stig: bool,
    /// A benchmark file as its publisher made it, which then stands in for a built-in one.
    pub benchmark: Option<Vec<u8>>,
    /// The components whose benchmarks are assessed beside it, such as `edge`; `all` for every one.
    pub with: Vec<String>,
    /// Policies whose rules are assessed beside it, or alone where `stig` is [`NO_STIG`].
    pub policies: Vec<Source>,
    /// The level; `None` takes that of a component, or the highest.
    pub level: Option<Level>,
    /// As what the machine is assessed.
    pub role: RoleChoice,
    /// Rules to which the run is limited; empty for all.
    pub only: Vec<String>,
    /// Rules that are left out.
    pub skip: Vec<String>,
    /// The text of an organization values file.
    pub values: Option<String>,
    /// The text of a waivers file.
    pub waivers: Option<String>,
    /// What is left open on purpose.
    pub hold_back: HoldBackChoice,
    /// The certificates that may be installed where a rule demands one of them.
    pub certificates: Vec<Certificate>,
    /// What becomes of local group policy.
    pub local_gpo: LocalGpo,
    /// What is done about settings that setup may set anew when the image starts.
    pub first_boot: FirstBoot,
    /// The checks of the preflight that are fixed where they do not pass, or `safe` for all that can be.
    pub fixes: Vec<String>,
    /// What is done beside the rules, in this order.
    pub components: Vec<Component>,
    /// What becomes of scripts in components.
    pub scripts: Scripts,
    /// Whether a dirty hive without a usable log is taken as it lies there.
    pub accept_dirty_hive: bool,
    /// Whether a hive with wrong reference counts of security descriptors, and no other error, is taken and set right.
    pub accept_refcounts: bool,
    /// How much of the volume is verified before and after the edit.
    pub check: VolumeCheck,
}

/// A demand that was held against a catalog.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    demand: Request,
    pub(super) catalog: Cow<'static, Catalog>,
    /// SHA-256 of the main benchmark's text or file, without what was joined to it.
    pub(super) own_sha256: digest::Digest,
    /// Whether the main benchmark is for another Windows.
    is_forced: bool,
    /// What the main benchmark is not: for this Windows, of the newest release, whole.
    pub(super) notices: Vec<String>,
    pub(super) selection: Selection,
    pub(super) values: Values,
    waivers: Waivers,
    hold_back: HoldBackChoice,
    local_gpo: LocalGpo,
    first_boot: FirstBoot,
    fixes: Vec<String>,
    components: Vec<Component>,
    scripts: Scripts,
    now: Moment,
}

impl Resolved {
    /// Assesses a machine.
    pub(super) fn assess(&self, machine: &dyn Readings) -> Assessment {
        let mut assessment =
            policy::assess(&self.catalog, &self.selection, &self.values, machine).with_waivers(&self.waivers);
        assessment.scope = scope::of_assessment(&self.demand, self, &assessment);
        assessment
    }

    /// Plans what closes the open findings of an assessed machine.
    ///
    /// # Errors
    /// As [`policy::plan`], [`Plan::guarded`] and [`Plan::with_first_boot`].
    pub(super) fn plan(&self, assessment: &Assessment, machine: &dyn Readings) -> Result<Plan> {
        let hold_back = HoldBack::on(self.hold_back, assessment, machine);
        let plan = policy::plan(assessment, &hold_back)?.with_local_policy(assessment, self.local_gpo);
        let plan = plan.guarded(assessment, machine, self.hold_back)?;
        Ok(plan.with_first_boot(assessment, machine, self.first_boot)?)
    }

    /// Returns what a run would hold back, or be refused for: a machine can be assessed by a policy that is not applied.
    ///
    /// # Errors
    /// As [`policy::plan`] and [`Plan::with_first_boot`].
    pub(super) fn held_back(&self, assessment: &Assessment, machine: &dyn Readings) -> Result<Vec<Held>> {
        let refused = |rules: &str, error: &policy::Error| {
            let reason = format!("a run is refused: {error}");
            rules.split(", ").map(|rule| Held { rule: rule.to_owned(), reason: reason.clone() }).collect()
        };
        match self.plan(assessment, machine) {
            Ok(plan) => Ok(plan.held_back),
            Err(Error::Policy(error)) => match &error {
                policy::Error::Unsafe { rules, .. } => Ok(refused(rules, &error)),
                policy::Error::BoundFields { one, other, .. } => Ok(refused(&format!("{one}, {other}"), &error)),
                _ => Err(error.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Returns a plan with what was to be fixed, as the machine's disk stands before the plan.
    ///
    /// # Errors
    /// As [`preflight::fixes`] and [`Plan::with_fixes`].
    pub(super) fn with_fixes(
        &self,
        plan: Plan,
        assessment: &Assessment,
        machine: &dyn Readings,
        disk: &dyn ReadAt,
    ) -> Result<Plan> {
        if self.fixes.is_empty() {
            return Ok(plan);
        }
        let evidence = Evidence::of(disk);
        let facts = Facts::new(Container::to_be(Format::Raw), &evidence, Route::default(), true);
        let step = |fix: preflight::Fix| Step { rules: vec![fix.check.to_owned()], setting: fix.setting, to: fix.to };
        let fixes = preflight::fixes(&facts, &self.fixes)?.into_iter().map(step).collect();
        Ok(plan.with_fixes(fixes, assessment, machine, self.local_gpo)?)
    }

    /// Returns a plan with what the components do in their phases before the tests, as far as the guard lets it, and what
    /// became of each step.
    ///
    /// # Errors
    /// [`Error::Component`] for a step that fails, and for a file that the plan writes as well.
    pub(super) fn with_components(
        &self,
        mut plan: Plan,
        assessment: &Assessment,
        machine: &dyn Readings,
    ) -> Result<(Plan, Vec<StepReport>)> {
        let mut reports = Vec::new();
        // Each component meets the machine as those before it leave it.
        let mut pending = Component::pending(machine, self.now);
        for component in &self.components {
            reports.extend(component.build(&mut pending, self.scripts)?);
        }
        let is_called = |step: &&mut Step| matches!(&step.setting, Setting::FileContent { path } if path.eq_ignore_ascii_case(policy::SETUP_COMPLETE));
        let stage = |pending: &mut PendingChanges<'_>, others: Option<String>| {
            let name = || self.components.iter().map(Component::name).collect::<Vec<_>>().join(", ");
            pending.stage_all(others).map_err(|first| component::Error::Faults { name: name(), count: 1, first })
        };
        match plan.steps.iter_mut().find(is_called) {
            Some(step) => {
                let others = match &step.to {
                    Some(setting::Value::Text(text)) => Some(text.clone()),
                    _ => None,
                };
                if let Some(text) = stage(&mut pending, others)? {
                    step.to = Some(setting::Value::Text(text));
                }
            }
            None => {
                stage(&mut pending, None)?;
            }
        }
        let steps = pending.into_steps();
        let is_file = |setting: &Setting| {
            matches!(setting, Setting::FileContent { .. } | Setting::FileData { .. } | Setting::File { .. })
        };
        let taken = steps.iter().filter(|step| is_file(&step.setting)).find(|step| {
            let same = |known: &Step| known.setting.to_string().eq_ignore_ascii_case(&step.setting.to_string());
            plan.steps.iter().any(same)
        });
        if let Some(step) = taken {
            let what = format!("{} is written by this run itself", step.setting);
            let fault = Fault::new(Position::default(), Flaw::Path, what);
            return Err(component::Error::Faults { name: step.rules.join(", "), count: 1, first: fault }.into());
        }
        plan.left_open.extend(reports.iter().filter_map(StepReport::as_left_open));
        let plan = plan.with_fixes(steps, assessment, machine, self.local_gpo)?;
        let plan = plan.guarded(assessment, machine, self.hold_back)?;
        for step in &mut reports {
            step.mark_held_back(&plan.held_back);
        }
        Ok((plan, reports))
    }

    /// Runs the tests of the components on a machine that was changed.
    ///
    /// # Errors
    /// [`Error::Component`] for a test that fails.
    pub(super) fn test_components(&self, machine: &dyn Readings) -> Result<Vec<StepReport>> {
        let mut reports = Vec::new();
        for component in &self.components {
            reports.extend(component.test(machine, self.now, self.scripts)?);
        }
        Ok(reports)
    }
}

impl Request {
    /// Adds a component, with what it demands of the run as a whole.
    ///
    /// # Errors
    /// [`Error::Component`] if it demands another release or level than the run does.
    pub fn add_component(&mut self, component: Component) -> Result<()> {
        let stig_request = component.stig_request()?;
        let other = |what: String| Error::from(component.error(1, Fault::new(stig_request.at, Flaw::Word, what)));
        match (&stig_request.release, &self.stig) {
            (Some(release), Some(stig)) if release != stig => {
                return Err(other(format!("it applies the release {release}, and the run {stig}")));
            }
            (Some(release), None) => self.stig = Some(release.clone()),
            _ => {}
        }
        match (stig_request.level, self.level) {
            (Some(level), Some(asked)) if level != asked => {
                return Err(other(format!("it applies the level {level}, and the run {asked}: ask for the same")));
            }
            (level, asked) => self.level = asked.or(level),
        }
        for with in &stig_request.with {
            if !self.with.contains(with) {
                self.with.push(with.clone());
            }
        }
        self.policies.extend(component.policies().iter().cloned());
        self.components.push(component);
        Ok(())
    }

    /// Returns the level.
    pub fn level(&self) -> Level {
        self.level.unwrap_or_default()
    }

    /// Returns how a machine is opened under this demand, when changed keys carry this moment.
    pub(crate) fn opening(&self, now: Moment) -> OpenOptions {
        let accept = Accept { dirty: self.accept_dirty_hive, refcounts: self.accept_refcounts };
        OpenOptions { now: now.filetime(), accept, check: self.check }
    }

    /// Returns what the demand means for a machine on a day, which ends waivers.
    ///
    /// # Errors
    /// [`Error::Policy`](super::Error::Policy) if there is no such benchmark or rule, or a value is out of bounds.
    pub(super) fn resolve(&self, identity: &Identity, today: Moment) -> Result<Resolved> {
        let policies = self.policies.iter().map(Catalog::of_policy).collect::<std::result::Result<Vec<_>, _>>()?;
        source::agree(&policies)?;
        let mut policies = policies.iter();
        let (mut notices, mut is_forced) = (Vec::new(), false);
        let mut catalog = match (&self.benchmark, &self.stig) {
            (None, Some(id)) if id == NO_STIG => Cow::Owned(policies.next().ok_or(policy::Error::NoPolicy)?.clone()),
            (Some(file), _) => {
                let document = policy::xccdf::read(file).map_err(Box::new).map_err(policy::Error::from)?;
                is_forced = self.fit(document.fits(identity), &mut notices)?;
                let catalog = policy::xccdf::Imported::of(&document).catalog;
                notices.extend(policy::lacks(&catalog));
                Cow::Owned(catalog)
            }
            (None, Some(id)) => {
                let catalog = Catalog::named(id)?;
                is_forced = self.fit(catalog.fits(identity), &mut notices)?;
                Cow::Borrowed(catalog)
            }
            (None, None) => Cow::Borrowed(Catalog::for_identity(identity)?),
        };
        let own_sha256 = catalog.sha256;
        let mut components: Vec<&Catalog> = Catalog::components_named(&self.with)?;
        components.extend(policies);
        if !components.is_empty() {
            catalog = Cow::Owned(catalog.joined(&components));
        }
        for certificate in &self.certificates {
            let is_named = catalog.rules.iter().flat_map(|rule| &rule.checks).any(|check| names(check, certificate));
            if is_named {
                let checks = catalog.to_mut().rules.iter_mut().flat_map(|rule| &mut rule.checks);
                for check in checks.filter(|check| names(check, certificate)) {
                    check.remedy = Remedy::Set(setting::Value::Certificate(certificate.der().to_vec()));
                }
            }
        }
        let values = self.values.as_deref().map(|text| Values::parse(text, &catalog)).transpose()?;
        let waivers = self.waivers.as_deref().map(|text| Waivers::parse(text, &catalog, today)).transpose()?;
        let selection = Selection::new(&catalog, self.level(), self.role, &self.only, &self.skip)?;
        Ok(Resolved {
            demand: self.clone(),
            catalog,
            own_sha256,
            is_forced,
            notices,
            selection,
            values: values.unwrap_or_default(),
            waivers: waivers.unwrap_or_default(),
            hold_back: self.hold_back,
            local_gpo: self.local_gpo,
            first_boot: self.first_boot,
            fixes: self.fixes.clone(),
            components: self.components.clone(),
            scripts: self.scripts,
            now: today,
        })
    }

    /// Takes a benchmark that fits; of one that does not, notes that it was forced, where that was asked for, and tells
    /// that it was.
    fn fit(&self, fits: std::result::Result<(), policy::Error>, notices: &mut Vec<String>) -> Result<bool> {
        match fits {
            Err(error @ policy::Error::StigMismatch { .. }) if self.force_stig => {
                notices.push(format!("W-STIG-FORCED: {error}; it was assessed because --force-stig was given"));
                Ok(true)
            }
            fits => Ok(fits.map(|()| false)?),
        }
    }

    /// Returns the demand as the audit log records it.
    pub(super) fn record(&self, resolved: &Resolved) -> audit::Policy {
        let catalog = &resolved.catalog;
        audit::Policy {
            benchmark: Benchmark::of(catalog),
            catalog_sha256: catalog.sha256,
            with: catalog
                .components
                .iter()
                .map(|component| component.benchmark.id.clone())
                .filter(|id| Catalog::named(id).is_ok())
                .collect(),
            stig: self.stig.clone().filter(|stig| stig == NO_STIG && self.benchmark.is_none()),
            // Only where it made a difference: what changes nothing could be said of any run.
            force_stig: resolved.is_forced,
            policies: self.policies.iter().map(record_of).collect(),
            level: self.level().to_string(),
            role: self.role.to_string(),
            only: self.only.clone(),
            skip: self.skip.clone(),
            values: self.values.clone(),
            waivers: self.waivers.clone(),
            hold_back: self.hold_back.to_string(),
            certificates: self.certificates.iter().map(|one| (one.thumbprint(), hex::encode(one.der()))).collect(),
            local_gpo: self.local_gpo.to_string(),
            first_boot: self.first_boot.to_string(),
            fixes: self.fixes.clone(),
            components: self.components.iter().map(Component::record).collect(),
            scripts: (!self.components.is_empty()).then(|| self.scripts.to_string()),
            accept_dirty_hive: self.accept_dirty_hive,
            accept_refcounts: self.accept_refcounts,
            volume_check: self.check.to_string(),
        }
    }

    /// Returns where a bundle holds the user's own benchmark file, which is what proves the bundle again; `None` if there
    /// is none.
    pub(super) fn benchmark_path(&self) -> Option<&'static str> {
        let file = self.benchmark.as_deref()?;
        Some(if zip::is_zip(file) { BENCHMARKS[1] } else { BENCHMARKS[0] })
    }

    /// Rebuilds a request from what [`Request::record`] wrote; `Err` names the member that is malformed.
    pub(super) fn from_record(policy: &audit::Policy) -> std::result::Result<Self, &'static str> {
        Ok(Self {
            stig: Some(policy.stig.clone().unwrap_or_else(|| policy.benchmark.id.clone())),
            force_stig: policy.force_stig,
            benchmark: None,
            policies: policies_of(policy).ok_or("policies")?,
            with: policy.with.clone(),
            level: Some(policy.level.parse().map_err(|_| "level")?),
            role: policy.role.parse().map_err(|_| "role")?,
            only: policy.only.clone(),
            skip: policy.skip.clone(),
            values: policy.values.clone(),
            waivers: policy.waivers.clone(),
            hold_back: policy.hold_back.parse().map_err(|_| "hold_back")?,
            certificates: certificates(&policy.certificates).ok_or("certificates")?,
            local_gpo: policy.local_gpo.parse().map_err(|_| "local_gpo")?,
            first_boot: policy.first_boot.parse().map_err(|_| "first_boot")?,
            fixes: policy.fixes.clone(),
            components: Component::from_records(&policy.components).ok_or("components")?,
            scripts: match &policy.scripts {
                None => Scripts::default(),
                Some(scripts) => scripts.parse().map_err(|_| "scripts")?,
            },
            accept_dirty_hive: policy.accept_dirty_hive,
            accept_refcounts: policy.accept_refcounts,
            check: policy.volume_check.parse().map_err(|_| "volume_check")?,
        })
    }
}

/// Returns a policy as the audit log records it.
fn record_of(source: &Source) -> audit::PolicyRecord {
    let file = |file: &source::File| {
        let text = file.content.as_deref().and_then(|content| std::str::from_utf8(content).ok());
        let bytes = file.content.as_deref().filter(|_| text.is_none());
        audit::PolicyFileRecord {
            path: file.path.clone(),
            text: text.map(str::to_owned),
            base64: bytes.map(digest::base64),
        }
    };
    let files = source.files().iter().map(file).collect();
    audit::PolicyRecord { name: source.name().to_owned(), sha256: source.sha256(), files }
}

/// Returns the policies of a record; `None` if it is malformed, or a policy has another digest.
pub(super) fn policies_of(policy: &audit::Policy) -> Option<Vec<Source>> {
    let file = |file: &audit::PolicyFileRecord| {
        let content = match (&file.text, &file.base64) {
            (Some(text), None) => Some(text.clone().into_bytes()),
            (None, Some(base64)) => Some(digest::from_base64(base64)?),
            (None, None) => None,
            (Some(_), Some(_)) => return None,
        };
        Some(source::File { path: file.path.clone(), content })
    };
    let one = |record: &audit::PolicyRecord| {
        let files = record.files.iter().map(file).collect::<Option<Vec<_>>>()?;
        let source = Source::new(&record.name, files);
        (source.sha256() == record.sha256).then_some(source)
    };
    policy.policies.iter().map(one).collect()
}

/// Tells whether a check demands that this certificate is there.
fn names(check: &Check, certificate: &Certificate) -> bool {
    match &check.setting {
        Setting::Certificate { thumbprint, .. } => {
            check.require == Requirement::Present && thumbprint.eq_ignore_ascii_case(&certificate.thumbprint())
        }
        _ => false,
    }
}

/// Returns the certificates of a record, each in hex digits under its own thumbprint; `None` if it is none.
fn certificates(recorded: &BTreeMap<String, String>) -> Option<Vec<Certificate>> {
    let one = |(thumbprint, der): (&String, &String)| {
        let certificate = Certificate::parse(&hex::decode(der)?).ok()?;
        (certificate.thumbprint() == *thumbprint).then_some(certificate)
    };
    recorded.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_a_record_are_certificates_under_their_own_thumbprints() {
        assert_eq!(certificates(&BTreeMap::new()), Some(Vec::new()));
        assert_eq!(certificates(&BTreeMap::from([("AB".to_owned(), "3000".to_owned())])), None);
    }
}
