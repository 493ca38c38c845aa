//! An argument list as one line that every POSIX shell takes apart into the same list.

/// Quotes one argument.
fn quote(argument: &str, line: &mut String) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | ',' | '@' | '+');
    if !argument.is_empty() && argument.chars().all(plain) {
        line.push_str(argument);
        return;
    }
    line.push('\'');
    for c in argument.chars() {
        // Within single quotes nothing is special but the quote itself: leave, say one, enter again.
        if c == '\'' {
            line.push_str("'\\''");
        } else {
            line.push(c);
        }
    }
    line.push('\'');
}

/// Joins a list of arguments into a command line, or `None` where one holds a NUL, which no argument can.
pub(crate) fn command_line(argv: &[&str]) -> Option<String> {
    let mut line = String::new();
    for (place, argument) in argv.iter().enumerate() {
        if argument.contains('\0') {
            return None;
        }
        if place > 0 {
            line.push(' ');
        }
        quote(argument, &mut line);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of the line: every argument as it arrived, ended by a NUL.
    fn through_the_shell(line: &str) -> Vec<u8> {
        let script = format!("printf '%s\\0' {line}");
        std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout
    }

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(command_line(&["pg_ctl", "-D", "/var/lib/pg/15", "a b"]).unwrap(), "pg_ctl -D /var/lib/pg/15 'a b'");
        assert_eq!(command_line(&["a=b", "", "~", "it's"]).unwrap(), r"'a=b' '' '~' 'it'\''s'");
        assert_eq!(command_line(&["a\0b"]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_takes_the_line_apart_into_the_same_list(argv in prop::collection::vec("[^\0]{0,12}|[ '\"$`\\\\!*?~#&;|<>(){}\n\t]{0,8}", 1..6)) {
            let list: Vec<&str> = argv.iter().map(String::as_str).collect();
            let mut wanted = Vec::new();
            for argument in &list {
                wanted.extend_from_slice(argument.as_bytes());
                wanted.push(0);
            }
            prop_assert_eq!(through_the_shell(&command_line(&list).unwrap()), wanted);
        }
    }
}
