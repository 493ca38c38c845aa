//! Where a setting that hurts was set, and the statement that undoes it there: a file of the server, its command line, a role, a database.

use super::quoted;

/// A column for the survey's statement: value and source of the settings that findings are about.
pub(super) const COLUMN: &str = "\
       (SELECT pg_catalog.json_object_agg(name, pg_catalog.json_build_array(setting, source)) FROM pg_catalog.pg_settings
        WHERE name IN ('default_transaction_read_only', 'fsync', 'synchronous_commit', 'wal_log_hints', 'wal_receiver_timeout')) AS set_where";

/// The settings of one server as the engine's session has them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    list: serde_json::Map<String, serde_json::Value>,
    role: String,
    database: String,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    name: &'a str,
    /// As `pg_settings` has it, without unit.
    pub value: &'a str,
    source: &'a str,
    settings: &'a Settings,
}

impl Settings {
    pub(super) fn parse(text: Option<&str>, role: &str, database: &str) -> Settings {
        let list = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Settings { list, role: quoted(role), database: quoted(database) }
    }

    pub(super) fn get<'a>(&'a self, name: &'a str) -> Setting<'a> {
        let part = |at: usize| self.list.get(name).and_then(|pair| pair.get(at)?.as_str()).unwrap_or_default();
        Setting { name, value: part(0), source: part(1), settings: self }
    }
}

impl Setting<'_> {
    /// It came with the data, and is the same on all servers: set for a role or a database, not for this server.
    pub(super) fn is_of_the_data(&self) -> bool {
        matches!(self.source, "global" | "database" | "user" | "database user")
    }

    /// The role, database or server that has this setting.
    pub(super) fn place(&self) -> String {
        let Settings { role, database, .. } = self.settings;
        match self.source {
            "user" => format!("role {role}"),
            "database" => format!("database {database}"),
            "database user" => format!("role {role} in database {database}"),
            "global" => "all roles".to_owned(),
            "command line" => "the server, on its command line".to_owned(),
            _ => "the server".to_owned(),
        }
    }

    /// What undoes it where it was set; `wanted` is the right value for the server.
    pub(super) fn undo(&self, wanted: &str) -> String {
        let (Settings { role, database, .. }, name) = (self.settings, self.name);
        match self.source {
            "user" => format!("ALTER ROLE {role} RESET {name}"),
            "database" => format!("ALTER DATABASE {database} RESET {name}"),
            "database user" => format!("ALTER ROLE {role} IN DATABASE {database} RESET {name}"),
            "global" => format!("ALTER ROLE ALL RESET {name}"),
            // It beats every file.
            "command line" => format!("take {name} out of the server's command line, and restart it"),
            // The file of ALTER SYSTEM is read last, so this holds whichever file has the other value.
            _ => format!("ALTER SYSTEM SET {name} = {wanted}; SELECT pg_reload_conf()"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_statement() {
        let undo = |source: &str| {
            let text = format!(r#"{{"synchronous_commit": ["off", "{source}"]}}"#);
            let settings = Settings::parse(Some(&text), "fail\"over", "postgres");
            let setting = settings.get("synchronous_commit");
            assert_eq!(setting.value, "off");
            (setting.undo("on"), setting.is_of_the_data())
        };
        assert_eq!(undo("user"), ("ALTER ROLE \"fail\"\"over\" RESET synchronous_commit".to_owned(), true));
        assert_eq!(undo("database"), ("ALTER DATABASE \"postgres\" RESET synchronous_commit".to_owned(), true));
        assert_eq!(undo("global"), ("ALTER ROLE ALL RESET synchronous_commit".to_owned(), true));
        let system = "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()";
        assert_eq!(undo("configuration file"), (system.to_owned(), false));
        assert!(undo("command line").0.contains("command line"));
    }
}
