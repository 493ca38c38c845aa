//! A moment that an operator names: a time of this machine's day, or a whole one.

use std::time::SystemTime;

use jiff::civil::Time;
use jiff::{Timestamp, ToSpan as _, Zoned};

/// `HH:MM` is the next time that this machine's clock shows it.
pub fn parse(text: &str) -> Result<SystemTime, String> {
    parse_at(text, &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<SystemTime, String> {
    let wrong = || "write HH:MM of this machine's clock, or a moment as 2026-12-01T03:30:00+01:00".to_owned();
    if let Some((hours, minutes)) = text.split_once(':').filter(|(hours, rest)| hours.len() == 2 && rest.len() == 2) {
        let number = |text: &str| text.parse::<i8>().map_err(|_| wrong());
        let time = Time::new(number(hours)?, number(minutes)?, 0, 0).map_err(|_| wrong())?;
        let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone()).map_err(|_| wrong())?;
        let next = if today > *now { today } else { today.checked_add(1.day()).map_err(|_| wrong())? };
        return Ok(next.timestamp().into());
    }
    text.parse::<Timestamp>().map(SystemTime::from).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<String, String> {
        let now: Zoned = "2026-11-30T18:00:00+01:00[+01:00]".parse().unwrap();
        parse_at(text, &now).map(|at| Timestamp::try_from(at).unwrap().to_string())
    }

    #[test]
    fn a_time_of_the_day_is_the_next_one() {
        assert_eq!(at("18:30"), Ok("2026-11-30T17:30:00Z".to_owned()));
        assert_eq!(at("03:30"), Ok("2026-12-01T02:30:00Z".to_owned()));
        assert_eq!(at("18:00"), Ok("2026-12-01T17:00:00Z".to_owned()));
    }

    #[test]
    fn a_whole_moment_has_its_own_zone() {
        assert_eq!(at("2026-12-01T03:30:00-05:00"), Ok("2026-12-01T08:30:00Z".to_owned()));
        assert_eq!(at("2026-12-01T03:30:00Z"), Ok("2026-12-01T03:30:00Z".to_owned()));
        for wrong in ["", "tomorrow", "25:00", "3:30", "2026-12-01T03:30:00", "12:61"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
