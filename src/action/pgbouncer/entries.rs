//! Which lines of a PgBouncer's configuration say where a database points, its included files among them. Of one that stands there twice
//! PgBouncer obeys the last line and says nothing about the first, so a file with two is one that nobody can change with certainty.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::file::{LONGEST, unquoted};

/// More files, or a deeper nest of them, is none of PgBouncer's.
const MOST_FILES: usize = 64;

/// One line that defines a database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    database: String,
    path: PathBuf,
    line: usize,
}

/// What was read, in PgBouncer's order.
struct Reading {
    entries: Vec<Entry>,
    files: Vec<PathBuf>,
    /// Every included file was there to be read.
    whole: bool,
    in_databases: bool,
}

/// PgBouncer takes where each of these databases points from one line, and from one of this file. `main`: the file it was started with,
/// where that is known.
///
/// # Errors
/// Which lines say something else.
pub(super) fn guard(main: Option<&Path>, file: &Path, databases: &[String]) -> Result<(), String> {
    // One that cannot be used at all is told where it is to be used.
    let Some(file) = fs::canonicalize(file).ok().filter(|file| file.is_file()) else { return Ok(()) };
    let own = Reading::of(&file, true);
    let all = main.and_then(|main| fs::canonicalize(main).ok()).map(|main| Reading::of(&main, false));
    // One that is not its own, as where it runs in a container with other files, says nothing about it.
    let (reading, included) = match all {
        Some(all) if all.files.contains(&file) => (all, true),
        Some(all) if all.whole && databases.iter().all(|database| all.lines_of(database).next().is_some()) => (all, false),
        _ => (own, true),
    };
    for database in databases {
        let lines: Vec<String> =
            reading.lines_of(database).map(|entry| format!("{}:{}", entry.path.display(), entry.line)).collect();
        if !included {
            return Err(format!(
                "PgBouncer takes database \"{database}\" from {}, and not from {}",
                lines.join(", "),
                file.display()
            ));
        }
        if lines.len() > 1 {
            return Err(format!(
                "database \"{database}\" is there {} times, and the last one counts: {}",
                lines.len(),
                lines.join(", ")
            ));
        }
    }
    Ok(())
}

impl Reading {
    fn of(path: &Path, in_databases: bool) -> Reading {
        let mut reading = Reading { entries: Vec::new(), files: Vec::new(), whole: true, in_databases };
        reading.take(path);
        reading
    }

    fn lines_of(&self, database: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.database == database)
    }

    fn take(&mut self, path: &Path) {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
        if self.files.len() >= MOST_FILES || read.is_err() || text.len() as u64 > LONGEST {
            self.whole = false;
            return;
        }
        self.files.push(path.to_owned());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(included) = line.strip_prefix("%include") {
                self.include(Path::new(included.trim()));
            } else if line.starts_with('[') {
                self.in_databases = line.eq_ignore_ascii_case("[databases]");
            } else if let Some((name, _)) = line.split_once('=').filter(|_| self.in_databases && !line.starts_with([';', '#'])) {
                self.entries.push(Entry { database: unquoted(name.trim()), path: path.to_owned(), line: index + 1 });
            }
        }
    }

    /// A relative name is one in the folder that PgBouncer was started in, which nobody tells.
    fn include(&mut self, path: &Path) {
        match fs::canonicalize(path) {
            Ok(path) if path.is_file() && self.files.len() < MOST_FILES => self.take(&path),
            _ => self.whole = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_the_file_is_what_pgbouncer_obeys() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        let (main, file, more) = (at("main.ini"), at("ours.ini"), at("more.ini"));
        let include = |path: &Path| format!("%include {}\n", path.display());
        let line = "app = host=127.0.0.1 port=1\n";
        let all = ["app".to_owned()];
        fs::write(&more, "; app = port=1\nother = port=1\n").unwrap();
        for (own, around, told) in [
            (line.to_owned(), format!("[databases]\n{}", include(&file)), None),
            (line.to_owned(), format!("[databases]\n{}{}", include(&file), include(&more)), None),
            (line.to_owned(), format!("[databases]\n{}[users]\n{line}", include(&file)), None),
            // Where the file that it was started with is another one's, or is not to be read whole.
            (line.to_owned(), "[databases]\nelse = port=1\n".to_owned(), None),
            (line.to_owned(), format!("[databases]\n{line}%include not-there.ini\n"), None),
            (format!("{line}{line}"), format!("[databases]\n{}", include(&file)), Some("ours.ini:1")),
            (format!("{line}\"app\" = port=2\n"), "[databases]\n".to_owned(), Some("ours.ini:2")),
            (line.to_owned(), format!("[databases]\n{line}{}", include(&file)), Some("main.ini:2")),
            (line.to_owned(), format!("[databases]\n{}[pgbouncer]\n[databases]\n{line}", include(&file)), Some("main.ini:5")),
            (line.to_owned(), format!("[databases]\n{}{}", include(&file), include(&file)), Some("2 times")),
            (format!("{}{line}", include(&at("both.ini"))), format!("[databases]\n{}", include(&file)), Some("both.ini:1")),
            (line.to_owned(), format!("[databases]\n{line}"), Some("and not from")),
        ] {
            fs::write(at("both.ini"), line).unwrap();
            fs::write(&file, own).unwrap();
            fs::write(&main, &around).unwrap();
            match (guard(Some(&main), &file, &all), told) {
                (Ok(()), None) => {}
                (Err(why), Some(word)) => assert!(why.contains(word) && why.contains("\"app\""), "{why}"),
                (outcome, _) => panic!("{around}: {outcome:?}"),
            }
        }
        // One that includes itself comes to an end.
        fs::write(&file, include(&file)).unwrap();
        assert_eq!(guard(None, &file, &all), Ok(()));
    }
}
