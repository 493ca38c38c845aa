//! Which lines of a PgBouncer's configuration say where a database points, its included files among them. Of one that stands there twice
//! PgBouncer obeys the last line and says nothing about the first, so a file with two is one that nobody can change with certainty.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::file::{LONGEST, unquoted};

/// More files, or a deeper nest of them, is none of PgBouncer's.
const MOST_FILES: usize = 64;

const ONE_LINE: &str =
    "leave one line for each database, in the file that route.pgbouncer.file names, and RELOAD on its admin console";
const WHOLE_PATH: &str = "write the whole path behind %include, and RELOAD on its admin console";

/// Where PgBouncer began to read, as far as it says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The file that it was started with.
    pub(super) main: Option<PathBuf>,
    /// Its working directory: a relative name is one in there.
    pub(super) folder: Option<PathBuf>,
}

/// Why nobody can say with certainty which line counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous {
    pub(super) why: String,
    pub(super) remedy: &'static str,
}

/// One line that defines a database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    database: String,
    path: PathBuf,
    line: usize,
}

/// What was read, in PgBouncer's order.
struct Reading<'a> {
    /// Where relative names are looked for.
    folder: Option<&'a Path>,
    /// The first file that is included by a relative name, while nobody says where that is looked for.
    unplaced: Option<String>,
    entries: Vec<Entry>,
    files: Vec<PathBuf>,
    /// Every included file was there to be read.
    whole: bool,
    in_databases: bool,
}

/// PgBouncer takes where each of these databases points from one line, and from one of this file.
///
/// # Errors
/// Which lines say something else, or which may.
pub(super) fn guard(origin: &Origin, file: &Path, databases: &[String]) -> Result<(), Ambiguous> {
    // One that cannot be used at all is told where it is to be used.
    let Some(file) = fs::canonicalize(file).ok().filter(|file| file.is_file()) else { return Ok(()) };
    let folder = origin.folder.as_deref();
    let own = Reading::of(&file, true, folder);
    let main = origin.main.as_deref().and_then(|main| placed(main, folder)).and_then(|main| fs::canonicalize(main).ok());
    let all = main.map(|main| Reading::of(&main, false, folder));
    if let Some(unplaced) = all.as_ref().and_then(|all| all.unplaced.as_ref()).or(own.unplaced.as_ref()) {
        return Err(Ambiguous { why: unplaced.clone(), remedy: WHOLE_PATH });
    }
    // One that is not its own, as where it runs in a container with other files, says nothing about it.
    let (reading, included) = match all {
        Some(all) if all.files.contains(&file) => (all, true),
        Some(all) if all.whole && databases.iter().all(|database| all.lines_of(database).next().is_some()) => (all, false),
        _ => (own, true),
    };
    for database in databases {
        let lines: Vec<String> =
            reading.lines_of(database).map(|entry| format!("{}:{}", entry.path.display(), entry.line)).collect();
        let why = if !included {
            let lines = lines.join(", ");
            format!("PgBouncer takes database \"{database}\" from {lines}, and not from {}", file.display())
        } else if lines.len() > 1 {
            format!("database \"{database}\" is there {} times, and the last one counts: {}", lines.len(), lines.join(", "))
        } else {
            continue;
        };
        return Err(Ambiguous { why, remedy: ONE_LINE });
    }
    Ok(())
}

/// The path that PgBouncer takes a name for: a relative one is in its working directory, whatever file names it.
fn placed(name: &Path, folder: Option<&Path>) -> Option<PathBuf> {
    if name.is_absolute() { Some(name.to_owned()) } else { folder.map(|folder| folder.join(name)) }
}

impl<'a> Reading<'a> {
    fn of(path: &Path, in_databases: bool, folder: Option<&'a Path>) -> Reading<'a> {
        let mut reading = Reading { folder, unplaced: None, entries: Vec::new(), files: Vec::new(), whole: true, in_databases };
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
                self.include(Path::new(included.trim()), path, index + 1);
            } else if line.starts_with('[') {
                self.in_databases = line.eq_ignore_ascii_case("[databases]");
            } else if let Some((name, _)) = line.split_once('=').filter(|_| self.in_databases && !line.starts_with([';', '#'])) {
                self.entries.push(Entry { database: unquoted(name.trim()), path: path.to_owned(), line: index + 1 });
            }
        }
    }

    fn include(&mut self, name: &Path, by: &Path, line: usize) {
        let Some(path) = placed(name, self.folder) else {
            self.whole = false;
            self.unplaced.get_or_insert_with(|| {
                format!(
                    "{}:{line} includes {}, which PgBouncer looks for in its working directory, and that cannot be seen from here: it \
                     may have a second line for a database",
                    by.display(),
                    name.display()
                )
            });
            return;
        };
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
            (line.to_owned(), format!("[databases]\n{line}%include /not-there.ini\n"), None),
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
            match (guard(&started_with(&main), &file, &all).map_err(|no| no.why), told) {
                (Ok(()), None) => {}
                (Err(why), Some(word)) => assert!(why.contains(word) && why.contains("\"app\""), "{why}"),
                (outcome, _) => panic!("{around}: {outcome:?}"),
            }
        }
        // One that includes itself comes to an end.
        fs::write(&file, include(&file)).unwrap();
        assert_eq!(guard(&Origin::default(), &file, &all), Ok(()));
    }

    fn started_with(main: &Path) -> Origin {
        Origin { main: Some(main.to_owned()), folder: None }
    }

    #[test]
    fn a_relative_include_is_one_of_the_working_directory() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (beside, folder) = (root.join("etc"), root.join("run"));
        fs::create_dir(&beside).unwrap();
        fs::create_dir(&folder).unwrap();
        let (main, file) = (beside.join("main.ini"), beside.join("ours.ini"));
        let line = "app = host=127.0.0.1 port=1\n";
        let all = ["app".to_owned()];
        fs::write(&file, line).unwrap();
        // Beside the file that names it is another one, which PgBouncer never sees.
        fs::write(beside.join("more.ini"), line).unwrap();
        fs::write(folder.join("more.ini"), "; nothing\n").unwrap();
        let ask = |main: &Path, folder: Option<&Path>| {
            guard(&Origin { main: Some(main.to_owned()), folder: folder.map(Path::to_owned) }, &file, &all)
        };
        let write = |text: String| fs::write(&main, format!("[databases]\n{text}")).unwrap();
        write(format!("%include {}\n%include more.ini\n", file.display()));
        assert_eq!(ask(&main, Some(&folder)), Ok(()));
        assert_eq!(ask(Path::new("../etc/main.ini"), Some(&folder)), Ok(()));
        let why = ask(&main, Some(&beside)).unwrap_err();
        assert!(why.why.contains("etc/more.ini:1") && why.remedy == ONE_LINE, "{why:?}");
        // The one that is rewritten is not the one that it reads.
        write("%include ours.ini\n".to_owned());
        assert_eq!(ask(&main, Some(&beside)), Ok(()));
        fs::write(folder.join("ours.ini"), line).unwrap();
        let why = ask(&main, Some(&folder)).unwrap_err();
        assert!(why.why.contains("run/ours.ini:1, and not from"), "{why:?}");
        // Nobody says where it is.
        let why = ask(&main, None).unwrap_err();
        assert!(why.why.contains("main.ini:2 includes ours.ini") && why.remedy == WHOLE_PATH, "{why:?}");
        fs::write(&file, format!("{line}%include more.ini\n")).unwrap();
        let why = guard(&Origin::default(), &file, &all).unwrap_err();
        assert!(why.why.contains("ours.ini:2 includes more.ini"), "{why:?}");
    }
}
