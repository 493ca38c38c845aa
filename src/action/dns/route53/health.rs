//! Route 53's own health checks: read, changed with their version, put back.

use std::net::IpAddr;

use super::api::{Trouble, Within};
use super::xml::Element;
use super::{Change, Route53, Settled, document, failed, full_name, inside, leaf, shown};
use crate::deadline::{Cancel, Deadline};
use failover_core::output::Failure;

/// Settings of a health check. `None` leaves one as it is. Its type and its interval cannot be changed once it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HealthCheckSettings {
    /// Checks in a row that change its mind, 1 to 10.
    pub failure_threshold: Option<u8>,
    /// A disabled one counts as healthy.
    pub disabled: Option<bool>,
    /// The name it asks, or the `Host` it sends to the address.
    pub fully_qualified_domain_name: Option<String>,
    /// The address it asks. A check made without one gets none.
    pub ip_address: Option<IpAddr>,
    /// The port it asks, 1 to 65535.
    pub port: Option<u16>,
}

/// A health check as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// Its version: a change has to name the latest.
    pub version: u64,
    /// Its settings; `None` is what it does not have.
    pub settings: HealthCheckSettings,
}

impl HealthCheckSettings {
    fn check(&self) -> Result<(), String> {
        if self.failure_threshold.is_some_and(|threshold| !(1..=10).contains(&threshold)) {
            return Err(format!("failure_threshold is {}, allowed are 1 to 10", self.failure_threshold.unwrap_or_default()));
        }
        if self.port == Some(0) {
            return Err("port is 0".to_owned());
        }
        match &self.fully_qualified_domain_name {
            Some(name) if full_name(name).is_none() => Err(format!("{name:?} is not a domain name in ASCII")),
            _ => Ok(()),
        }
    }

    /// What has to be changed to make `now` this.
    fn beyond(&self, now: &HealthCheckSettings) -> HealthCheckSettings {
        let name = |settings: &HealthCheckSettings| settings.fully_qualified_domain_name.as_deref().and_then(full_name);
        HealthCheckSettings {
            failure_threshold: self.failure_threshold.filter(|wanted| now.failure_threshold != Some(*wanted)),
            disabled: self.disabled.filter(|wanted| now.disabled.unwrap_or(false) != *wanted),
            fully_qualified_domain_name: self.fully_qualified_domain_name.clone().filter(|_| name(self) != name(now)),
            ip_address: self.ip_address.filter(|wanted| now.ip_address != Some(*wanted)),
            port: self.port.filter(|wanted| now.port != Some(*wanted)),
        }
    }
}

impl Route53 {
    /// What a health check of the same account is now: for its settings to be put back later.
    ///
    /// # Errors
    /// Why it cannot be read. Nothing was changed.
    pub(crate) fn health_check(&self, id: &str, deadline: Deadline, cancel: &Cancel) -> Result<HealthCheck, Failure> {
        let what = checked(id)?;
        self.look_at(id, Within { deadline, cancel }).map_err(|trouble| failed(&what, &trouble, false))
    }

    /// Changes a health check of the same account, with the version that was just read. Whoever changes it in between makes us
    /// read again. What it already is, is not written. Answers one line for people.
    ///
    /// # Errors
    /// What failed, what to do, and whether an effect is excluded.
    pub(crate) fn update_health_check(
        &self,
        id: &str,
        settings: &HealthCheckSettings,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        self.adjust(id, settings, false, Within { deadline, cancel })
    }

    /// Puts a health check back to what [`health_check`](Self::health_check) saw: a domain name that it did not have goes too.
    ///
    /// # Errors
    /// What failed, what to do, and whether an effect is excluded.
    pub(crate) fn restore_health_check(
        &self,
        id: &str,
        before: &HealthCheck,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        self.adjust(id, &before.settings, true, Within { deadline, cancel })
    }

    /// `exactly`: a domain name that is not wanted is taken away.
    fn adjust(&self, id: &str, settings: &HealthCheckSettings, exactly: bool, within: Within<'_>) -> Result<String, Failure> {
        let what = checked(id)?;
        settings
            .check()
            .map_err(|why| Failure::no_effect(format!("{what}: {why}"), "correct the settings of the health check"))?;
        let nameless = |now: &HealthCheck| {
            exactly && settings.fully_qualified_domain_name.is_none() && now.settings.fully_qualified_domain_name.is_some()
        };
        let update = |now: &HealthCheck| {
            let wanted = settings.beyond(&now.settings);
            document("UpdateHealthCheckRequest", |writer| {
                leaf(writer, "HealthCheckVersion", &now.version.to_string())?;
                if let Some(ip) = wanted.ip_address {
                    leaf(writer, "IPAddress", &ip.to_string())?;
                }
                if let Some(port) = wanted.port {
                    leaf(writer, "Port", &port.to_string())?;
                }
                if let Some(name) = &wanted.fully_qualified_domain_name {
                    leaf(writer, "FullyQualifiedDomainName", name)?;
                }
                if let Some(threshold) = wanted.failure_threshold {
                    leaf(writer, "FailureThreshold", &threshold.to_string())?;
                }
                if let Some(disabled) = wanted.disabled {
                    leaf(writer, "Disabled", if disabled { "true" } else { "false" })?;
                }
                if nameless(now) {
                    inside(writer, "ResetElements", |writer| leaf(writer, "ResettableElementName", "FullyQualifiedDomainName"))?;
                }
                Ok(())
            })
        };
        let change = Change {
            what: what.clone(),
            path: format!("/healthcheck/{id}"),
            read: &|within| self.look_at(id, within),
            holds: &|now: &HealthCheck| settings.beyond(&now.settings) == HealthCheckSettings::default() && !nameless(now),
            document: &update,
            always: false,
        };
        Ok(match change.run(&self.account, within)? {
            Settled::Already => format!("{what} is as wanted already"),
            Settled::Done(_) => format!("{what} is changed"),
            Settled::Found(_) => format!("{what} is changed, read back because the answer was lost"),
        })
    }

    fn look_at(&self, id: &str, within: Within<'_>) -> Result<HealthCheck, Trouble> {
        let answer = self.account.ask(&format!("/healthcheck/{id}"), within)?;
        seen(&answer).ok_or_else(|| Trouble::Garbage(format!("{} without a health check", shown(&answer.name))))
    }
}

/// A health check for people.
fn checked(id: &str) -> Result<String, Failure> {
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        let message = format!("{:?} is not the ID of a health check", shown(id));
        return Err(Failure::no_effect(message, "correct the health check's ID: 36 digits, letters and hyphens"));
    }
    Ok(format!("health check {id} in Route 53"))
}

fn seen(answer: &Element) -> Option<HealthCheck> {
    let check = answer.child("HealthCheck")?;
    let config = check.child("HealthCheckConfig")?;
    Some(HealthCheck {
        version: check.text_of("HealthCheckVersion")?.parse().ok()?,
        settings: HealthCheckSettings {
            failure_threshold: config.text_of("FailureThreshold").and_then(|text| text.parse().ok()),
            disabled: config.text_of("Disabled").map(|text| text.eq_ignore_ascii_case("true")),
            fully_qualified_domain_name: config.text_of("FullyQualifiedDomainName").map(str::to_owned),
            ip_address: config.text_of("IPAddress").and_then(|text| text.parse().ok()),
            port: config.text_of("Port").and_then(|text| text.parse().ok()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_changed() {
        let now = HealthCheckSettings {
            failure_threshold: Some(3),
            fully_qualified_domain_name: Some("app.example.com".to_owned()),
            ip_address: Some("10.0.0.1".parse().unwrap()),
            ..HealthCheckSettings::default()
        };
        assert_eq!(now.beyond(&now), HealthCheckSettings::default());
        let wanted = HealthCheckSettings {
            failure_threshold: Some(2),
            disabled: Some(false),
            fully_qualified_domain_name: Some("App.example.com.".to_owned()),
            port: Some(80),
            ..HealthCheckSettings::default()
        };
        let expected = HealthCheckSettings { failure_threshold: Some(2), port: Some(80), ..HealthCheckSettings::default() };
        assert_eq!(wanted.beyond(&now), expected);
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let settings = HealthCheckSettings::default();
        for threshold in [0, 11] {
            assert!(HealthCheckSettings { failure_threshold: Some(threshold), ..settings.clone() }.check().is_err());
        }
        assert!(HealthCheckSettings { port: Some(0), ..settings.clone() }.check().is_err());
        assert!(HealthCheckSettings { fully_qualified_domain_name: Some("a b".to_owned()), ..settings.clone() }.check().is_err());
        assert!(settings.check().is_ok());
        for id in ["", "a/b", "a?b", &"x".repeat(65)] {
            assert!(checked(id).is_err(), "{id}");
        }
    }
}
