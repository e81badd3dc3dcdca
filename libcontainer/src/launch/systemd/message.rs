//! Messages of D-Bus as bytes. See the D-Bus specification, Message Protocol. Pure.

use crate::plan::systemd::{Property, Value};

/// The longest message that is read: the specification's limit is 128 MiB, systemd's answers have some KiB.
const LENGTH_MAX: usize = 16 << 20;
/// What every message begins with, without the fields.
const HEADER: usize = 16;
/// Numbers are written as this machine keeps them.
const ENDIAN: u8 = if cfg!(target_endian = "big") { b'B' } else { b'l' };
const VERSION: u8 = 1;

/// Kinds of messages.
mod kind {
    pub(super) const CALL: u8 = 1;
    pub(super) const RETURN: u8 = 2;
    pub(super) const ERROR: u8 = 3;
    pub(super) const SIGNAL: u8 = 4;
}

/// Fields of a header.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    signature: String,
    bytes: Vec<u8>,
}

impl Arguments {
    pub(super) fn text(mut self, text: &str) -> Arguments {
        self.signature.push('s');
        put_text(&mut self.bytes, text);
        self
    }

    pub(super) fn flag(mut self, flag: bool) -> Arguments {
        self.signature.push('b');
        pad(&mut self.bytes, 4);
        put_u32(&mut self.bytes, u32::from(flag));
        self
    }

    /// A list of numbers.
    pub(super) fn numbers(mut self, numbers: &[u32]) -> Arguments {
        self.signature.push_str("au");
        put_array(&mut self.bytes, 4, |bytes| numbers.iter().for_each(|number| put_u32(bytes, *number)));
        self
    }

    /// Properties by name.
    pub(super) fn properties(mut self, properties: &[Property]) -> Arguments {
        self.signature.push_str("a(sv)");
        put_array(&mut self.bytes, 8, |bytes| {
            for property in properties {
                pad(bytes, 8);
                put_text(bytes, &property.name);
                put_signature(bytes, &property.value.signature());
                put_value(bytes, &property.value);
            }
        });
        self
    }

    /// No other units that come with it: the last argument of StartTransientUnit.
    pub(super) fn alone(mut self) -> Arguments {
        self.signature.push_str("a(sa(sv))");
        put_array(&mut self.bytes, 8, |_| {});
        self
    }
}

/// A call of a method, ready to be sent.
pub(super) fn call(serial: u32, object: Object, method: &str, arguments: &Arguments) -> Vec<u8> {
    let mut bytes = vec![ENDIAN, kind::CALL, 0, VERSION];
    put_u32(&mut bytes, length(&arguments.bytes));
    put_u32(&mut bytes, serial);
    let texts = [
        (field::PATH, "o", object.path),
        (field::INTERFACE, "s", object.interface),
        (field::MEMBER, "s", method),
        (field::DESTINATION, "s", object.destination),
    ];
    put_array(&mut bytes, 8, |bytes| {
        for (code, signature, text) in texts {
            pad(bytes, 8);
            bytes.push(code);
            put_signature(bytes, signature);
            put_text(bytes, text);
        }
        if !arguments.signature.is_empty() {
            pad(bytes, 8);
            bytes.push(field::SIGNATURE);
            put_signature(bytes, "g");
            put_signature(bytes, &arguments.signature);
        }
    });
    pad(&mut bytes, 8);
    bytes.extend_from_slice(&arguments.bytes);
    bytes
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_u32(bytes: &mut Vec<u8>, number: u32) {
    pad(bytes, 4);
    bytes.extend_from_slice(&number.to_ne_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_u32(bytes, length(text.as_bytes()));
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

fn put_signature(bytes: &mut Vec<u8>, signature: &str) {
    // No signature of ours is longer than a property's, which has a few letters.
    bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(signature.as_bytes());
    bytes.push(0);
}

/// An array; its length does not count the padding before its first element.
fn put_array(bytes: &mut Vec<u8>, alignment: usize, elements: impl FnOnce(&mut Vec<u8>)) {
    put_u32(bytes, 0);
    let at = bytes.len() - 4;
    pad(bytes, alignment);
    let start = bytes.len();
    elements(bytes);
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX).to_ne_bytes();
    bytes[at..at + 4].copy_from_slice(&length);
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    let number = |bytes: &mut Vec<u8>, number: &[u8]| {
        pad(bytes, number.len());
        bytes.extend_from_slice(number);
    };
    match value {
        Value::Bool(value) => put_u32(bytes, u32::from(*value)),
        Value::Byte(n) => bytes.push(*n),
        Value::Int16(n) => number(bytes, &n.to_ne_bytes()),
        Value::Uint16(n) => number(bytes, &n.to_ne_bytes()),
        Value::Int32(n) => number(bytes, &n.to_ne_bytes()),
        Value::Uint32(n) => number(bytes, &n.to_ne_bytes()),
        Value::Int64(n) => number(bytes, &n.to_ne_bytes()),
        Value::Uint64(n) => number(bytes, &n.to_ne_bytes()),
        Value::Double(n) => number(bytes, &n.to_ne_bytes()),
        Value::Text(text) => put_text(bytes, text),
        Value::Struct(fields) => {
            pad(bytes, 8);
            fields.iter().for_each(|field| put_value(bytes, field));
        }
        Value::Array(element, values) => put_array(bytes, alignment(element), |bytes| {
            values.iter().for_each(|value| put_value(bytes, value));
        }),
    }
}

/// Where a value of this type may begin.
fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(') => 8,
        _ => 4,
    }
}

/// What has come, as far as it is of interest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer to the call of this number; its first text, if it begins with one.
    Answer(u32, String),
    /// The call of this number failed: the error's name, and what it says.
    Refusal(u32, String, String),
    /// A job of systemd's has ended: its path, the unit, and how.
    JobRemoved { job: String, unit: String, result: String },
    /// Anything else.
    Other,
}

/// The bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// The message that `bytes` begin with, and its length; `None` while it is not complete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Heard, usize)>, Garbled> {
    let Some(header) = bytes.get(..HEADER) else { return Ok(None) };
    if header[0] != ENDIAN || header[3] != VERSION {
        return Err(Garbled);
    }
    let number = |at: usize| Reader { bytes: header, at }.u32().and_then(|n| usize::try_from(n).ok());
    let (Some(body), Some(fields)) = (number(4), number(12)) else { return Err(Garbled) };
    if body > LENGTH_MAX || fields > LENGTH_MAX {
        return Err(Garbled);
    }
    let start = (HEADER + fields).next_multiple_of(8);
    let Some(message) = bytes.get(..start + body) else { return Ok(None) };
    let heard = understand(message, HEADER + fields, start).ok_or(Garbled)?;
    Ok(Some((heard, message.len())))
}

fn understand(message: &[u8], fields_end: usize, start: usize) -> Option<Heard> {
    let mut reader = Reader { bytes: message.get(..fields_end)?, at: HEADER };
    let (mut member, mut error, mut signature, mut reply) = ("", "", "", 0);
    while reader.at < fields_end {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (field::MEMBER, "s") => member = reader.text()?,
            (field::ERROR_NAME, "s") => error = reader.text()?,
            (field::REPLY_SERIAL, "u") => reply = reader.u32()?,
            (field::SIGNATURE, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return None,
        }
    }
    let mut body = Reader { bytes: message.get(start..)?, at: 0 };
    let first = |body: &mut Reader<'_>| match signature.bytes().next() {
        Some(b's' | b'o') => body.text().map(str::to_owned),
        _ => Some(String::new()),
    };
    Some(match *message.get(1)? {
        kind::RETURN => Heard::Answer(reply, first(&mut body)?),
        kind::ERROR => Heard::Refusal(reply, error.to_owned(), first(&mut body)?),
        kind::SIGNAL if (member, signature) == ("JobRemoved", "uoss") => {
            body.u32()?;
            let mut text = || body.text().map(str::to_owned);
            Heard::JobRemoved { job: text()?, unit: text()?, result: text()? }
        }
        _ => Heard::Other,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn ended(&mut self, length: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }
}

/// What the other side says, for tests.
#[cfg(test)]
pub(super) mod theirs {
    use super::*;

    fn message(kind: u8, fields: impl FnOnce(&mut Vec<u8>), body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![ENDIAN, kind, 0, VERSION];
        put_u32(&mut bytes, length(body));
        put_u32(&mut bytes, 7);
        put_array(&mut bytes, 8, fields);
        pad(&mut bytes, 8);
        bytes.extend_from_slice(body);
        bytes
    }

    fn field(bytes: &mut Vec<u8>, code: u8, signature: &str, put: impl FnOnce(&mut Vec<u8>)) {
        pad(bytes, 8);
        bytes.push(code);
        put_signature(bytes, signature);
        put(bytes);
    }

    /// An answer that is the path of a job.
    pub(in super::super) fn answer(serial: u32, path: &str) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, path);
        let fields = |bytes: &mut Vec<u8>| {
            field(bytes, field::REPLY_SERIAL, "u", |b| put_u32(b, serial));
            field(bytes, field::SIGNATURE, "g", |b| put_signature(b, "o"));
        };
        message(kind::RETURN, fields, &body)
    }

    /// An error.
    pub(in super::super) fn refusal(serial: u32, name: &str, says: &str) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, says);
        let fields = |bytes: &mut Vec<u8>| {
            field(bytes, field::ERROR_NAME, "s", |b| put_text(b, name));
            field(bytes, field::REPLY_SERIAL, "u", |b| put_u32(b, serial));
            field(bytes, field::SIGNATURE, "g", |b| put_signature(b, "s"));
        };
        message(kind::ERROR, fields, &body)
    }

    /// The end of a job.
    pub(in super::super) fn removed(job: &str, unit: &str, result: &str) -> Vec<u8> {
        let mut body = Vec::new();
        put_u32(&mut body, 9);
        [job, unit, result].iter().for_each(|text| put_text(&mut body, text));
        let fields = |bytes: &mut Vec<u8>| {
            field(bytes, field::MEMBER, "s", |b| put_text(b, "JobRemoved"));
            field(bytes, field::SIGNATURE, "g", |b| put_signature(b, "uoss"));
        };
        message(kind::SIGNAL, fields, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: Object = Object { destination: "d.d", path: "/p", interface: "i.i" };

    #[test]
    fn b25_a_call_is_laid_out_as_the_specification_says() {
        let bytes = call(1, OBJECT, "M", &Arguments::default().text("ab"));
        let expected: &[u8] = &[
            b"l\x01\x00\x01\x07\x00\x00\x00\x01\x00\x00\x00\x3f\x00\x00\x00".as_slice(),
            b"\x01\x01o\x00\x02\x00\x00\x00/p\x00\x00\x00\x00\x00\x00",
            b"\x02\x01s\x00\x03\x00\x00\x00i.i\x00\x00\x00\x00\x00",
            b"\x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00",
            b"\x06\x01s\x00\x03\x00\x00\x00d.d\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x01s\x00\x00",
            b"\x02\x00\x00\x00ab\x00",
        ]
        .concat();
        if cfg!(target_endian = "little") {
            let fields = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
            assert_eq!(fields, 71, "five fields, without the padding behind them");
            assert_eq!(bytes[..12], expected[..12]);
            assert_eq!(bytes[16..], expected[16..]);
        }
    }

    #[test]
    fn b22_values_of_every_type_lie_where_their_alignment_says() {
        let value =
            Value::Array("(st)".into(), vec![Value::Struct(vec![Value::text("a"), Value::Uint64(1)])]);
        let mut bytes = vec![0];
        put_value(&mut bytes, &value);
        // Length 16 at 4, the struct at 8, the text in 6 bytes, the number at 16.
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[4..8], 16_u32.to_ne_bytes());
        assert_eq!(bytes[16..24], 1_u64.to_ne_bytes());
        let mut empty = Vec::new();
        put_value(&mut empty, &Value::Array("t".into(), Vec::new()));
        // Padding comes before the elements even when there are none.
        assert_eq!(empty, [0; 8]);
    }

    #[test]
    fn b25_answers_refusals_and_jobs_are_understood_and_the_rest_is_skipped() {
        let removed = theirs::removed("/job/9", "box.scope", "done");
        let says =
            Heard::JobRemoved { job: "/job/9".into(), unit: "box.scope".into(), result: "done".into() };
        assert_eq!(read(&removed), Ok(Some((says, removed.len()))));
        let refused = theirs::refusal(3, "x.NoSuchUnit", "no such unit");
        let says = Heard::Refusal(3, "x.NoSuchUnit".into(), "no such unit".into());
        assert_eq!(read(&refused), Ok(Some((says, refused.len()))));
        let answered = theirs::answer(4, "/job/9");
        assert_eq!(read(&answered), Ok(Some((Heard::Answer(4, "/job/9".into()), answered.len()))));
        let call = call(5, OBJECT, "M", &Arguments::default());
        assert_eq!(read(&call), Ok(Some((Heard::Other, call.len()))));
    }

    #[test]
    fn b25_a_message_that_is_cut_short_is_waited_for_and_a_malformed_one_is_refused() {
        let call = call(5, OBJECT, "M", &Arguments::default().text("x"));
        for end in 0..call.len() {
            assert_eq!(read(&call[..end]), Ok(None), "{end}");
        }
        for (at, byte) in [(0, b'?'), (3, 9), (7, 0xff), (15, 0xff), (17, 0xff)] {
            let mut wrong = call.clone();
            wrong[at] = byte;
            assert_eq!(read(&wrong), Err(Garbled), "{at}");
        }
    }
}
