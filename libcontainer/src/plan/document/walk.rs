//! Goes through the text of a document once, beside the table of what it has to be. Pure.
//!
//! Nothing is built on the way, so a good document pays for it by little more than reading it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::schema::{Field, Need, Shape};
use crate::plan::capability;
use crate::plan::invalid::{Finding, pointer_token};

/// Mistakes after which no more are noted.
const ENOUGH: usize = 1000;

/// The longest part of a string that is shown, in bytes.
const SHOWN: usize = 60;

/// What was seen of a document.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What is wrong, in the document's order.
    pub(super) errors: Vec<Finding>,
    /// What the specification wants a warning for.
    pub(super) warnings: Vec<Finding>,
    /// If asked for: where each value begins and ends, counted in values.
    pub(super) places: Option<HashMap<String, (usize, usize)>>,
    /// Where the reader gave up.
    pub(super) stopped: Option<String>,
}

/// Reads `text`. What is no JSON is an error, after what has been seen before it.
pub(super) fn walk(text: &[u8], shape: &Shape, seen: &mut Seen) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let node = Node { shape, clause: "", nullable: false, place: &Place::Document, seen };
    node.deserialize(&mut reader)?;
    reader.end()
}

/// Where a value is, as a list from the inside out: a pointer is made of it only when there is something to say.
enum Place<'a> {
    Document,
    Element(&'a Place<'a>, usize),
    Member(&'a Place<'a>, &'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Document => Ok(()),
            Place::Element(list, i) => write!(f, "{list}/{i}"),
            Place::Member(object, name) => write!(f, "{object}/{}", pointer_token(name)),
        }
    }
}

/// A value that is about to be read.
struct Node<'a> {
    shape: &'a Shape,
    /// The clause about what it is in.
    clause: &'static str,
    /// It may be null, which is as good as missing.
    nullable: bool,
    place: &'a Place<'a>,
    seen: &'a mut Seen,
}

impl Node<'_> {
    fn clause(&self) -> &'static str {
        self.shape.named().0.unwrap_or(self.clause)
    }

    /// Notes that it is `what`, unless that is right.
    fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right && !matches!(self.shape.named().1, Shape::Any) {
            let says = format!("is {}; must be {}", what(), self.shape.wanted());
            self.seen.error(self.place, says, self.clause());
        }
    }

    fn number(mut self, number: Number) {
        let number = Value::Number(number);
        self.expect(self.shape.accepts(&number), || number.to_string());
    }

    fn text(mut self, text: &str) {
        if matches!(self.shape, Shape::Capability) && !capability::is_known(text) {
            let says = format!("{} is no known capability; it is left out", shown(text));
            self.seen.warnings.push(Finding { at: self.place.to_string(), says, spec: self.clause() });
        }
        self.expect(self.shape.accepts_text(text), || format!("the string {}", shown(text)));
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Node { shape, clause, nullable, place, seen } = self;
        let begin = seen.enter(place);
        let result = deserializer.deserialize_any(Node { shape, clause, nullable, place, seen: &mut *seen });
        match (&result, begin) {
            (Err(_), _) => seen.stop(place),
            (Ok(()), Some(begin)) => seen.leave(place, begin),
            (Ok(()), None) => {}
        }
        result
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        let nullable = self.nullable;
        self.expect(nullable, || "null".to_owned());
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, flag: bool) -> Result<(), E> {
        let right = matches!(self.shape.named().1, Shape::Flag);
        self.expect(right, || flag.to_string());
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.number(number.into());
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.number(number.into());
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        // JSON has no number that is none.
        self.number(Number::from_f64(number).unwrap_or_else(|| 0.into()));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let element = match self.shape.named().1 {
            Shape::List(element) => element,
            _ => {
                self.expect(false, || "a list".to_owned());
                &Shape::Any
            }
        };
        let clause = self.clause();
        for i in 0.. {
            let place = &Place::Element(self.place, i);
            let node = Node { shape: element, clause, nullable: false, place, seen: &mut *self.seen };
            if list.next_element_seed(node)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let (fields, each): (&[Field], &Shape) = match self.shape.named().1 {
            Shape::Record(fields) => (fields, &Shape::Any),
            Shape::Map(each) => (&[], each),
            _ => {
                self.expect(false, || "an object".to_owned());
                (&[], &Shape::Any)
            }
        };
        let clause = self.clause();
        let (mut there, mut others) = (0_u64, BTreeSet::new());
        while let Some(name) = object.next_key_seed(Name(fields))? {
            let (name, shape, nullable, again) = match &name {
                Ok(i) => {
                    let bit = 1 << i;
                    let again = there & bit != 0;
                    there |= bit;
                    let Some((name, shape, need)) = fields.get(*i) else { continue };
                    (*name, shape, matches!(need, Need::May), again)
                }
                Err(name) => (name.as_str(), each, false, !others.insert(name.clone())),
            };
            let place = &Place::Member(self.place, name);
            if again {
                let says = "is given more than once; keep one of them";
                let clause = shape.named().0.unwrap_or(clause);
                self.seen.error(place, says.to_owned(), clause);
            }
            object.next_value_seed(Node { shape, clause, nullable, place, seen: &mut *self.seen })?;
        }
        for (i, (name, shape, need)) in fields.iter().enumerate() {
            if there & 1 << i == 0 && !matches!(need, Need::May) {
                let says = format!("is missing; must be {}", shape.wanted());
                let clause = shape.named().0.unwrap_or(clause);
                self.seen.error(&Place::Member(self.place, name), says, clause);
            }
        }
        Ok(())
    }
}

impl Seen {
    fn error(&mut self, place: &Place<'_>, says: String, spec: &'static str) {
        if self.errors.len() < ENOUGH {
            self.errors.push(Finding { at: place.to_string(), says, spec });
        }
    }

    fn enter(&mut self, place: &Place<'_>) -> Option<usize> {
        let places = self.places.as_mut()?;
        let begin = places.len();
        places.insert(place.to_string(), (begin, begin));
        Some(begin)
    }

    fn leave(&mut self, place: &Place<'_>, begin: usize) {
        if let Some(places) = &mut self.places {
            let end = places.len();
            places.insert(place.to_string(), (begin, end));
        }
    }

    /// The innermost value that the reader could not read is the first to say so.
    fn stop(&mut self, place: &Place<'_>) {
        self.stopped.get_or_insert_with(|| place.to_string());
    }
}

/// The name of a member: the number of a property of the table, or another name.
struct Name<'a>(&'a [Field]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|field| field.0 == name).ok_or_else(|| name.to_owned()))
    }
}

/// A string as it is shown in a finding: in quotation marks, and not at any length.
fn shown(text: &str) -> String {
    let mut end = text.len().min(SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { "..." } else { "" };
    format!("{:?}{more}", &text[..end])
}
