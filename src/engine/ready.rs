//! What one look found, put together: the findings of the survey, the reasons against a failover, and the one cause of many of them.

use failover_core::finding::FindingCode;

use super::status::{CheckReport, ForecastStatus, ReadinessStatus, ReasonStatus, ServiceReadiness};
use super::why;

/// One service as it was found. `findings`: of the survey. `checks`: of all services.
pub(super) fn service(
    (name, kind): (String, String),
    forecast: ForecastStatus,
    mut findings: Vec<ReadinessStatus>,
    checks: &[CheckReport],
) -> ServiceReadiness {
    let mut reasons = against(&forecast, &findings);
    if let Some(reason) = reasons.iter_mut().find(|reason| reason.code == "no_primary_seen")
        && let Some(known) = told_by_checks(&name, checks)
    {
        reason.remedy = known;
    }
    findings.extend(reasons);
    findings.sort_by_key(|finding| !finding.blocking);
    if let Some(cause) = cause(&name, checks) {
        // What follows from it is not told beside it.
        findings.retain(|found| {
            !["no_primary_seen", "no_candidate", FindingCode::VerifyRefused.as_str()].contains(&found.code.as_str())
        });
        findings.insert(0, cause);
    }
    let sentence = sentence(&kind, &forecast, &findings);
    ServiceReadiness { service: name, kind, sentence, forecast, findings }
}

/// The reasons against a failover, as findings.
fn against(forecast: &ForecastStatus, findings: &[ReadinessStatus]) -> Vec<ReadinessStatus> {
    // After one look not every check has answered often enough, and silence of all servers is told by their checks.
    let reasons = forecast.reasons.iter().filter(|reason| !matches!(reason.code.as_str(), "not_warmed_up" | "doubt"));
    // A finding that stands in the way is told once, as itself.
    let told: Vec<String> = findings.iter().filter(|found| found.blocking).map(|found| format!("{}:", found.code)).collect();
    let reasons =
        reasons.filter(|reason| reason.code != "not_ready" || !told.iter().any(|code| reason.message.starts_with(code.as_str())));
    let as_finding = |reason: &ReasonStatus| ReadinessStatus {
        server: None,
        code: reason.code.clone(),
        blocking: true,
        message: reason.message.clone(),
        why: why::of(&reason.code).to_owned(),
        remedy: reason.remedy.clone(),
        asked_ms: 0,
    };
    reasons.map(as_finding).collect()
}

/// Where no server lets the engine log in, everything else is a consequence of that.
fn cause(service: &str, checks: &[CheckReport]) -> Option<ReadinessStatus> {
    let own = || checks.iter().filter(|report| report.service == service && report.kind == "postgres");
    let first = own().next().filter(|_| own().all(CheckReport::is_login_refused))?;
    let message = format!("no server lets the engine log in, so nothing is known of them: {}", first.message);
    Some(ReadinessStatus::found(FindingCode::LoginRefused, true, message, first.remedy.as_str()))
}

/// What mends the checks of the servers, where they know it: each remedy once, with its server.
fn told_by_checks(service: &str, checks: &[CheckReport]) -> Option<String> {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for report in checks.iter().filter(|report| report.service == service && report.verdict != "up") {
        if !report.remedy.is_empty() && told.iter().all(|(_, remedy)| *remedy != report.remedy) {
            told.push((&report.server, &report.remedy));
        }
    }
    let words: Vec<String> = told.iter().map(|(server, remedy)| format!("{server}: {remedy}")).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn sentence(kind: &str, forecast: &ForecastStatus, findings: &[ReadinessStatus]) -> String {
    if findings.iter().any(|finding| finding.blocking) {
        return "if the primary died now, a failover would be refused or fail".to_owned();
    }
    match (&forecast.candidate, &forecast.loss) {
        (Some(candidate), _) if kind == "application" => format!("if the primary died now, {candidate} would take over"),
        (Some(candidate), Some(loss)) => format!("if the primary died now, {candidate} would be promoted; {loss}"),
        (Some(candidate), None) => format!("if the primary died now, {candidate} would be promoted"),
        (None, _) => "whether a failover would go through cannot be told: not every check has answered".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, blocking: bool) -> ReadinessStatus {
        ReadinessStatus { code: code.to_owned(), blocking, ..ReadinessStatus::default() }
    }

    fn reason(code: &str, message: &str) -> ReasonStatus {
        ReasonStatus { code: code.to_owned(), message: message.to_owned(), remedy: "do it".to_owned() }
    }

    fn found(forecast: ForecastStatus, findings: Vec<ReadinessStatus>, checks: &[CheckReport]) -> (String, Vec<String>) {
        let service = service(("orders".to_owned(), "postgres".to_owned()), forecast, findings, checks);
        (service.sentence, service.findings.into_iter().map(|found| found.code).collect())
    }

    #[test]
    fn reasons_are_findings_and_each_is_told_once() {
        let reasons = vec![
            reason("not_warmed_up", "not every check has answered"),
            reason("not_ready", "host_not_asked: no way"),
            reason("no_candidate", "no standby can take over"),
        ];
        let forecast = ForecastStatus { reasons, ..ForecastStatus::default() };
        let (sentence, codes) = found(forecast, vec![finding("fsync_off", false), finding("host_not_asked", true)], &[]);
        assert_eq!(codes, ["host_not_asked", "no_candidate", "fsync_off"]);
        assert_eq!(sentence, "if the primary died now, a failover would be refused or fail");
    }

    #[test]
    fn where_nobody_may_log_in_that_is_told_and_not_what_follows() {
        let report = |verdict: &str, reason: &str| CheckReport {
            service: "orders".to_owned(),
            kind: "postgres".to_owned(),
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            ..CheckReport::default()
        };
        let login = || report("impaired", "authentication");
        let forecast = || ForecastStatus { reasons: vec![reason("no_primary_seen", "nobody")], ..ForecastStatus::default() };
        let of = |checks: &[CheckReport]| found(forecast(), vec![finding("verify_refused", true)], checks).1;
        assert_eq!(of(&[login(), login()]), ["login_refused"]);
        assert_eq!(of(&[login(), report("down", "refused")]), ["verify_refused", "no_primary_seen"]);
        let known = CheckReport { server: "db1".to_owned(), remedy: "start it".to_owned(), ..report("down", "refused") };
        let found = service(("orders".to_owned(), String::new()), forecast(), Vec::new(), &[known.clone(), known]).findings;
        assert_eq!(found[0].remedy, "db1: start it", "once, as its checks say it");
    }

    #[test]
    fn the_sentence_says_who_would_take_over() {
        let forecast = |loss: Option<&str>| ForecastStatus {
            candidate: Some("db2".to_owned()),
            loss: loss.map(str::to_owned),
            ..ForecastStatus::default()
        };
        let lost = found(forecast(Some("nothing can be missing")), vec![finding("fsync_off", false)], &[]).0;
        assert_eq!(lost, "if the primary died now, db2 would be promoted; nothing can be missing");
        assert_eq!(found(forecast(None), Vec::new(), &[]).0, "if the primary died now, db2 would be promoted");
        assert!(
            found(ForecastStatus::default(), Vec::new(), &[]).0.starts_with("whether a failover would go through cannot be told")
        );
        assert_eq!(sentence("application", &forecast(None), &[]), "if the primary died now, db2 would take over");
    }
}
