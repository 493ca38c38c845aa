//! Whose zone a name is in. Route 53 takes a record below a delegation without a word, and nobody ever asks for it there: the name
//! servers of the zone below answer for the name.

use super::api::{Trouble, Within};
use super::{Element, Route53, shown};

/// Where a name is, seen from a hosted zone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the zone itself.
    Here,
    /// In a zone of its own: its name, and who speaks for it.
    Delegated(String, Vec<String>),
    /// Neither the zone nor anything in it has that name.
    Outside,
}

impl Route53 {
    /// Asks the zone from the name upward until its own name is there, which alone has an SOA record. A delegation is a record set of
    /// type NS below that; the uppermost counts.
    pub(super) fn place(&self, within: Within<'_>) -> Result<Place, Trouble> {
        let apex = self.apex.lock().clone();
        let mut delegated = None;
        let mut rest = self.name.as_str();
        while !rest.is_empty() {
            if apex.as_deref() == Some(rest) {
                return Ok(delegated.unwrap_or(Place::Here));
            }
            if let Some(servers) = self.held(rest, "NS", within)? {
                if self.held(rest, "SOA", within)?.is_some() {
                    *self.apex.lock() = Some(rest.to_owned());
                    return Ok(delegated.unwrap_or(Place::Here));
                }
                delegated = Some(Place::Delegated(rest.to_owned(), servers));
            }
            rest = rest.split_once('.').map_or("", |(_, above)| above);
        }
        Ok(Place::Outside)
    }

    /// The values of a record set of the zone; `None`: it has none.
    fn held(&self, name: &str, kind: &str, within: Within<'_>) -> Result<Option<Vec<String>>, Trouble> {
        let values = |set: &Element| -> Vec<String> {
            let records = set.child("ResourceRecords").map(|records| records.children.as_slice()).unwrap_or_default();
            records.iter().filter_map(|record| record.text_of("Value")).map(shown).collect()
        };
        Ok(self.record_set(name, kind, within)?.as_ref().map(values))
    }
}
