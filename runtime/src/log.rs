//! Log messages: where they go and how they look. The last error is also told on stderr.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::SystemTime;

use libcontainer::error::Error;
use nix::errno::Errno;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::cli::{Destination, Global, LogFormat, LogLevel};

/// Writes events line by line. Without a destination, to stderr.
#[derive(Debug)]
pub(crate) struct Log {
    sink: Sink,
    format: LogFormat,
    level: Level,
}

/// What takes a message.
#[derive(Debug)]
enum Sink {
    Stderr,
    File(File),
    /// systemd's journal, or nobody if it does not run.
    Journal(Option<UnixDatagram>, String),
    /// The system log, or nobody.
    Syslog(Option<UnixDatagram>, String),
}

/// See sd_journal_send(3) and the journal's native protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// See syslog(3).
const SYSLOG: &str = "/dev/log";
/// Messages of programs, see syslog(3): LOG_USER.
const FACILITY: u8 = 1 << 3;

impl Log {
    /// Opens the log that the command line asks for.
    ///
    /// Clients take the last line of a JSON log as the error, or all of it as one object, and stderr for the
    /// container's: so warnings go to text logs and terminals only, unless a level is named.
    ///
    /// # Errors
    /// The file cannot be opened. That nobody listens to the journal or the system log is no error.
    pub(crate) fn open(global: &Global) -> io::Result<Log> {
        let sink = match &global.log {
            None => Sink::Stderr,
            Some(Destination::File(path)) => {
                Sink::File(File::options().append(true).create(true).mode(0o644).open(path)?)
            }
            Some(Destination::Journal(name)) => Sink::Journal(connect(JOURNAL), name.clone()),
            Some(Destination::Syslog(name)) => Sink::Syslog(connect(SYSLOG), name.clone()),
        };
        let level = match (global.log_level, global.debug, &sink) {
            (Some(level), _, _) => least(level),
            (None, true, _) => Level::DEBUG,
            (None, false, Sink::File(_)) if global.log_format == LogFormat::Text => Level::WARN,
            (None, false, Sink::Journal(..) | Sink::Syslog(..)) => Level::WARN,
            (None, false, Sink::Stderr) if io::stderr().is_terminal() => Level::WARN,
            _ => Level::ERROR,
        };
        Ok(Log { sink, format: global.log_format, level })
    }

    /// Writes the error that ends the command.
    pub(crate) fn last_error(&self, error: &Error) {
        let message = error.to_string();
        if !matches!(self.sink, Sink::Stderr) {
            self.write(Level::ERROR, &message, fields(error));
        }
        // Findings name the file that they are about, on each line, as those of a compiler do.
        let program = if message.starts_with("config.json: ") { "" } else { "ketch: " };
        // Nobody is left to tell if stderr is closed.
        let _closed = writeln!(io::stderr(), "{program}{message}");
    }

    /// Writes a message in one piece: several runtimes append to one file. A log that is full stops nobody's work.
    fn write(&self, level: Level, message: &str, fields: Map<String, Value>) {
        let _full = match &self.sink {
            Sink::Stderr => io::stderr().write_all(self.line(level, message, fields).as_bytes()),
            Sink::File(file) => (&*file).write_all(self.line(level, message, fields).as_bytes()),
            Sink::Journal(journal, name) => send(journal.as_ref(), &entry(level, message, name, &fields)),
            Sink::Syslog(syslog, name) => {
                let program = std::process::id();
                let line = format!("<{}>{name}[{program}]: {message}", FACILITY | priority(level));
                send(syslog.as_ref(), line.as_bytes())
            }
        };
    }

    fn line(&self, level: Level, message: &str, fields: Map<String, Value>) -> String {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let level = level.as_str().to_ascii_lowercase();
        let level = if level == "warn" { "warning" } else { &level };
        match self.format {
            LogFormat::Json => {
                let mut line = fields;
                line.insert("level".to_owned(), level.into());
                line.insert("msg".to_owned(), message.into());
                line.insert("time".to_owned(), time.into());
                format!("{}\n", Value::Object(line))
            }
            LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
        }
    }
}

fn least(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warning => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}

/// What programs read of an error, beside its words. These names and their values stay as they are.
fn fields(error: &Error) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    put("code", error.kind().name().into());
    put("step", json!(error.step()));
    put("call", error.call().into());
    put("errno", error.errno().map(|errno| format!("{:?}", Errno::from_raw(errno))).into());
    put("hint", error.hint().into());
    if !error.findings().is_empty() {
        put("findings", json!(error.findings()));
    }
    fields
}

/// How important a message is, in the system log's numbers: see syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn connect(path: &str) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

/// Sends a message to who listens, if anybody does.
fn send(listener: Option<&UnixDatagram>, message: &[u8]) -> io::Result<()> {
    listener.map_or(Ok(0), |socket| socket.send(message)).map(|_all| ())
}

/// A message as the journal takes it: a line for each field, or name, length and text of one that has several.
fn entry(level: Level, message: &str, name: &str, fields: &Map<String, Value>) -> Vec<u8> {
    let mut entry = Vec::new();
    let mut put = |name: &str, text: &str| {
        entry.extend_from_slice(name.as_bytes());
        if text.contains('\n') {
            entry.push(b'\n');
            entry.extend_from_slice(&(text.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(text.as_bytes());
        entry.push(b'\n');
    };
    put("MESSAGE", message);
    put("PRIORITY", &priority(level).to_string());
    put("SYSLOG_IDENTIFIER", name);
    for (name, value) in fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        put(&format!("KETCH_{}", name.to_ascii_uppercase()), &text);
    }
    entry
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.write(*event.metadata().level(), text.0.trim(), Map::new());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event's message, and its fields behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _never = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k02_an_entry_of_the_journal_has_the_length_of_a_text_with_lines() {
        let mut fields = Map::new();
        fields.insert("code".to_owned(), "system".into());
        let plain = entry(Level::ERROR, "gone", "box", &fields);
        assert_eq!(plain, b"MESSAGE=gone\nPRIORITY=3\nSYSLOG_IDENTIFIER=box\nKETCH_CODE=system\n");
        let lines = entry(Level::WARN, "a\nb", "box", &Map::new());
        assert_eq!(lines, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=4\nSYSLOG_IDENTIFIER=box\n");
    }
}
