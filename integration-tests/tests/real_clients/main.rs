//! Debian's containerd, Docker, Podman and Buildah run their scenarios with ketch, and with its peers for comparison.
//!
//! `scripts/test clients` unpacks the clients and runs this; without them there is nothing to do. Each client with each
//! runtime has a machine of its own, made of namespaces (see stage.sh), where the runtime has the name `runc`: no client
//! is told of it. Whatever passes with a peer has to pass with ketch. What takes systemd is in `systemd_clients`.

mod buildah;
mod ctr;
mod docker;
mod engines;
mod podman;
mod stage;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use stage::Stage;

/// A scenario: its name, and what a shell does, which fails if the client or what it shows is not as expected.
type Scenario = (&'static str, &'static str);

/// A program that calls the runtime.
struct Client {
    name: &'static str,
    /// Makes images and starts daemons.
    start: &'static [&'static str],
    /// Functions for the scenarios.
    words: &'static [&'static str],
    /// Removes what a scenario may have left.
    clean: &'static str,
    /// Who else runs the scenarios.
    peers: &'static [&'static str],
    scenarios: &'static [&'static [Scenario]],
}

const CLIENTS: &[Client] =
    &[ctr::CLIENT, docker::CLIENT, docker::REMAPPED, podman::CLIENT, podman::ROOTLESS, buildah::CLIENT];

/// How a scenario went: nothing, or what its shell said last.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect::<Vec<_>>();
    if let [inside, name, wanted] = words.as_slice()
        && inside == "inside"
    {
        return CLIENTS
            .iter()
            .find(|client| client.name == name)
            .map_or(ExitCode::FAILURE, |client| play(client, wanted));
    }
    if std::env::var_os("PACKAGES").is_none() {
        say("the clients are not here: `just clients` gets them and runs their scenarios");
        return ExitCode::SUCCESS;
    }
    let (clients, wanted) = chosen(&words);
    let mut good = true;
    for client in clients {
        good &= compare(client, &wanted);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The clients that are named, or all, and a part of the names of scenarios.
fn chosen(words: &[String]) -> (Vec<&'static Client>, String) {
    let is_client = |word: &&String| CLIENTS.iter().any(|client| client.name == **word);
    let named = words.iter().filter(is_client).collect::<Vec<_>>();
    let wanted = words.iter().find(|word| !is_client(word)).cloned().unwrap_or_default();
    let clients =
        CLIENTS.iter().filter(|client| named.is_empty() || named.iter().any(|name| *name == client.name));
    (clients.collect(), wanted)
}

/// Has a client run with ketch and with its peers, two at a time; whether ketch did all that one of the peers did.
fn compare(client: &'static Client, wanted: &str) -> bool {
    let runtimes = stage::runtimes(client.peers);
    let mut seen = BTreeMap::new();
    for pair in runtimes.chunks(2) {
        thread::scope(|scope| {
            let ran = |(name, path)| {
                (name, scope.spawn(move || Stage::new(client.name, path).play(client.name, wanted)))
            };
            let threads = pair.iter().map(|(name, path)| ran((name, path))).collect::<Vec<_>>();
            for (name, thread) in threads {
                let outcomes = thread.join().unwrap_or_else(|_| Err("the thread panicked".to_owned()));
                seen.insert(name.clone(), outcomes);
            }
        });
    }
    let names = runtimes.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    report(client, wanted, &names, &seen)
}

type Seen = BTreeMap<String, Result<BTreeMap<String, Outcome>, String>>;

/// Prints the table; whether nothing passes with a peer alone.
fn report(client: &Client, wanted: &str, runtimes: &[String], seen: &Seen) -> bool {
    let mut good = true;
    for (name, outcomes) in seen {
        if let Err(error) = outcomes {
            say(&format!("{} with {name}: {error}", client.name));
            good &= name != "ketch";
        }
    }
    say(&format!(
        "{:<34}{}",
        client.name,
        runtimes.iter().map(|name| format!("{name:<8}")).collect::<String>()
    ));
    for (scenario, _) in scenarios(client, wanted) {
        let of = |name: &String| seen.get(name)?.as_ref().ok()?.get(*scenario);
        let mark = |name: &String| match of(name) {
            Some(Ok(())) => "ok",
            Some(Err(_)) => "FAILS",
            None => "-",
        };
        say(&format!(
            "  {scenario:<32}{}",
            runtimes.iter().map(|name| format!("{:<8}", mark(name))).collect::<String>()
        ));
        let passes = |name: &String| matches!(of(name), Some(Ok(())));
        let alone = of(&"ketch".to_owned()).is_some_and(|outcome| outcome.is_err())
            && (runtimes.len() == 1 || runtimes.iter().any(passes));
        good &= !alone;
        for name in runtimes {
            let Some(Err(said)) = of(name) else { continue };
            let what = if alone { "does not pass" } else { "Skip: is not expected to pass here" };
            // Of a peer's failure the end is enough.
            let lines = if name == "ketch" { 60 } else { 6 };
            say(&format!("    {name}: {what}; the shell said:\n{}", indented(said, lines)));
        }
    }
    good
}

fn scenarios<'a>(client: &Client, wanted: &'a str) -> impl Iterator<Item = &'static Scenario> + use<'a> {
    client.scenarios.iter().copied().flatten().filter(move |(name, _)| name.contains(wanted))
}

fn indented(text: &str, lines: usize) -> String {
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).map(|line| format!("      {line}\n")).collect()
}

/// Inside a stage: starts the client, runs its scenarios one after the other, and prints a line of JSON for each.
fn play(client: &Client, wanted: &str) -> ExitCode {
    if let Err(said) = shell(client, &client.start.concat()) {
        say(&format!("cannot start {}:\n{said}", client.name));
        return ExitCode::FAILURE;
    }
    for (name, script) in scenarios(client, wanted) {
        let outcome = shell(client, script);
        let cleaned = shell(client, client.clean);
        let said = outcome.and(cleaned).err();
        say(&serde_json::json!({ "scenario": name, "failed": said }).to_string());
    }
    ExitCode::SUCCESS
}

/// Runs a script with the client's words.
fn shell(client: &Client, script: &str) -> Outcome {
    let text = format!(
        "{}\n{}\nexec 9>&2; BASH_XTRACEFD=9; set -x\n{script}",
        include_str!("prelude.sh"),
        client.words.concat()
    );
    // What stays in the background has the file and no pipe, so nobody waits for it.
    let log = tempfile::tempfile().and_then(|file| Ok((file.try_clone()?, file.try_clone()?, file)));
    let (output, error, mut log) = log.map_err(|error| format!("temporary file: {error}"))?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", "bash", "-eu", "-o", "pipefail", "-c", &text]);
    let status = command.stdin(Stdio::null()).stdout(output).stderr(error).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}{status}", stage::tail(&mut log))),
        Err(error) => Err(format!("timeout(1): {error}")),
    }
}

/// A line for whoever watches.
#[expect(clippy::print_stdout, reason = "the result is for people, and for the process outside")]
fn say(line: &str) {
    println!("{}", line.trim_end());
}
