//! Runs a bundle in the foreground: `run DIRECTORY ID`.

use std::process::ExitCode;

use libcontainer::{Bundle, Options, Store};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(directory), Some(id)) = (args.next(), args.next()) else {
        return Err("run DIRECTORY ID".into());
    };
    let bundle = Bundle::load(directory.as_ref())?;
    let store = Store::new("/run/libcontainer-example");
    let (container, program) = libcontainer::run(&store, &bundle, &Options::new(id))?;
    let exit = program.wait()?;
    container.delete(false)?;
    Ok(ExitCode::from(u8::try_from(exit.code())?))
}
