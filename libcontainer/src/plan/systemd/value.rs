//! Values as D-Bus types them, and as text: GVariant's text format, which `busctl`, runc and crun share. Pure.

use std::fmt;

use serde::{Serialize, Serializer};

/// A value of a unit's property.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is D-Bus's type of that name")]
pub enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    Text(String),
    /// Elements of one type, whose signature comes first.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
}

// Config files have no NaN: the parser takes finite numbers only.
impl Eq for Value {}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// A list of texts.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
        Value::Array("s".into(), texts.into_iter().map(Value::text).collect())
    }

    /// Its type, in D-Bus's words.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            scalar => scalar.letter().to_string(),
        }
    }

    fn letter(&self) -> char {
        match self {
            Value::Bool(_) => 'b',
            Value::Byte(_) => 'y',
            Value::Int16(_) => 'n',
            Value::Uint16(_) => 'q',
            Value::Int32(_) => 'i',
            Value::Uint32(_) => 'u',
            Value::Int64(_) => 'x',
            Value::Uint64(_) => 't',
            Value::Double(_) => 'd',
            Value::Text(_) => 's',
            Value::Array(..) => 'a',
            Value::Struct(_) => '(',
        }
    }

    /// Seconds as microseconds, which systemd's properties count.
    #[must_use]
    pub fn seconds_to_microseconds(&self) -> Option<Value> {
        let whole = match *self {
            Value::Byte(n) => u64::from(n),
            Value::Uint16(n) => n.into(),
            Value::Uint32(n) => n.into(),
            Value::Uint64(n) => n,
            Value::Int16(n) => n.try_into().ok()?,
            Value::Int32(n) => n.try_into().ok()?,
            Value::Int64(n) => n.try_into().ok()?,
            // Printed and read again: the standard library has no checked conversion.
            Value::Double(n) => return format!("{:.0}", n * 1e6).parse().ok().map(Value::Uint64),
            _ => return None,
        };
        whole.checked_mul(1_000_000).map(Value::Uint64)
    }

    /// Reads GVariant's text format. A literal that says no type takes the one of `signature`, if it can.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &str, signature: Option<&str>) -> Result<Value, String> {
        let mut reader = Reader { rest: text };
        let value = reader.value(signature)?;
        reader.skip_space();
        match (reader.rest, signature) {
            ("", Some(wanted)) if value.signature() != wanted => {
                Err(format!("is of the type {:?}, and systemd wants {wanted:?}", value.signature()))
            }
            ("", _) => Ok(value),
            (rest, _) => Err(format!("has {rest:?} after its value")),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, values: &[Value]| {
            for (i, value) in values.iter().enumerate() {
                write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
            }
            Ok(())
        };
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Byte(n) => write!(f, "byte {n}"),
            Value::Int16(n) => write!(f, "int16 {n}"),
            Value::Uint16(n) => write!(f, "uint16 {n}"),
            Value::Int32(n) => write!(f, "{n}"),
            Value::Uint32(n) => write!(f, "uint32 {n}"),
            Value::Int64(n) => write!(f, "int64 {n}"),
            Value::Uint64(n) => write!(f, "uint64 {n}"),
            Value::Double(n) => write!(f, "{n:?}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Array(element, values) if values.is_empty() => write!(f, "@a{element} []"),
            Value::Array(_, values) => {
                f.write_str("[")?;
                list(f, values)?;
                f.write_str("]")
            }
            Value::Struct(fields) => {
                f.write_str("(")?;
                list(f, fields)?;
                f.write_str(if fields.len() == 1 { ",)" } else { ")" })
            }
        }
    }
}

/// Words before a literal that say its type, and the signature.
const TYPES: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
];

/// How deep arrays and structs go into each other: systemd's go two levels.
const DEPTH_MAX: usize = 8;

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `sign` if it is next.
    fn take(&mut self, sign: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self, signature: Option<&str>) -> Result<Value, String> {
        self.nested(signature, 0)
    }

    fn nested(&mut self, signature: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err("has lists inside each other too deep".into());
        }
        if self.take('@') {
            let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
            let (said, rest) = self.rest.split_at(end);
            self.rest = rest;
            return self.nested(Some(said), depth + 1);
        }
        if self.take('[') {
            let element = signature.and_then(|s| s.strip_prefix('a')).map(str::to_owned);
            return self.array(element, depth);
        }
        if self.take('(') {
            return self.fields(signature, depth);
        }
        match self.rest.chars().next() {
            None => Err("has no value where one is expected".into()),
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Value::Text),
            Some('<' | '{' | 'b') if !self.rest.starts_with("boolean") && !self.rest.starts_with("byte") => {
                Err("is a variant, a dictionary or a string of bytes, which no property of a scope is".into())
            }
            Some(_) => match self.word() {
                "" => Err(format!("has {:?} where a value is expected; texts are quoted", self.rest)),
                word => match TYPES.iter().find(|(name, _)| *name == word) {
                    Some((_, said)) => self.nested(Some(said), depth + 1),
                    None => literal(word, signature),
                },
            },
        }
    }

    fn array(&mut self, mut element: Option<String>, depth: usize) -> Result<Value, String> {
        let mut values = Vec::new();
        while !self.take(']') {
            if !values.is_empty() && !self.take(',') {
                return Err("has no comma or ] behind an element of a list".into());
            }
            let value = self.nested(element.as_deref(), depth + 1)?;
            // The first one says what all are.
            let wanted = element.get_or_insert_with(|| value.signature());
            if value.signature() != *wanted {
                return Err(format!("has a {:?} in a list of {wanted:?}", value.signature()));
            }
            values.push(value);
        }
        let element =
            element.ok_or("is an empty list that does not say of what; write, for example, @as []")?;
        Ok(Value::Array(element, values))
    }

    fn fields(&mut self, signature: Option<&str>, depth: usize) -> Result<Value, String> {
        let inner = signature.and_then(|s| s.strip_prefix('(')?.strip_suffix(')')).unwrap_or_default();
        let mut types = split_types(inner).into_iter();
        let mut values = Vec::new();
        while !self.take(')') {
            if !values.is_empty() && !self.take(',') {
                return Err("has no comma or ) behind a field".into());
            }
            // A comma may stand behind a lone field.
            if values.len() == 1 && self.take(')') {
                break;
            }
            values.push(self.nested(types.next(), depth + 1)?);
        }
        Ok(Value::Struct(values))
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        while let Some((i, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = self.rest.get(i + 1..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('\\' | '\'' | '"'))) => text.push(c),
                    Some((_, other)) => return Err(format!("has the escape \\{other}, which is not known")),
                    None => break,
                },
                '\0' => return Err("has a NUL byte, which D-Bus does not take".into()),
                c => text.push(c),
            }
        }
        Err(format!("has a text without a {quote} at its end"))
    }
}

/// The complete types that a signature lists.
fn split_types(signature: &str) -> Vec<&str> {
    let mut types = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    for (i, c) in signature.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && c != 'a' {
            types.extend(signature.get(start..=i));
            start = i + 1;
        }
    }
    types
}

/// A word without quotes: a number, or true or false.
fn literal(word: &str, signature: Option<&str>) -> Result<Value, String> {
    fn number<T: std::str::FromStr>(word: &str, make: fn(T) -> Value) -> Option<Value> {
        word.parse().ok().map(make)
    }
    let usual = if word.contains(['.', 'e', 'E']) { "d" } else { "i" };
    let value = match (word, signature.unwrap_or(usual)) {
        ("true" | "false", _) => Some(Value::Bool(word == "true")),
        (_, "y") => number(word, Value::Byte),
        (_, "n") => number(word, Value::Int16),
        (_, "q") => number(word, Value::Uint16),
        (_, "u") => number(word, Value::Uint32),
        (_, "x") => number(word, Value::Int64),
        (_, "t") => number(word, Value::Uint64),
        (_, "d") => word.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Double),
        (_, "i") => number(word, Value::Int32),
        // Of another type than is wanted: whoever wants it says so.
        _ if usual == "d" => word.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Double),
        _ => number(word, Value::Int32),
    };
    value.ok_or_else(|| match signature {
        Some(wanted) => format!("has {word:?}, which is no value of the type {wanted:?}"),
        None => {
            format!("has {word:?}, which is neither a number that fits, nor true or false; texts are quoted")
        }
    })
}
