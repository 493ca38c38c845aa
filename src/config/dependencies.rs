//! Which service follows which: what it names is there, and nothing follows itself, not even in a circle.

use super::model::{Follows, Root, Service};
use super::node::quoted;
use super::problem::Pointer;
use super::setting::Reader;
use super::unknown::nearest;

/// Looks at every service that follows another one.
pub(super) fn validate(root: &Root, services: &Pointer, reader: &mut Reader<'_>) {
    for (index, service) in root.services.iter().enumerate() {
        if let Some(follows) = &service.follows {
            let at = services.index(index).key("follows");
            one(root, service, follows, &at, reader);
        }
    }
    circles(root, services, reader);
}

fn one(root: &Root, service: &Service, follows: &Follows, at: &Pointer, reader: &mut Reader<'_>) {
    if follows.command.is_empty() && follows.with.is_empty() && reader.sound(at) {
        let reason = "it follows, and nothing is done then";
        let remedy = "add command = [\"PROGRAM\"], or with = { THEIRS = \"OURS\" }";
        reader.contradiction(&[at.key("command"), at.clone()], reason, remedy);
    }
    let names = || root.services.iter().map(|other| other.name.as_str()).filter(|name| *name != service.name);
    let Some(other) = root.services.iter().find(|other| other.name == follows.service) else {
        if !follows.service.is_empty() {
            let remedy = match (nearest(&follows.service, names()), names().next()) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, Some(_)) => format!("use one of: {}", names().collect::<Vec<_>>().join(", ")),
                (None, None) => "there is no other service: remove follows".to_owned(),
            };
            reader.contradiction(&[at.key("service")], format!("there is no service {}", quoted(&follows.service)), remedy);
        }
        return;
    };
    let with = at.key("with");
    if follows.with.is_empty() {
        return;
    }
    let routed = !service.route.is_empty() || !service.dns.is_empty();
    if service.kind.holds_data() {
        let reason = "only an application goes where another service goes: a database is promoted where its data is";
        reader.contradiction(std::slice::from_ref(&with), reason, "remove with; a command may be run");
    } else if !routed {
        reader.caution(
            std::slice::from_ref(&with),
            "without a route its traffic cannot be moved",
            "add route.haproxy, route.command or dns, or steps of the program that embeds the engine",
        );
    }
    for (theirs, ours) in &follows.with {
        let place = with.key(theirs);
        if other.server(theirs).is_none() {
            server(&place, theirs, other, reader);
        }
        if service.server(ours).is_none() && !ours.is_empty() {
            server(&place, ours, service, reader);
        }
    }
}

fn server(at: &Pointer, name: &str, of: &Service, reader: &mut Reader<'_>) {
    let names = || of.servers.iter().map(|server| server.name.as_str());
    let remedy = match nearest(name, names()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("use one of: {}", names().collect::<Vec<_>>().join(", ")),
    };
    reader.contradiction(
        std::slice::from_ref(at),
        format!("service {} has no server {}", quoted(&of.name), quoted(name)),
        remedy,
    );
}

fn circles(root: &Root, services: &Pointer, reader: &mut Reader<'_>) {
    let followed = |at: usize| {
        let follows = root.services[at].follows.as_ref()?;
        root.services.iter().position(|other| other.name == follows.service)
    };
    for start in 0..root.services.len() {
        let mut way = vec![start];
        // Told once, at the first of those that are in it.
        while let Some(next) =
            way.last().and_then(|at| followed(*at)).filter(|next| *next >= start && way.len() <= root.services.len())
        {
            way.push(next);
            if next == start {
                let names: Vec<&str> = way.iter().map(|at| root.services[*at].name.as_str()).collect();
                let reason = format!("services follow each other in a circle: {}", names.join(" -> "));
                let at = services.index(start).key("follows").key("service");
                reader.contradiction(&[at], reason, "let the one that the others depend on follow nobody");
                break;
            }
        }
    }
}
