//! Where something was found, in words and in the parts that programs want.

use std::borrow::Cow;
use std::path::Path;

use super::fit;
use crate::cli::text;
use crate::leaks::scan::{Place, Spot, Within};

/// So much of an object's name as people write.
const SHORT: usize = 12;

/// A place as people write it, and as terminals make links of it; with its repository where that is not clear.
pub(super) fn text(place: &Place, with_repository: bool) -> String {
    let spot = place.spot.map(|Spot { line, column }| format!(":{line}:{column}")).unwrap_or_default();
    let repository = |repository: &Path| {
        if with_repository { format!("{} ", path(repository)) } else { String::new() }
    };
    let text = match &place.within {
        Within::Input => format!("(standard input){spot}"),
        Within::File(file) => format!("{}{spot}", path(file)),
        Within::Name(file) => format!("{} (its name)", path(file)),
        Within::Blob { repository: of, id, origin: None } => {
            format!("{}{} (in no commit){spot}", repository(of), short(id))
        }
        Within::Blob { repository: of, origin: Some(origin), .. } => {
            format!("{}{}:{}{spot}", repository(of), short(&origin.commit), path(&origin.path))
        }
        Within::Message { repository: of, id } => {
            format!("{}{} (its message)", repository(of), short(id))
        }
    };
    fit(&text)
}

/// A path as text; a name that holds a credential loses it.
pub(super) fn path(path: &Path) -> String {
    text::redacted(&path.to_string_lossy()).into_owned()
}

/// The file that a place is in, or was in.
pub(super) fn file(place: &Place) -> Option<&Path> {
    match &place.within {
        Within::File(file) | Within::Name(file) => Some(file),
        Within::Blob { origin, .. } => origin.as_ref().map(|origin| &*origin.path),
        Within::Input | Within::Message { .. } => None,
    }
}

/// What git calls the commit that a place came with, or that it is in.
pub(super) fn commit(place: &Place) -> Option<&str> {
    match &place.within {
        Within::Blob { origin, .. } => origin.as_ref().map(|origin| &*origin.commit),
        Within::Message { id, .. } => Some(id),
        Within::Input | Within::File(_) | Within::Name(_) => None,
    }
}

/// The repository in whose history a place is.
pub(super) fn repository(place: &Place) -> Option<&Path> {
    match &place.within {
        Within::Blob { repository, .. } | Within::Message { repository, .. } => Some(repository),
        Within::Input | Within::File(_) | Within::Name(_) => None,
    }
}

/// The version of a file that a place is in, as git calls it.
pub(super) fn blob(place: &Place) -> Option<&str> {
    match &place.within {
        Within::Blob { id, .. } => Some(id),
        Within::Input | Within::File(_) | Within::Name(_) | Within::Message { .. } => None,
    }
}

fn short(id: &str) -> Cow<'_, str> {
    Cow::Borrowed(id.get(..SHORT).unwrap_or(id))
}
