//! Every fault of `make demo-app`, judged as the demo judges it, and its report.

use crate::parts::text::escape;
use crate::site_report::{Page, Side};
use crate::support::app::judge::{Outcome, judge};
use crate::support::app::{Fault, QUIET, baseline, with_engine, without_engine};
use crate::support::recording::FindingLine;
use crate::support::{Site, SiteOptions};

fn suffer(fault: Fault) -> Outcome {
    let site = Site::start(&SiteOptions::default()).unwrap();
    with_engine(&site, fault, QUIET, &mut |_| {}).unwrap()
}

fn wrong(findings: &[FindingLine]) -> Vec<&str> {
    findings.iter().filter(|finding| !finding.ok).map(|finding| finding.text.as_str()).collect()
}

#[test]
fn each_fault_ends_as_it_should() {
    // Most of each is waiting.
    for few in Fault::ALL.chunks(3) {
        std::thread::scope(|scope| {
            for (word, fault) in few.iter().copied() {
                scope.spawn(move || {
                    let outcome = suffer(fault);
                    let events: Vec<&str> = outcome.events.iter().map(|event| event.message.as_str()).collect();
                    assert_eq!(wrong(&judge(&outcome, false)), [""; 0], "{word}: {}\n{}", outcome.text(), events.join("\n"));
                });
            }
        });
    }
}

#[test]
fn the_report_has_both_sides_and_everything_that_was_said() {
    let outcome = suffer(Fault::Kill);
    let other = without_engine(&Site::start(&baseline()).unwrap(), Fault::Kill, QUIET).unwrap();
    let (findings, judged) = (judge(&outcome, false), judge(&other, true));
    let page = Page {
        fault: Fault::Kill,
        sides: vec![
            Side { title: "The engine", outcome: &outcome, findings: &findings },
            Side { title: "HAProxy's own checks", outcome: &other, findings: &judged },
        ],
        config: "[[services]] # <b>",
        environment: &[("kernel".to_owned(), "a & b".to_owned())],
    };
    let text = page.render();
    for event in &outcome.events {
        assert!(text.contains(&escape(&event.message)), "{}", event.message);
    }
    for finding in findings.iter().chain(&judged) {
        assert!(text.contains(&escape(&finding.text)), "{}", finding.text);
    }
    for name in ["The engine: the client of lb1", "checks: the client of lb2", "app1 status", "a &amp; b", "&lt;b&gt;"] {
        assert!(text.contains(name), "{name}");
    }
    // A page of its own: nothing from outside, nothing that runs, every place of the template filled.
    for foreign in ["http://www", "https://", "<script", "{{", "ZGVtby1vZi1saWJm"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
}
