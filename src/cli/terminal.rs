//! What the terminal can show: colours and tables only where a person looks.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use super::exit::{Code, Trouble};

/// When to use colours and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    // Said in the help of the option: comments of the kind that help shows would make it ten lines long.
    Auto,
    Always,
    Never,
}

/// The meaning behind a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As it should be.
    Good,
    /// Somebody should know.
    Doubtful,
    /// Somebody should come.
    Bad,
    /// Of less interest.
    Faint,
    /// A heading.
    Strong,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Good => "32",
            Paint::Doubtful => "33",
            Paint::Bad => "31",
            Paint::Faint => "2",
            Paint::Strong => "1",
        }
    }
}

/// What stdout and stderr can show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Stdout is looked at by a person: tables are drawn.
    pub tables: bool,
    /// Colours on stdout.
    pub colors: bool,
    stderr_colors: bool,
}

impl Terminal {
    /// Asks the system and the environment.
    pub fn new(color: Color) -> Terminal {
        let wanted = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
            }
        };
        let forced = color == Color::Always;
        let tables = io::stdout().is_terminal() || forced;
        Terminal { tables, colors: wanted && tables, stderr_colors: wanted && (io::stderr().is_terminal() || forced) }
    }

    /// A text for stdout.
    pub fn stdout(self, text: &str, paint: Paint) -> String {
        painted(text, paint, self.colors)
    }

    /// A text for stderr.
    pub fn stderr(self, text: &str, paint: Paint) -> String {
        painted(text, paint, self.stderr_colors)
    }
}

fn painted(text: &str, paint: Paint, colors: bool) -> String {
    if colors { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
}

/// Writes to stdout. A reader that went away (`failover events | head`) is no trouble.
pub fn print(text: &str) -> Result<(), Trouble> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Trouble::new(Code::Failed, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one JSON document to stdout, indented where a person looks.
pub fn print_json(value: &impl serde::Serialize, terminal: Terminal) -> Result<(), Trouble> {
    let text = if terminal.tables { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let text = text.map_err(|error| Trouble::new(Code::Failed, format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}

/// A terminal that says it is narrower than this says nothing of use: lines that are too long are better than columns of letters.
const NARROWEST: u16 = 20;

/// One cell of a table.
pub struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    /// A plain cell.
    pub fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), paint: None }
    }

    /// A coloured cell.
    pub fn painted(text: impl Into<String>, paint: Paint) -> Cell {
        Cell { text: text.into(), paint: Some(paint) }
    }
}

/// The width that the environment wants, before the one that the terminal tells.
fn columns() -> Option<u16> {
    std::env::var("COLUMNS").ok()?.trim().parse().ok()
}

fn longest_word(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0)
}

/// Columns, aligned and indented; with lines around them and wrapped to its width on a terminal. Ends with a newline.
pub fn table(header: &[&str], rows: Vec<Vec<Cell>>, indent: u16, terminal: Terminal) -> String {
    let width = columns().or_else(|| comfy_table::Table::new().width());
    table_of(header, rows, indent, terminal, width)
}

fn table_of(header: &[&str], rows: Vec<Vec<Cell>>, indent: u16, terminal: Terminal, width: Option<u16>) -> String {
    use comfy_table::{
        Attribute, Cell as Drawn, Color as Shade, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets,
    };
    let mut longest: Vec<usize> = header.iter().map(|text| longest_word(text)).collect();
    for row in &rows {
        for (longest, cell) in longest.iter_mut().zip(row) {
            *longest = (*longest).max(longest_word(&cell.text));
        }
    }
    let width = width.filter(|width| terminal.tables && *width >= NARROWEST);
    if let Some(width) = width
        && longest.iter().map(|word| word + 2).sum::<usize>() + usize::from(indent) > usize::from(width)
    {
        return stacked(header, &rows, usize::from(indent), terminal, usize::from(width));
    }
    let mut table = Table::new();
    if terminal.tables {
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        for line_between_rows in [
            TableComponent::HorizontalLines,
            TableComponent::MiddleIntersections,
            TableComponent::LeftBorderIntersections,
            TableComponent::RightBorderIntersections,
        ] {
            table.remove_style(line_between_rows);
        }
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width - indent);
        }
    } else {
        table.load_preset(presets::NOTHING).force_no_tty();
    }
    if terminal.colors {
        table.enforce_styling();
    }
    let strong = |text: &&str| {
        let cell = Drawn::new(text);
        if terminal.colors { cell.add_attribute(Attribute::Bold) } else { cell }
    };
    table.set_header(header.iter().map(strong));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| {
            let drawn = Drawn::new(cell.text);
            match cell.paint.filter(|_| terminal.colors) {
                None => drawn,
                Some(Paint::Good) => drawn.fg(Shade::DarkGreen),
                Some(Paint::Doubtful) => drawn.fg(Shade::DarkYellow),
                Some(Paint::Bad) => drawn.fg(Shade::DarkRed),
                Some(Paint::Faint) => drawn.add_attribute(Attribute::Dim),
                Some(Paint::Strong) => drawn.add_attribute(Attribute::Bold),
            }
        }));
    }
    for (column, longest) in table.column_iter_mut().zip(longest) {
        if terminal.tables {
            // A word is never broken: what is cut apart can be neither read nor copied.
            let padded = u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(2);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(padded)));
        } else {
            column.set_padding((0, 2));
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.extend(std::iter::repeat_n(' ', usize::from(indent)));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Where the words of a row do not fit beside each other they stand below each other, each behind the name of its column.
fn stacked(header: &[&str], rows: &[Vec<Cell>], indent: usize, terminal: Terminal, width: usize) -> String {
    let named = header.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(indent + named + 2).max(1);
    let mut blocks = Vec::with_capacity(rows.len());
    for row in rows {
        let mut block = String::new();
        for (name, cell) in header.iter().zip(row).filter(|(_, cell)| !cell.text.trim().is_empty()) {
            for (at, line) in lines_of(&cell.text, room).into_iter().enumerate() {
                let name = if at == 0 { *name } else { "" };
                let line = cell.paint.map_or_else(|| line.clone(), |paint| terminal.stdout(&line, paint));
                block.push_str(format!("{:indent$}{name:named$}  {line}", "").trim_end());
                block.push('\n');
            }
        }
        blocks.push(block);
    }
    blocks.join("\n")
}

/// A text in lines of at most `room` characters, but for a word that is longer.
fn lines_of(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_never_broken_whatever_the_width() {
        let words =
            ["a-long-name-of-a-server", "192.0.2.17:5432", "could not connect to the server because nothing listens there"];
        let rows = || vec![words.iter().map(|text| Cell::new(*text)).collect()];
        for width in [40, 59, 60, 72, 100, 200] {
            let drawn = table_of(
                &["server", "address", "what it said"],
                rows(),
                2,
                Terminal { tables: true, ..Terminal::default() },
                Some(width),
            );
            for word in words.iter().flat_map(|text| text.split(' ')) {
                assert!(drawn.contains(word), "{width}: {word} in\n{drawn}");
            }
            assert!(drawn.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}\n{drawn}");
        }
    }

    #[test]
    fn what_does_not_fit_beside_each_other_stands_below_each_other() {
        let rows = || {
            let row = |server: &str| vec![Cell::new(server), Cell::painted("not-so-well", Paint::Bad), Cell::new("")];
            vec![row("a-long-name-of-a-server"), row("another-name-of-a-server")]
        };
        let drawn = |colors| {
            let terminal = Terminal { tables: true, colors, ..Terminal::default() };
            table_of(&["server", "health", "note"], rows(), 2, terminal, Some(36))
        };
        let plain = "  server  a-long-name-of-a-server\n  health  not-so-well\n\n  server  another-name-of-a-server\n  health  not-so-well\n";
        assert_eq!(drawn(false), plain);
        assert_eq!(drawn(true), plain.replace("not-so-well", "\u{1b}[31mnot-so-well\u{1b}[0m"));
    }

    #[test]
    fn without_colours_there_is_no_escape() {
        let terminal = Terminal { tables: true, ..Terminal::default() };
        let drawn = table_of(&["server"], vec![vec![Cell::painted("db1", Paint::Strong)]], 0, terminal, Some(80));
        assert!(drawn.contains("db1") && !drawn.contains('\u{1b}'), "{drawn:?}");
    }
}
