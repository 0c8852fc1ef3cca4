//! The beginning of every connection, before it is known what will be spoken on it.

use std::rc::Rc;

use tokio::net::TcpStream;

use super::connection::Peers;
use super::http1;
use super::socket::Socket;
use super::worker::{Accepted, Worker};

/// Serves one connection to its end.
pub(super) async fn drive(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, client, local, place: _place } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    http1::drive(worker, Socket::Plain(stream), Peers { client, local }).await;
}
