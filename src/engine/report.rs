//! What `failover check`, `doctor`, `validate` and `replay` find, as every language gets it: one schema, that of `--json`.

use serde::{Deserialize, Serialize};

use failover_core::finding::FindingCode;

use crate::config::{Config, ConfigErrors, Problem};

use super::record::DecisionRecord;
use super::status::{CheckReport, ForecastStatus, ReadinessStatus, ReadyReport, ServiceReadiness};

/// What `failover check --json` prints, `failover_engine_check_all` gives in C, `Engine.check_all` in Python and `Engine.CheckAll` in Go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckSummary {
    /// Every check is `up`, but for those that the embedding program answers and did not answer here.
    pub all_up: bool,
    /// No finding is blocking.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<CheckReport>,
    /// What would hurt at failover time: of the engine itself first, then of each service what would stop a failover first.
    pub readiness: Vec<ServiceFinding>,
    /// What would happen if a primary died now, of each service that can be failed over.
    pub forecasts: Vec<ServiceForecast>,
}

/// A finding, and of which service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceFinding {
    /// The service; `None` of the engine itself.
    pub service: Option<String>,
    /// The finding: in JSON its members stand beside `service`.
    #[serde(flatten)]
    pub finding: ReadinessStatus,
}

/// What would happen if the primary of a service died now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceForecast {
    /// The service.
    pub service: String,
    /// In one sentence; it knows the findings.
    #[serde(default)]
    pub sentence: String,
    /// In detail.
    pub forecast: ForecastStatus,
}

/// What `failover doctor --json` prints, `failover_engine_doctor` gives in C, `Engine.doctor` in Python and `Engine.Doctor` in Go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The service.
    pub service: String,
    /// No finding is blocking.
    pub ready: bool,
    /// What would happen if the primary died now, in one sentence; empty of a service that cannot be failed over.
    #[serde(default)]
    pub sentence: String,
    /// The same in detail; `None` of a service that cannot be failed over.
    pub forecast: Option<ForecastStatus>,
    /// What would hurt at failover time, what would stop it first: findings, reasons against a failover, checks that are not up, and what is
    /// warned of about the configuration.
    pub findings: Vec<ReadinessStatus>,
}

/// What `failover validate --json` prints, `failover_config_validate` gives in C, `failover.validate` in Python and `failover.Validate` in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// The file; `None` of a text.
    pub file: Option<String>,
    /// An engine can be made of it.
    pub valid: bool,
    /// Every mistake at once, in the order of the document.
    pub errors: Vec<Problem>,
    /// What looks wrong but does not stop the engine.
    pub warnings: Vec<Problem>,
}

/// What `failover replay --json` prints, `failover_replay` gives in C, `failover.replay` in Python and `failover.Replay` in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The version of the library that decided.
    pub version: String,
    /// When, RFC 3339, UTC.
    pub time: String,
    /// The service.
    pub service: String,
    /// `failover`, or the name of the event that says why there is none.
    pub kind: String,
    /// The number of the service's last failover, with this one if it is one.
    pub generation: u64,
    /// The decision in one sentence.
    pub why: String,
    /// Inputs that were replayed.
    pub inputs: usize,
    /// The time from the first of them to the decision, in milliseconds.
    pub span_ms: u64,
    /// The same decision, bit for bit.
    pub same: bool,
    /// What this version says and the record does not, and the other way round.
    pub differences: Vec<String>,
    /// What was told on the way, oldest first.
    pub events: Vec<String>,
}

impl ReadyReport {
    /// Every check is up, but for those that the embedding program answers and did not answer here.
    #[must_use]
    pub fn all_up(&self) -> bool {
        self.checks.iter().all(|report| report.verdict == "up" || report.is_of_the_program())
    }

    /// Nothing that was found is blocking.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let of_services = self.services.iter().flat_map(|service| &service.findings);
        self.engine.iter().chain(of_services).all(|finding| !finding.blocking)
    }

    /// As `failover check --json` prints it.
    #[must_use]
    pub fn summary(&self) -> CheckSummary {
        let of_engine = self.engine.iter().map(|finding| ServiceFinding { service: None, finding: finding.clone() });
        let of_service = |service: &ServiceReadiness| {
            let name = service.service.clone();
            let findings = service.findings.clone().into_iter();
            findings.map(move |finding| ServiceFinding { service: Some(name.clone()), finding }).collect::<Vec<_>>()
        };
        let forecast = |service: &ServiceReadiness| ServiceForecast {
            service: service.service.clone(),
            sentence: service.sentence.clone(),
            forecast: service.forecast.clone(),
        };
        CheckSummary {
            all_up: self.all_up(),
            ready: self.is_ready(),
            checks: self.checks.clone(),
            readiness: of_engine.chain(self.services.iter().flat_map(of_service)).collect(),
            forecasts: self.services.iter().map(forecast).collect(),
        }
    }

    /// All of it about its one service, as findings; `warnings`: of the configuration.
    pub(super) fn into_doctor(self, service: &str, warnings: &[Problem]) -> DoctorReport {
        let ReadyReport { checks, services, engine } = self;
        let is_moved = !services.is_empty();
        let ServiceReadiness { sentence, forecast, mut findings, .. } = services.into_iter().next().unwrap_or_default();
        let told = findings.iter().any(|found| found.code == FindingCode::LoginRefused.as_str());
        let is_untold =
            |report: &&CheckReport| report.verdict != "up" && !report.is_of_the_program() && !(told && report.is_login_refused());
        findings.extend(checks.iter().filter(is_untold).map(not_up));
        findings.extend(engine);
        findings.extend(warnings.iter().map(advice));
        let mut report = DoctorReport {
            service: service.to_owned(),
            ready: true,
            sentence,
            forecast: is_moved.then_some(forecast),
            findings: Vec::new(),
        };
        report.add(findings);
        report
    }
}

impl DoctorReport {
    /// Adds what a program found itself.
    pub fn add(&mut self, findings: impl IntoIterator<Item = ReadinessStatus>) {
        self.findings.extend(findings);
        self.findings.sort_by_key(|finding| !finding.blocking);
        self.ready = self.findings.iter().all(|finding| !finding.blocking);
    }
}

impl CheckReport {
    /// It is answered by the program that embeds the engine, and was not answered here.
    #[must_use]
    pub fn is_of_the_program(&self) -> bool {
        self.reason == "no_answer_from_host"
    }
}

/// A check that is not up, as a finding.
fn not_up(report: &CheckReport) -> ReadinessStatus {
    let said = match (report.reason.as_str(), report.message.as_str()) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    let message = format!("{}: {}: {said}", report.check, report.verdict);
    let found = ReadinessStatus::found(FindingCode::CheckNotUp, true, message, report.remedy.as_str());
    ReadinessStatus { server: Some(report.server.clone()), ..found }
}

/// A warning about the configuration, as a finding.
fn advice(problem: &Problem) -> ReadinessStatus {
    let line = problem.line.map_or_else(String::new, |line| format!(" (line {line})"));
    let message = format!("{}{line}: {}", problem.path, problem.reason);
    ReadinessStatus::found(FindingCode::Configuration, false, message, problem.remedy.as_str())
}

impl Validation {
    /// Of what reading a configuration came to. `file`: where it was read from.
    #[must_use]
    pub fn of(read: &Result<Config, ConfigErrors>, file: Option<String>) -> Validation {
        match read {
            Ok(config) => Validation { file, valid: true, errors: Vec::new(), warnings: config.warnings().to_vec() },
            Err(wrong) => Validation { file, valid: false, errors: wrong.errors.clone(), warnings: wrong.warnings.clone() },
        }
    }
}

impl DecisionRecord {
    /// Goes through it again, and says everything about it: what `failover replay --json` prints.
    #[must_use]
    pub fn report(&self) -> ReplayReport {
        let replay = self.replay();
        ReplayReport {
            version: self.version.clone(),
            time: self.time.clone(),
            service: self.service.clone(),
            kind: self.kind.clone(),
            generation: self.generation,
            why: self.why.clone(),
            inputs: replay.inputs,
            span_ms: replay.span_ms,
            same: replay.differences.is_empty(),
            differences: replay.differences,
            events: replay.events,
        }
    }
}
