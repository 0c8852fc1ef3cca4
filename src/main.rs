//! The program: parse, dispatch, exit code.

use std::process::ExitCode;

use portcullis::cli::{self, Failure, Invocation};
use portcullis::demo;
use portcullis::serve::{self, Server};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(invocation) => cli::conclude(run(&invocation)),
        Err(code) => code,
    }
}

fn run(invocation: &Invocation) -> Result<(), Failure> {
    match invocation {
        Invocation::Serve(path) => Ok(Server::start(cli::load(path)?)?.run_until_signal()?),
        Invocation::Demo => Ok(demo::run()?),
        Invocation::Check(path) => {
            let loaded = cli::load(path)?;
            let checked = serve::check(&loaded);
            let checked = checked.map_err(|error| Failure::Configuration(format!("error: {error:#}")))?;
            cli::approve(path, &checked.warnings, &checked.note)
        }
        Invocation::Manage(command) => command.run(),
        Invocation::Describe(command) => command.run(),
    }
}
