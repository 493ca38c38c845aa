//! What a setting is: how it is read, shown and described. One table of fields per struct drives the reader, the effective
//! configuration, the JSON Schema and the reference, so that none of them can say something the others do not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::node::{Node, Place, Value};
use super::problem::{Pointer, Problem};
use super::rule::Rule;
use super::surroundings::Surroundings;

/// A type that can stand in the configuration.
pub(super) trait Setting: Sized {
    /// `false` in its place means "none", also where something could be inherited.
    const OFF: bool = false;
    /// What may be written.
    fn shape(rule: Rule) -> Shape;
    /// Stands in for a value that could not be read; never reaches a finished configuration.
    fn blank() -> Self;
    /// Reads the value; `slot` has at least one layer.
    fn read<'a>(slot: Slot<'a>, rule: Rule, reader: &mut Reader<'a>) -> Self;
    /// Stands for a value that was not written and has no default.
    fn absent<'a>(slot: &Slot<'a>, _rule: Rule, reader: &mut Reader<'a>) -> Self {
        reader.missing(slot);
        Self::blank()
    }
    /// The value as it would be written, secrets masked; `None` where nothing is in force.
    fn write(&self) -> Option<Node>;
}

/// A struct of settings.
pub(super) trait Table: Setting {
    /// Its name in the JSON Schema and the reference.
    const NAME: &'static str;
    /// What it is.
    const DOC: &'static str;
    /// Its own fields, and those of the structs whose fields stand among its own.
    fn fields() -> Vec<Field>;
    /// The variants told apart by one of the fields.
    fn cases() -> Option<Cases> {
        None
    }
    /// Reads every field.
    fn read_fields(cursor: &mut Cursor<'_, '_>) -> Self;
    /// Appends every field in force.
    fn write_fields(&self, out: &mut Vec<(String, Node)>);
}

/// One field of a table.
#[derive(Clone)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) origin: Origin,
    pub(super) rule: Rule,
    pub(super) shape: fn(Rule) -> Shape,
}

/// Where a value comes from when it is not written.
#[derive(Clone)]
pub(super) enum Origin {
    /// It must be written.
    Required,
    /// Nothing, an empty list, or a table of defaults.
    Unset,
    /// This value.
    Fixed(Node),
    /// What the surrounding service gives under this name.
    Inherited(&'static str),
    /// As `Unset`, and what is written is inherited by the servers or checks.
    Lent(&'static str),
}

/// A default as it would be written.
pub(super) fn fixed(node: impl Into<Node>) -> Origin {
    Origin::Fixed(node.into())
}

/// Variants of a table.
pub(super) struct Cases {
    /// The field that tells them apart.
    pub(super) tag: &'static str,
    /// Word, what it is, further fields.
    pub(super) variants: Vec<(&'static str, &'static str, Vec<Field>)>,
}

/// What may be written in a place.
pub(super) enum Shape {
    Text(Rule),
    Integer(Rule),
    Boolean,
    Duration(Rule),
    Size(Rule),
    /// Words, each with what it means.
    Words(&'static [(&'static str, &'static str)]),
    /// Exactly this boolean.
    Exactly(bool),
    List(Box<Shape>, Rule),
    Map(Box<Shape>),
    /// A table with exactly this key.
    Single(&'static str, Box<Shape>),
    /// A secret or where it is found.
    Secret,
    Table(TableShape),
    Either(Vec<Shape>),
}

/// A table's shape.
pub(super) struct TableShape {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) cases: Option<Cases>,
}

/// One of the places a value may come from.
#[derive(Clone)]
pub(super) struct Layer<'a> {
    pub(super) node: Cow<'a, Node>,
    pub(super) at: Pointer,
    /// It was written by the user, not put there as a default.
    pub(super) written: bool,
}

impl<'a> Layer<'a> {
    fn child(&self, key: &str) -> Option<Layer<'a>> {
        let node = match &self.node {
            Cow::Borrowed(node) => Cow::Borrowed(node.get(key)?),
            Cow::Owned(node) => Cow::Owned(node.get(key)?.clone()),
        };
        Some(Layer { node, at: self.at.key(key), written: self.written })
    }

    fn items(&self) -> Option<Vec<Layer<'a>>> {
        let layer = |node, index| Layer { node, at: self.at.index(index), written: self.written };
        match &self.node {
            Cow::Borrowed(Node { value: Value::List(items), .. }) => {
                Some(items.iter().enumerate().map(|(index, item)| layer(Cow::Borrowed(item), index)).collect())
            }
            Cow::Owned(Node { value: Value::List(items), .. }) => {
                Some(items.iter().enumerate().map(|(index, item)| layer(Cow::Owned(item.clone()), index)).collect())
            }
            _ => None,
        }
    }
}

/// The place of one value: where it belongs, and what was written there or where it is inherited from, nearest first.
#[derive(Clone)]
pub(super) struct Slot<'a> {
    pub(super) at: Pointer,
    pub(super) layers: Vec<Layer<'a>>,
    /// The table it belongs to, for the line of a missing key.
    pub(super) home: Option<Place>,
    /// The value is never shown.
    pub(super) secret: bool,
    /// It has no default.
    pub(super) required: bool,
}

impl<'a> Slot<'a> {
    /// The nearest value.
    pub(super) fn node(&self) -> &Node {
        &self.layers[0].node
    }

    /// The slot of a key of the nearest table.
    pub(super) fn key(&self, key: &str) -> Option<Slot<'a>> {
        let layer = self.layers[0].child(key)?;
        Some(Slot { at: self.at.key(key), layers: vec![layer], home: self.node().place, secret: self.secret, required: false })
    }

    /// The slots of the items of the nearest list.
    pub(super) fn items(&self) -> Option<Vec<Slot<'a>>> {
        let home = self.node().place;
        let items = self.layers[0].items()?;
        Some(
            items
                .into_iter()
                .enumerate()
                .map(|(index, layer)| Slot {
                    at: self.at.index(index),
                    layers: vec![layer],
                    home,
                    secret: self.secret,
                    required: false,
                })
                .collect(),
        )
    }
}

/// Where the value of a field came from, for messages about fields that contradict each other.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) at: Pointer,
    pub(super) place: Option<Place>,
    /// What is there, unless it may be a secret.
    pub(super) shown: Option<String>,
    pub(super) written: bool,
}

/// Collects what is found while the tree is read.
pub(super) struct Reader<'a> {
    pub(super) surroundings: &'a dyn Surroundings,
    /// The whole document, for the places of what is missing.
    document: &'a Node,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Values that are already known to be wrong: no second complaint about them.
    pub(super) bad: BTreeSet<Pointer>,
    pub(super) sources: BTreeMap<Pointer, Source>,
    /// Secrets that stand in the configuration itself.
    pub(super) literals: Vec<(String, Option<Place>)>,
    lent: BTreeMap<&'static str, Vec<Layer<'a>>>,
    preset: Option<Layer<'a>>,
}

/// The most errors, and the most warnings, that are kept.
const MOST_PROBLEMS: usize = 200;

impl<'a> Reader<'a> {
    pub(super) fn new(surroundings: &'a dyn Surroundings, document: &'a Node, preset: Option<Node>) -> Reader<'a> {
        Reader {
            surroundings,
            document,
            errors: Vec::new(),
            warnings: Vec::new(),
            bad: BTreeSet::new(),
            sources: BTreeMap::new(),
            literals: Vec::new(),
            lent: BTreeMap::new(),
            preset: preset.map(|node| Layer { node: Cow::Owned(node), at: Pointer::root().key("preset"), written: false }),
        }
    }

    /// What the surrounding service gives under a name.
    pub(super) fn lent(&self, name: &str) -> Vec<Layer<'a>> {
        self.lent.get(name).cloned().unwrap_or_default()
    }

    /// An error about the nearest value of a slot.
    pub(super) fn wrong(&mut self, slot: &Slot<'_>, reason: impl Into<String>, remedy: impl Into<String>) {
        let problem = problem_at(slot, reason, remedy);
        self.bad.insert(slot.at.clone());
        self.error(problem);
    }

    /// A warning about the nearest value of a slot.
    pub(super) fn warn(&mut self, slot: &Slot<'_>, reason: impl Into<String>, remedy: impl Into<String>) {
        let problem = problem_at(slot, reason, remedy);
        self.warning(problem);
    }

    /// An error, unless the same one is already there: what is inherited is read more than once.
    pub(super) fn error(&mut self, problem: Problem) {
        if !self.full() && !self.errors.contains(&problem) {
            self.errors.push(problem);
        }
    }

    /// So many errors were found that further ones are not kept.
    pub(super) fn full(&self) -> bool {
        self.errors.len() >= MOST_PROBLEMS
    }

    /// The text is TOML, whose tables have headers; the places of JSON begin with its keys.
    pub(super) fn has_headers(&self) -> bool {
        self.document.place.is_some()
    }

    /// A warning, unless the same one is already there.
    pub(super) fn warning(&mut self, problem: Problem) {
        if self.warnings.len() < MOST_PROBLEMS && !self.warnings.contains(&problem) {
            self.warnings.push(problem);
        }
    }

    /// Neither this value nor a table around it is known to be wrong.
    pub(super) fn sound(&self, at: &Pointer) -> bool {
        at.with_ancestors().all(|at| !self.bad.contains(&at))
    }

    /// This value was written, not put there as a default.
    pub(super) fn written(&self, at: &Pointer) -> bool {
        self.sources.get(at).is_some_and(|source| source.written)
    }

    /// An error that only several values together make. It is told at the first of them that was written. Silent where one of
    /// them is known to be wrong already: one mistake, one message.
    pub(super) fn contradiction(&mut self, at: &[Pointer], reason: impl Into<String>, remedy: impl Into<String>) {
        if !self.full() && at.iter().all(|at| self.sound(at)) {
            let problem = self.about(at, reason, remedy);
            self.error(problem);
        }
    }

    /// As [`contradiction`](Reader::contradiction), but the engine could live with it.
    pub(super) fn caution(&mut self, at: &[Pointer], reason: impl Into<String>, remedy: impl Into<String>) {
        if at.iter().all(|at| self.sound(at)) {
            let problem = self.about(at, reason, remedy);
            self.warning(problem);
        }
    }

    /// A problem at a value that was read, told at the place where it was written.
    fn about(&self, at: &[Pointer], reason: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let at = at.iter().find(|at| self.written(at)).unwrap_or(&at[0]);
        let source = self.sources.get(at);
        let place = source.and_then(|source| source.place).or_else(|| self.place_near(at));
        let default = |source: &Source| if source.written { "" } else { " (default)" };
        Problem {
            path: source.filter(|source| source.written).map_or_else(|| at.text(), |source| source.at.text()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            value: source.and_then(|source| source.shown.as_ref().map(|shown| format!("{shown}{}", default(source)))),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// The place of a value, or of the nearest one around it.
    fn place_near(&self, at: &Pointer) -> Option<Place> {
        let mut node = self.document;
        let mut place = node.place;
        for step in at.steps() {
            let inner = match &node.value {
                Value::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => node.get(&step),
            };
            let Some(inner) = inner else { break };
            node = inner;
            place = node.place.or(place);
        }
        place
    }

    /// A value that has no default was not written.
    pub(super) fn missing(&mut self, slot: &Slot<'_>) {
        self.bad.insert(slot.at.clone());
        self.error(Problem {
            path: slot.at.text(),
            line: slot.home.map(|place| place.line),
            column: slot.home.map(|place| place.column),
            value: None,
            reason: "this is missing and has no default".to_owned(),
            remedy: if slot.at.text() == "/version" { "add version = 1" } else { "add it" }.to_owned(),
        });
    }
}

fn problem_at(slot: &Slot<'_>, reason: impl Into<String>, remedy: impl Into<String>) -> Problem {
    let nearest = slot.layers.first();
    let place = nearest.and_then(|layer| layer.node.place);
    Problem {
        path: nearest.map_or_else(|| slot.at.text(), |layer| layer.at.text()),
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        value: nearest.map(|layer| if slot.secret { "********".to_owned() } else { layer.node.shown() }),
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

/// Reads the fields of one table in order.
pub(super) struct Cursor<'r, 'a> {
    slot: Slot<'a>,
    fields: std::vec::IntoIter<Field>,
    pub(super) reader: &'r mut Reader<'a>,
}

impl<'a> Cursor<'_, 'a> {
    /// The next field of [`Table::fields`].
    pub(super) fn next<T: Setting>(&mut self) -> T {
        let field = self.fields.next().expect("a table reads as many fields as it lists");
        let at = self.slot.at.key(field.name);
        let mut layers: Vec<Layer<'a>> = self.slot.layers.iter().filter_map(|layer| layer.child(field.name)).collect();
        match &field.origin {
            Origin::Inherited(name) => layers.extend(self.reader.lent(name)),
            Origin::Lent(name) => {
                layers.extend(self.reader.preset.iter().filter_map(|preset| preset.child(field.name)));
                self.reader.lent.insert(name, layers.clone());
            }
            Origin::Unset => layers.extend(self.reader.preset.iter().filter_map(|preset| preset.child(field.name))),
            Origin::Fixed(node) => {
                layers.push(Layer { node: Cow::Owned(node.clone()), at: at.clone(), written: false });
            }
            Origin::Required => {}
        }
        let home = self.slot.layers.first().and_then(|layer| layer.node.place);
        let required = matches!(field.origin, Origin::Required);
        let slot = Slot { at, layers, home, secret: false, required };
        if let Some(nearest) = slot.layers.first() {
            let plain = !matches!((field.shape)(field.rule), Shape::Secret | Shape::Map(_) | Shape::List(..) | Shape::Table(_));
            let source = Source {
                at: nearest.at.clone(),
                place: nearest.node.place,
                shown: plain.then(|| nearest.node.shown()),
                written: nearest.written,
            };
            self.reader.sources.insert(slot.at.clone(), source);
        }
        if slot.layers.is_empty() { T::absent(&slot, field.rule, self.reader) } else { T::read(slot, field.rule, self.reader) }
    }

    /// The fields of a variant, which stand among those that all variants have.
    pub(super) fn variant<T: Table>(&mut self) -> T {
        self.fields = T::fields().into_iter();
        T::read_fields(self)
    }

    /// Where the table is.
    pub(super) fn slot(&self) -> &Slot<'a> {
        &self.slot
    }
}

/// Reads a table; what every [`Table`]'s `read` does.
pub(super) fn read_table<'a, T: Table>(mut slot: Slot<'a>, reader: &mut Reader<'a>) -> T {
    if slot.node().table().is_none() {
        let keys: Vec<&str> = T::fields().iter().take(3).map(|field| field.name).collect();
        // A connection string in the place of a table may hold a password.
        slot.secret |= slot.node().text().is_some();
        reader.wrong(&slot, "this must be a table", format!("write a table with keys such as {}", keys.join(", ")));
        return T::blank();
    }
    slot.layers.retain(|layer| layer.node.table().is_some());
    read_layers(&slot, reader)
}

/// Reads a table that nobody wrote: its defaults, and complaints about what has none.
pub(super) fn absent_table<'a, T: Table>(slot: &Slot<'a>, reader: &mut Reader<'a>) -> T {
    read_layers(slot, reader)
}

fn read_layers<'a, T: Table>(slot: &Slot<'a>, reader: &mut Reader<'a>) -> T {
    let own = slot.layers.first().filter(|layer| layer.at == slot.at).cloned();
    let value = {
        let mut cursor = Cursor { slot: slot.clone(), fields: T::fields().into_iter(), reader };
        T::read_fields(&mut cursor)
    };
    if let Some(own) = own {
        super::unknown::report::<T>(&own, slot, reader);
    }
    value
}

/// Writes a table; what every [`Table`]'s `write` does.
pub(super) fn write_table<T: Table>(table: &T) -> Node {
    let mut pairs = Vec::new();
    table.write_fields(&mut pairs);
    Node::from(pairs)
}

/// Appends one field to a table that is written.
pub(super) fn write_field<T: Setting>(field: &Field, value: &T, out: &mut Vec<(String, Node)>) {
    let Some(node) = value.write() else { return };
    let nothing = matches!(&node.value, Value::List(items) if items.is_empty())
        || matches!(&node.value, Value::Table(pairs) if pairs.is_empty());
    if !(nothing && matches!(field.origin, Origin::Unset)) {
        out.push((field.name.to_owned(), node));
    }
}

/// Declares structs of settings: documentation, name, type, origin and rule of each field, once. `or false` lets an optional
/// struct be switched off; `+` takes in the fields of another struct.
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])*
        pub struct $name:ident $(or $off:literal)? {
            $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty = $origin:expr $(, $rule:expr)? ; )*
        }
        $( + $(#[doc = $flat_doc:literal])* $flat:ident : $flat_type:ty ; )?
    )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
            $( $(#[doc = $flat_doc])* pub $flat: $flat_type, )?
        }

        impl std::fmt::Debug for $name {
            /// All values, without what is secret in URLs.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), &$crate::config::url::Shown(&self.$field)) )*
                    $( .field(stringify!($flat), &$crate::config::url::Shown(&self.$flat)) )?
                    .finish()
            }
        }

        impl $crate::config::setting::Table for $name {
            const NAME: &'static str = stringify!($name);
            const DOC: &'static str = concat!($($doc, "\n"),*);

            fn fields() -> Vec<$crate::config::setting::Field> {
                #[allow(unused_mut, reason = "only where a struct takes in another's fields")]
                let mut fields = vec![$( $crate::config::setting::Field {
                    name: stringify!($field),
                    doc: concat!($($field_doc, "\n"),*),
                    origin: $origin,
                    rule: settings!(@rule $($rule)?),
                    shape: <$type as $crate::config::setting::Setting>::shape,
                } ),*];
                $( fields.extend(<$flat_type as $crate::config::setting::Table>::fields()); )?
                fields
            }

            fn read_fields(cursor: &mut $crate::config::setting::Cursor<'_, '_>) -> $name {
                $name {
                    $( $field: cursor.next(), )*
                    $( $flat: <$flat_type as $crate::config::setting::Table>::read_fields(cursor), )?
                }
            }

            fn write_fields(&self, out: &mut Vec<(String, $crate::config::node::Node)>) {
                let mut fields = Self::fields().into_iter();
                $( if let Some(field) = fields.next() {
                    $crate::config::setting::write_field(&field, &self.$field, out);
                } )*
                $( self.$flat.write_fields(out); )?
            }
        }

        impl $crate::config::setting::Setting for $name {
            $( const OFF: bool = !$off; )?

            fn shape(_rule: $crate::config::rule::Rule) -> $crate::config::setting::Shape {
                $crate::config::setting::table_shape::<$name>()
            }

            fn blank() -> $name {
                $name {
                    $( $field: <$type as $crate::config::setting::Setting>::blank(), )*
                    $( $flat: <$flat_type as $crate::config::setting::Setting>::blank(), )?
                }
            }

            fn read<'a>(
                slot: $crate::config::setting::Slot<'a>,
                _rule: $crate::config::rule::Rule,
                reader: &mut $crate::config::setting::Reader<'a>,
            ) -> $name {
                $crate::config::setting::read_table(slot, reader)
            }

            fn absent<'a>(
                slot: &$crate::config::setting::Slot<'a>,
                _rule: $crate::config::rule::Rule,
                reader: &mut $crate::config::setting::Reader<'a>,
            ) -> $name {
                $crate::config::setting::absent_table(slot, reader)
            }

            fn write(&self) -> Option<$crate::config::node::Node> {
                Some($crate::config::setting::write_table(self))
            }
        }
    )* };
    (@rule) => { $crate::config::rule::Rule::Any };
    (@rule $rule:expr) => { $rule };
}
pub(super) use settings;

/// The shape of a table.
pub(super) fn table_shape<T: Table>() -> Shape {
    Shape::Table(TableShape { name: T::NAME, doc: T::DOC, fields: T::fields(), cases: T::cases() })
}

/// Teaches an enum of plain words to stand in the configuration.
macro_rules! words {
    ($( $type:ty { $( $variant:path = $word:literal, $doc:literal; )* } )*) => { $(
        impl $crate::config::setting::Setting for $type {
            fn shape(_rule: $crate::config::rule::Rule) -> $crate::config::setting::Shape {
                $crate::config::setting::Shape::Words(&[$(($word, $doc)),*])
            }

            fn blank() -> $type {
                [$($variant),*][0]
            }

            fn read<'a>(
                slot: $crate::config::setting::Slot<'a>,
                _rule: $crate::config::rule::Rule,
                reader: &mut $crate::config::setting::Reader<'a>,
            ) -> $type {
                match slot.node().text() {
                    $( Some($word) => return $variant, )*
                    _ => $crate::config::setting::not_a_word(&slot, &[$($word),*], reader),
                }
                Self::blank()
            }

            fn write(&self) -> Option<$crate::config::node::Node> {
                Some($crate::config::node::Node::from(match self { $( $variant => $word, )* }))
            }
        }
    )* };
}
pub(super) use words;

/// Says which words there are.
pub(super) fn not_a_word(slot: &Slot<'_>, words: &[&str], reader: &mut Reader<'_>) {
    let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let near = slot.node().text().and_then(|text| super::unknown::nearest(text, words.iter().copied()));
    match near {
        Some(word) => reader.wrong(slot, format!("this must be one of {list}"), format!("did you mean \"{word}\"?")),
        None => reader.wrong(slot, format!("this must be one of {list}"), "write one of them"),
    }
}
