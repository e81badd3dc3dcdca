//! The manual page and the shells' completions have the flags of the types in cli.rs. `UPDATE=1` writes them anew.

use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// The command line without what is for tests, which is hidden and not in a release.
fn command() -> Command {
    let mut command = Cli::command();
    command.build();
    shown(&command)
}

fn shown(command: &Command) -> Command {
    // clap wants names that last.
    let name: &'static str = command.get_name().to_owned().leak();
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").cloned();
    let commands = command.get_subcommands().filter(|command| command.get_name() != "help").map(shown);
    let about = |text: Option<&StyledStr>| text.cloned().unwrap_or_default();
    let copy = Command::new(name).args(args).subcommands(commands);
    copy.about(about(command.get_about())).long_about(about(command.get_long_about()))
}

/// Compares a file of docs/ with what it should be, or writes it.
fn compare(name: &str, wanted: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, wanted).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == wanted, "docs/{name} is out of date; UPDATE=1 cargo test -p ketch pages:: writes it");
}

/// `page` with everything between the comments `begin NAME` and `end NAME` replaced.
fn with_section(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!(".\\\" begin {name}\n"), format!(".\\\" end {name}\n"));
    let (head, rest) = page.split_once(&begin).expect("the page has the section");
    let (_, tail) = rest.split_once(&end).expect("the section ends");
    format!("{head}{begin}{text}{end}{tail}")
}

/// What clap_mangen says of a command, without the heading of the section.
fn section(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    render(&mut text).expect("a vector can be written to");
    let text = String::from_utf8(text).expect("help is UTF-8");
    let body = text
        .lines()
        .skip_while(|line| line.starts_with(".ie ") || line.starts_with(".el ") || line.starts_with(".SH"));
    body.fold(String::new(), |body, line| body + line.trim_end() + "\n")
}

fn options(command: &Command) -> String {
    let man = Man::new(command.clone());
    section(|text| man.render_options_section(text))
}

fn commands(root: &Command) -> String {
    let one = |command: &Command| {
        let name = format!("ketch {}", command.get_name());
        let man = Man::new(command.clone().bin_name(name));
        let description = section(|text| man.render_description_section(text));
        let synopsis = section(|text| man.render_synopsis_section(text));
        format!(".SS {}\n{description}.PP\n{synopsis}{}", command.get_name(), options(command))
    };
    root.get_subcommands().map(one).collect()
}

#[test]
fn the_manual_page_has_every_command_and_flag() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/ketch.8");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let command = command();
    let page = with_section(&page, "options", &options(&command));
    compare("ketch.8", &with_section(&page, "commands", &commands(&command)));
}

#[test]
fn shells_complete_every_command_and_flag() {
    for (shell, name) in [(Shell::Bash, "ketch.bash"), (Shell::Zsh, "_ketch"), (Shell::Fish, "ketch.fish")] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "ketch", &mut script);
        compare(&format!("completions/{name}"), &String::from_utf8(script).expect("a script is UTF-8"));
    }
}
