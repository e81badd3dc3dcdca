//! Log messages: where they go and how they look. The last error is also told on stderr.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::cli::{Global, LogFormat};

/// Writes events line by line. Without a file, to stderr.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    format: LogFormat,
    level: Level,
}

impl Log {
    /// Opens the log that the command line asks for.
    ///
    /// Clients take the last line of a JSON log as the error, or all of it as one object, and stderr for the
    /// container's: so warnings go to text logs and terminals only.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(global: &Global) -> io::Result<Log> {
        let open = |path| File::options().append(true).create(true).mode(0o644).open(path);
        let file = global.log.as_ref().map(open).transpose()?;
        let level = match (global.debug, &file) {
            (true, _) => Level::DEBUG,
            (false, Some(_)) if global.log_format == LogFormat::Text => Level::WARN,
            (false, None) if io::stderr().is_terminal() => Level::WARN,
            _ => Level::ERROR,
        };
        Ok(Log { file, format: global.log_format, level })
    }

    /// Writes the error that ends the command.
    pub(crate) fn last_error(&self, message: &str) {
        if self.file.is_some() {
            self.write(Level::ERROR, message);
        }
        // Findings name the file that they are about, on each line, as those of a compiler do.
        let program = if message.starts_with("config.json: ") { "" } else { "ketch: " };
        // Nobody is left to tell if stderr is closed.
        let _closed = writeln!(io::stderr(), "{program}{message}");
    }

    fn write(&self, level: Level, message: &str) {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let level = level.as_str().to_ascii_lowercase();
        let level = if level == "warn" { "warning" } else { &level };
        let line = match self.format {
            LogFormat::Json => {
                let value = serde_json::json!({"level": level, "msg": message, "time": time});
                format!("{value}\n")
            }
            LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
        };
        // One write for a line: several runtimes append to one file.
        let _full = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.write(*event.metadata().level(), text.0.trim());
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
