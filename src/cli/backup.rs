//! `portcullis backup FILE`: a copy of the store, complete or absent.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;

use super::failure::Failure;
use super::reach::Reach;
use super::screen::{Screen, require_consent};

const KIND: &str = "application/vnd.sqlite3";

#[derive(Args)]
pub(super) struct Backup {
    /// Where to put the copy; only its owner may read it
    file: PathBuf,
    /// Do not ask before a file is replaced that is there already
    #[arg(long)]
    yes: bool,
}

impl Backup {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let name = self.file.display();
        let there = match fs::symlink_metadata(&self.file) {
            Ok(found) if found.is_file() => true,
            Ok(_) => return Err(Failure::Usage(format!("{name} is there, and is not a file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Failure::Failed(format!("cannot look at {name}: {error}"))),
        };
        if there && !self.yes {
            require_consent(false).map_err(|_| {
                Failure::Usage(format!(
                    "{name} is there already: --yes replaces it once the copy is whole; nothing was changed"
                ))
            })?;
            screen.confirm(&format!("Replace {name}, once the copy is whole?"))?;
        }
        let client = reach.client(screen)?;
        let failed = |error: io::Error| Failure::Failed(format!("cannot write {name}: {error}"));
        // In the same folder, so that it can take its name in one step. It is made with mode 0600.
        let mut partial = tempfile::Builder::new()
            .prefix(".portcullis-backup-")
            .tempfile_in(folder(&self.file))
            .map_err(failed)?;
        let length = client.download("/v1/backup", KIND, partial.as_file_mut())?;
        partial.as_file().sync_all().map_err(failed)?;
        let put = if there || self.yes {
            partial.persist(&self.file)
        } else {
            // Somebody may have put a file there meanwhile.
            partial.persist_noclobber(&self.file)
        };
        put.map_err(|error| failed(error.error))?;
        // The name is on disk once the folder is.
        fs::File::open(folder(&self.file)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(screen.say(&format!("Copied the store to {name}: {length} bytes."))?)
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
