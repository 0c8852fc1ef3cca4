//! The file itself: who may read it, who holds it, and whether it is what it should be.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use super::super::unwritten::Unwritten;
use super::super::{Inspected, OpenError};
use super::tokens::list;
use super::{backup, migrate, search, secrets, sightings};
use crate::model::{Hindsight, OnPublish};

/// How long a write or a read waits for another program that holds the file.
const BUSY: Duration = Duration::from_secs(2);
/// Statements that a connection keeps prepared: more than any one kind of work needs.
const STATEMENTS: usize = 64;
/// What the write-ahead log may keep on disk once it was copied back, in bytes.
const LOG_KEPT: i64 = 64 << 20;
/// What means something else in the path of a URI (<https://www.sqlite.org/uri.html>).
const IN_URI: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// A store that is open for this process alone.
#[derive(Debug)]
pub(in crate::store) struct Opened {
    /// Without symbolic links.
    pub(in crate::store) path: PathBuf,
    /// What was seen to have ended, which every connection judges by.
    pub(in crate::store) hindsight: Arc<Hindsight>,
    pub(in crate::store) unwritten: Arc<Unwritten>,
    /// Whether any of it is damaged, as soon as that is known; `None` where it was known before it was opened.
    pub(in crate::store) verdict: Option<Verdict>,
    pub(super) connection: Connection,
    pub(super) lock: File,
}

/// What a search for damage will have found. It has a thread of its own: it takes about as long as loading what is there.
pub(in crate::store) type Verdict = JoinHandle<Result<(), OpenError>>;

/// Takes the store for this process, checks it, mends its modes and brings it to this program's schema.
pub(in crate::store) fn open(path: &Path) -> Result<Opened, OpenError> {
    let io = |cause| OpenError::Io { path: path.to_owned(), cause };
    match private().create_new(true).open(path) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io(e)),
    }
    // The same file under two names must have one lock.
    let path = real_file(path).map_err(io)?;
    let lock = private().create(true).truncate(false).open(beside(&path, ".lock")).map_err(io)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(path)),
        Err(e) => return Err(io(e.into())),
    }
    let failed = |e| OpenError::of(path.clone(), e);
    let hindsight = Arc::<Hindsight>::default();
    let mut connection = connect(&path, &hindsight).map_err(failed)?;
    // Before anything about it is changed: it may be somebody else's.
    let version = migrate::judge(&connection, &path)?;
    let mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    // Where anything is still to be changed, not before it is known to be whole.
    let verdict = if migrate::is_current(version) && mode == "wal" {
        Some(look_through(path.clone(), hindsight.clone()).map_err(io)?)
    } else {
        migrate::look_through(&connection, &path)?;
        None
    };
    for kept in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm"), beside(&path, ".lock")] {
        restrict(&kept).map_err(io)?;
    }
    prepare(&connection).map_err(failed)?;
    migrate::bring_up(&mut connection, version).map_err(failed)?;
    hindsight.restore(sightings::read(&connection).map_err(failed)?);
    backup::sweep(&path);
    Ok(Opened { path, hindsight, unwritten: Arc::default(), verdict, connection, lock })
}

fn look_through(path: PathBuf, hindsight: Arc<Hindsight>) -> io::Result<Verdict> {
    thread::Builder::new().name("damage".to_owned()).spawn(move || {
        let connection = connect_to_read(&path, &hindsight).map_err(|e| OpenError::of(path.clone(), e))?;
        migrate::look_through(&connection, &path)
    })
}

/// Judges the store without touching it, and tells its secrets and how many tokens live of each name; `None` where that is not possible. One that is in use,
/// or was when its gateway was killed, is judged by `open`.
pub(in crate::store) fn inspect(path: &Path, names: &[&str]) -> Result<Option<Inspected>, OpenError> {
    let io = |cause| OpenError::Io { path: path.to_owned(), cause };
    match File::open(path) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(Inspected::default())),
        Err(e) => return Err(io(e)),
    }
    let path = real_file(path).map_err(io)?;
    let in_use = File::open(beside(&path, ".lock"))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
    // A log that a kill left behind belongs to the database, and only opening it for good would put the two together.
    let unsettled = fs::metadata(beside(&path, "-wal")).is_ok_and(|log| log.len() > 0);
    if in_use {
        // Whoever uses it has made all that reading needs.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        return Ok(Connection::open_with_flags(&path, flags)
            .and_then(|connection| read(&connection, names))
            .ok());
    }
    if unsettled {
        return Ok(None);
    }
    // Immutable: SQLite then leaves no log of its own behind, whose owner would be whoever runs the check.
    let name = path.to_str().ok_or_else(|| io(io::Error::other("its path is not UTF-8")))?;
    let uri = format!("file:{}?immutable=1", utf8_percent_encode(name, IN_URI));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags).map_err(|e| OpenError::of(path.clone(), e))?;
    let version = migrate::judge(&connection, &path)?;
    migrate::look_through(&connection, &path)?;
    // One that is older holds none.
    Ok(if migrate::is_current(version) { read(&connection, names).ok() } else { Some(Inspected::default()) })
}

fn read(connection: &Connection, names: &[&str]) -> rusqlite::Result<Inspected> {
    let hindsight = Arc::<Hindsight>::default();
    hindsight.restore(sightings::read(connection)?);
    register(connection, &hindsight)?;
    let living = list::living(connection, names, Timestamp::now())?;
    Ok(Inspected { secrets: secrets::all(connection)?, living: Some(living) })
}

/// The path without symbolic links, of something that is a file.
fn real_file(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    if fs::metadata(&path)?.is_file() { Ok(path) } else { Err(io::Error::other("it is not a file")) }
}

/// Makes a connection one for writing.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Answers with the mode in force; anything but WAL would make readers and the writer wait for each other.
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(%mode, "the store's file system allows no write-ahead log: listings will delay writes");
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT)
}

/// A connection for reading.
pub(super) fn connect_to_read(path: &Path, hindsight: &Arc<Hindsight>) -> rusqlite::Result<Connection> {
    let connection = connect(path, hindsight)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A connection to a store that is there.
pub(super) fn connect(path: &Path, hindsight: &Arc<Hindsight>) -> rusqlite::Result<Connection> {
    // Not CREATE: a file that vanished must not come back empty.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    register(&connection, hindsight)?;
    Ok(connection)
}

/// Makes known to SQL what rows are judged by.
fn register(connection: &Connection, hindsight: &Arc<Hindsight>) -> rusqlite::Result<()> {
    // What publishing does to a token is decided in one place, for the gateway and for lists.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("has_ended", 3, flags, |context| {
        let rule = context.get_raw(0).as_str().ok().and_then(OnPublish::parse);
        let (at, now): (i64, i64) = (context.get(1)?, context.get(2)?);
        Ok(rule.is_some_and(|rule| rule.has_ended(at, now)))
    })?;
    search::register(connection)?;
    sightings::register(connection, hindsight.clone())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SQLite gives the log the mode of the database, so all must be closed to others from the start.
fn restrict(path: &Path) -> io::Result<()> {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if mode & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        tracing::warn!(path = %path.display(), "others could read or write this file of the store: set to mode 0600");
    }
    Ok(())
}
