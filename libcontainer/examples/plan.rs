//! Prints what would be done for a bundle: `plan DIRECTORY`. Needs no rights and does nothing.

use std::io::Write;

use libcontainer::{Bundle, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("plan DIRECTORY")?;
    let plan = libcontainer::compile(&Bundle::load(directory.as_ref())?, &Options::new("example"))?;
    let mut out = std::io::stdout();
    for step in plan.steps() {
        writeln!(out, "{}", plan.describe(step))?;
    }
    Ok(())
}
