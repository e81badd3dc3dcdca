//! Lists of containers and of processes.

use std::collections::HashSet;
use std::process::{Command, Stdio};

use libcontainer::container::{self, Container, State};
use libcontainer::state::Store;

use crate::cli::{Form, List, Ps};
use crate::outcome::{Failure, print, print_json};

/// `list`
pub(crate) fn containers(store: &Store, args: &List) -> Result<i32, Failure> {
    if args.quiet {
        let ids = store.ids().map_err(libcontainer::error::Error::from)?;
        return print(&ids.into_iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let states = container::list(store)?;
    if args.format == Form::Json {
        return print_json(&states);
    }
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = std::iter::once(head).chain(states.iter().map(row));
    print(&table(&rows.collect::<Vec<_>>()))
}

fn row(state: &State) -> [String; 6] {
    [
        state.id.clone(),
        state.pid.to_string(),
        state.status.word().to_owned(),
        state.bundle.display().to_string(),
        state.created.clone(),
        state.owner.clone(),
    ]
}

/// Columns wide enough for what is in them.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `ps`
pub(crate) fn processes(store: &Store, args: &Ps) -> Result<i32, Failure> {
    let pids = Container::open(store, &args.id)?.processes()?;
    if args.format == Form::Json {
        let text = serde_json::to_string(&pids).map_err(|error| Failure::new(error.to_string()))?;
        return print(&format!("{text}\n"));
    }
    // One argument may hold several options: containerd's library sends them so.
    let mut options: Vec<&str> = args.options.iter().flat_map(|option| option.split_whitespace()).collect();
    if options.is_empty() {
        options.push("-ef");
    }
    let output = Command::new("ps").args(&options).stdin(Stdio::null()).output();
    let output = output
        .map_err(|error| Failure::new(format!("run ps(1): {error}; --format json works without it")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("ps: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let listed =
        filter(&text, &pids).ok_or_else(|| Failure::new("ps prints no PID column with these options"))?;
    print(&listed)
}

/// The head of what ps(1) prints, and the lines of these processes.
fn filter(text: &str, pids: &[i32]) -> Option<String> {
    let pids: HashSet<String> = pids.iter().map(i32::to_string).collect();
    let mut lines = text.lines();
    let head = lines.next()?;
    let column = head.split_whitespace().position(|title| title == "PID")?;
    let ours = lines.filter(|line| line.split_whitespace().nth(column).is_some_and(|pid| pids.contains(pid)));
    Some(std::iter::once(head).chain(ours).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k60_the_pid_column_decides_wherever_it_is() {
        let text = "UID  PID CMD\nroot 10 a 11\nroot 11 b\n";
        assert_eq!(filter(text, &[11]).as_deref(), Some("UID  PID CMD\nroot 11 b\n"));
        assert_eq!(filter("CMD\nx\n", &[11]), None);
    }
}
