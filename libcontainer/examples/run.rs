//! Runs a bundle: `run DIRECTORY ID`.

use std::path::Path;

use libcontainer::bundle::Bundle;
use libcontainer::container::{self, Options};
use libcontainer::state::Store;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(directory), Some(id)) = (args.next(), args.next()) else { return Err("run DIRECTORY ID".into()) };
    let bundle = Bundle::load(Path::new(&directory))?;
    let store = Store::new("/run/ketch-example");
    let (container, program) = container::run(&store, &bundle, &Options::new(id))?;
    let exit = program.wait()?;
    container.delete(false)?;
    std::process::exit(exit.code());
}
