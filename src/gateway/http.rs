//! The beginning of every connection, before it is known what will be spoken on it.

use std::rc::Rc;

use tokio::net::TcpStream;

use super::connection::Peers;
use super::socket::Socket;
use super::worker::{Accepted, Worker};
use super::{http1, tls};

/// Serves one connection to its end.
pub(super) async fn drive(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, client, local, since, terminator, place: _place } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let socket = match terminator {
        None => Socket::Plain(stream),
        Some(terminator) => {
            // Boxed, both: every connection would pay for the space for as long as it is open.
            let shaken = Box::pin(tls::handshake(&worker, stream, &terminator, since)).await;
            let Some(stream) = shaken else { return };
            Socket::Tls(Box::new(stream))
        }
    };
    http1::drive(worker, socket, Peers { client, local, since }).await;
}
