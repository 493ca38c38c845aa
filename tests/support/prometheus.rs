//! Prometheus' text format, read strictly: what a scraper would forgive is an error here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// One sample: its name, its labels, its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

fn is_name(name: &str, first: fn(char) -> bool) -> bool {
    name.starts_with(first) && name.chars().all(|letter| first(letter) || letter.is_ascii_digit())
}

fn is_metric(name: &str) -> bool {
    is_name(name, |letter| letter.is_ascii_alphabetic() || letter == '_' || letter == ':')
}

fn is_label(name: &str) -> bool {
    is_name(name, |letter| letter.is_ascii_alphabetic() || letter == '_') && !name.starts_with("__")
}

/// `"value"` at the beginning, unescaped, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut letters = text.strip_prefix('"').ok_or("a label's value begins with a quote")?.char_indices();
    let mut value = String::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[1 + at + 1..])),
            '\\' => value.push(match letters.next().map(|(_, letter)| letter) {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => return Err(format!("{other:?} cannot be escaped")),
            }),
            other => value.push(other),
        }
    }
    Err("a label's value has no end".to_owned())
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("a sample has a value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_metric(name) {
        return Err(format!("{name} is no name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once('=').ok_or("a label has a value")?;
            if !is_label(label) {
                return Err(format!("{label} is no label"));
            }
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("{label} twice"));
            }
            match after.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => return Err("labels end with a brace".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("one space before the value")?;
    let number: f64 = value.parse().map_err(|_| format!("{value} is no number"))?;
    if value.contains(' ') || !number.is_finite() {
        return Err(format!("{value} is no finite number alone"));
    }
    Ok(Sample { name: name.to_owned(), labels, value: number })
}

/// Every sample, or the first line that is wrong and why.
pub fn read(text: &str) -> Result<Vec<Sample>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut samples: Vec<Sample> = Vec::new();
    let mut families = BTreeSet::new();
    let mut help: Option<String> = None;
    let mut family: Option<(String, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let wrong = |why: String| format!("line {}: {why}: {line}", number + 1);
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').ok_or_else(|| wrong("no help".into()))?;
            if !is_metric(name) || words.trim().is_empty() || !families.insert(name.to_owned()) {
                return Err(wrong("a new family has a name and a help".into()));
            }
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type".into()))?;
            if help.take().as_deref() != Some(name) || !["counter", "gauge", "summary", "histogram"].contains(&kind) {
                return Err(wrong("a type follows its help".into()));
            }
            if (kind == "counter") != name.ends_with("_total") {
                return Err(wrong("counters, and they alone, end in _total".into()));
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let sample = sample(line).map_err(wrong)?;
            let (name, kind) = family.as_ref().filter(|_| help.is_none()).ok_or_else(|| wrong("no family".into()))?;
            let suffix = sample.name.strip_prefix(name.as_str()).ok_or_else(|| wrong(format!("not of {name}")))?;
            let fits = match kind.as_str() {
                // A bucket, and nothing else, has a bound.
                "histogram" if sample.labels.contains_key("le") => suffix == "_bucket",
                "summary" | "histogram" => ["_sum", "_count"].contains(&suffix),
                _ => suffix.is_empty(),
            };
            if !fits || kind != "gauge" && sample.value < 0.0 {
                return Err(wrong(format!("does not fit a {kind}")));
            }
            if samples.iter().any(|other| other.name == sample.name && other.labels == sample.labels) {
                return Err(wrong("twice".into()));
            }
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// What the client library of Prometheus reads, in the same order. It is Debian's, for the system's own Python.
pub fn parsed(text: &str) -> Vec<Sample> {
    const SCRIPT: &str = "\
import json, sys
from prometheus_client.parser import text_string_to_metric_families as families
text = sys.stdin.read()
json.dump([[s.name, s.labels, s.value] for family in families(text) for s in family.samples], sys.stdout)";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-I", "-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = child.stdin.take().expect("piped");
    // It reads all before it writes.
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3-prometheus-client (make setup): {said}");
    let samples: Vec<(String, BTreeMap<String, String>, f64)> = serde_json::from_slice(&output.stdout).expect("JSON");
    samples.into_iter().map(|(name, labels, value)| Sample { name, labels, value }).collect()
}

/// The value of the one sample with this name and these labels among its own.
pub fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &&Sample| {
        sample.name == name && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
    };
    let mut found = samples.iter().filter(fits);
    let first = found.next()?;
    assert!(found.next().is_none(), "{name} {labels:?} is more than one sample");
    Some(first.value)
}
