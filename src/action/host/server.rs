//! What a planned change of places needs of a host: what `pg_control` says, an orderly stop that is only asked for, the way back, and
//! the history of a timeline.

use std::time::Duration;

use super::{Answer, HostControl, nonsense};
use crate::deadline::{Cancel, Deadline};
use failover_core::id::Generation;
use failover_core::output::Failure;
use failover_core::sample::{ControlData, ControlState, Lsn};

/// What [`HostControl::stop`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    /// `standby.signal` was placed by this failover, and is removed by [`HostControl::start`] or [`HostControl::undo`]; `false`: it
    /// had been there before.
    pub guard_placed: bool,
    /// The postmaster that got SIGINT; `None` where none runs.
    pub postmaster: Option<u32>,
}

impl HostControl {
    /// What `pg_control` of the server says now, whether it runs or not. Cheap enough to be asked every few milliseconds while a server
    /// stops: [`ControlState::ShutDown`] is there before its processes are gone. Changes nothing.
    ///
    /// # Errors
    /// When the host could not be asked, answered nonsense, or has no `pg_controldata`. Never has an effect.
    pub(crate) fn control(&self, deadline: Deadline, cancel: &Cancel) -> Result<ControlData, Failure> {
        self.ask("control", &[], deadline, cancel)?.control()
    }

    /// Places the guard as [`HostControl::fence`] does, and sends the postmaster SIGINT: the server stops in an orderly way, or does
    /// not. Never more than that, and nothing is waited for. Without its guard the stop is not begun.
    ///
    /// # Errors
    /// When nothing was done ([`FailureKind::NoEffect`](failover_core::output::FailureKind::NoEffect)), or it is not known.
    pub(crate) fn stop(&self, generation: Generation, deadline: Deadline, cancel: &Cancel) -> Result<StopOrder, Failure> {
        self.ask("stop", &["--generation", &generation.to_string()], deadline, cancel)?.stop_order()
    }

    /// The way back of [`HostControl::stop`]: removes the guard if this failover, or an earlier one, placed it, and starts the server,
    /// by the supervisor's command if there is one, else by `pg_ctl`. What was started outlives the SSH session. Waits for it at most
    /// 10 s and half of the deadline; says what is known by then.
    ///
    /// # Errors
    /// When nothing was done, for example because a server runs there or a later failover has fenced it
    /// ([`FailureKind::NoEffect`](failover_core::output::FailureKind::NoEffect)); when the start failed or it is not known.
    pub(crate) fn start(&self, generation: Generation, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let wait = (deadline.remaining() / 2).min(Duration::from_secs(10)).as_millis().to_string();
        let options = ["--generation", &generation.to_string(), "--start-ms", &wait];
        self.ask("start", &options, deadline, cancel)?.started(&self.ssh.at(), false)
    }

    /// The timelines before one, oldest first, each with the position at which it was left. The first timeline has none before it.
    /// Changes nothing.
    ///
    /// # Errors
    /// When the host could not be asked, has no such file or answered nonsense. Never has an effect.
    pub(crate) fn history(&self, timeline: u32, deadline: Deadline, cancel: &Cancel) -> Result<Vec<(u32, Lsn)>, Failure> {
        if timeline <= 1 {
            return Ok(Vec::new());
        }
        self.ask("history", &["--timeline", &timeline.to_string()], deadline, cancel)?.history()
    }
}

impl Answer {
    fn lsn(&self, key: &str) -> Result<Lsn, Failure> {
        let text = self.value(key);
        Lsn::parse(text).ok_or_else(|| nonsense(&format!("{key}={text}")))
    }

    pub(super) fn control(&self) -> Result<ControlData, Failure> {
        let state = self.value("state");
        if state.is_empty() {
            return Err(nonsense("state="));
        }
        Ok(ControlData {
            state: ControlState::parse(state),
            checkpoint: self.lsn("checkpoint")?,
            redo: self.lsn("redo")?,
            timeline: self.number("timeline")?,
            system_id: self.number("system_id")?,
        })
    }

    pub(super) fn stop_order(&self) -> Result<StopOrder, Failure> {
        let guard_placed = match self.value("guard") {
            "placed" => true,
            "found" => false,
            other => return Err(nonsense(&format!("guard={other}"))),
        };
        let postmaster = match self.value("signalled") {
            "none" => None,
            _ => Some(self.number("signalled")?),
        };
        Ok(StopOrder { guard_placed, postmaster })
    }

    /// `standby`: what was started has its guard, and keeps it.
    pub(super) fn started(&self, at: &str, standby: bool) -> Result<String, Failure> {
        let by = match self.value("started") {
            "command" => "ssh.start_command",
            "pg_ctl" => "pg_ctl start",
            other => return Err(nonsense(&format!("started={other}"))),
        };
        let guard = match self.value("guard") {
            "removed" => "standby.signal removed",
            "kept" => "standby.signal was there before, and stays",
            "none" if standby => "standby.signal stays",
            "none" => "no guard was there",
            other => return Err(nonsense(&format!("guard={other}"))),
        };
        match self.value("code") {
            "0" => Ok(format!("{guard}; {by} has ended well")),
            "running" => Ok(format!("{guard}; {by} is at it")),
            code if code.parse::<u8>().is_ok() => {
                let remedy = match self.value("log") {
                    "" | "/dev/null" => "see the server's own log".to_owned(),
                    log => format!("see {log} on that host"),
                };
                Err(Failure::unknown(format!("{at}: {guard}; {by} ended with {code}"), remedy))
            }
            code => Err(nonsense(&format!("code={code}"))),
        }
    }

    pub(super) fn history(&self) -> Result<Vec<(u32, Lsn)>, Failure> {
        let parents = self.all("history").map(|line| {
            let (parent, switch) = line.split_once(' ')?;
            Some((parent.parse().ok()?, Lsn::parse(switch)?))
        });
        let parents: Option<Vec<_>> = parents.collect();
        parents.filter(|parents| !parents.is_empty()).ok_or_else(|| nonsense("the history of a timeline that is not the first"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::host::tests::answered as heard;
    use failover_core::output::FailureKind;

    #[test]
    fn pg_control_is_whole_or_nonsense() {
        let whole = "state=shut down\ncheckpoint=0/3000028\nredo=0/3000028\ntimeline=7\nsystem_id=7000000000000000001\n";
        let data = heard(whole).control().unwrap();
        assert_eq!((data.state, data.checkpoint, data.redo), (ControlState::ShutDown, Lsn(0x300_0028), Lsn(0x300_0028)));
        assert_eq!((data.timeline, data.system_id), (7, 7_000_000_000_000_000_001));
        for line in whole.lines() {
            assert!(heard(&whole.replace(&format!("{line}\n"), "")).control().is_err(), "without {line}");
        }
        let strange = heard(&whole.replace("shut down", "on holiday")).control().unwrap();
        assert_eq!(strange.state, ControlState::Unknown("on holiday".to_owned()));
    }

    #[test]
    fn a_stop_says_whom_it_asked() {
        let order = |lines| heard(lines).stop_order();
        assert_eq!(order("guard=placed\nsignalled=77\n"), Ok(StopOrder { guard_placed: true, postmaster: Some(77) }));
        assert_eq!(order("guard=found\nsignalled=none\n"), Ok(StopOrder { guard_placed: false, postmaster: None }));
        for nonsense in ["guard=failed\nsignalled=77\n", "guard=placed\n", "guard=placed\nsignalled=x\n", "signalled=7\n"] {
            assert_eq!(order(nonsense).unwrap_err().kind, FailureKind::Unknown, "{nonsense}");
        }
    }

    #[test]
    fn a_start_that_failed_names_its_log() {
        let started = |lines| heard(lines).started("db1", false);
        assert_eq!(
            started("guard=removed\nstarted=pg_ctl\ncode=0\n").as_deref(),
            Ok("standby.signal removed; pg_ctl start has ended well")
        );
        assert!(started("guard=none\nstarted=command\ncode=running\n").unwrap().starts_with("no guard was there"));
        // It returns as a standby: its guard is there, and nobody asked for it to be taken away.
        let returned = heard("guard=none\nstarted=pg_ctl\ncode=0\n").started("db1", true).unwrap();
        assert!(returned.starts_with("standby.signal stays"), "{returned}");
        let failure = started("guard=removed\nstarted=command\ncode=3\nlog=/d/failover.log\n").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown);
        assert!(failure.message.contains("ended with 3") && failure.remedy.contains("/d/failover.log"), "{failure:?}");
        for nonsense in ["", "started=pg_ctl\ncode=0\n", "guard=none\nstarted=magic\ncode=0\n", "guard=none\nstarted=pg_ctl\n"] {
            assert!(started(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_history_keeps_every_line_and_none_that_is_torn() {
        let lines: Vec<String> = (1..=500).map(|timeline| format!("history={timeline} 0/{timeline:X}\n")).collect();
        let history = heard(&lines.concat()).history().unwrap();
        assert_eq!((history.len(), history[499]), (500, (500, Lsn(500))));
        assert!(heard("history=1 0/3000110\nhistory=2\n").history().is_err());
        assert!(heard("").history().is_err());
    }
}
