//! `portcullis completions` and `portcullis man`: what is generated from the definition of the command line.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Failure;

#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Args)]
pub(super) struct Man {
    /// Write the pages of all commands into this folder, instead of the first to standard output
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self, mut definition: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition, "portcullis", &mut script);
        print(&script)
    }
}

impl Man {
    pub(super) fn run(&self, definition: Command) -> Result<(), Failure> {
        if let Some(folder) = &self.out {
            std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(definition, folder))
                .map_err(|error| Failure::Failed(format!("cannot write to {}: {error}", folder.display())))?;
            return Ok(());
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(definition).render(&mut page)?;
        print(&page)
    }
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    Ok(out.flush()?)
}
