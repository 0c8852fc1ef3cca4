//! Taking leave of a client so that what was said last arrives.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::Socket;

/// What a client may still send after a refusal before it is hung up on.
const LINGER_BYTES: u64 = 1024 * 1024;
pub(super) const LINGER_TIME: Duration = Duration::from_secs(1);
/// Over HTTP/2, where others wait for the stream: long enough for the answer to be there first.
const HEARD: Duration = Duration::from_millis(200);

/// Closes where nothing more can be on its way to us.
pub(super) async fn close(mut socket: Socket) {
    let _ = socket.shutdown().await;
}

/// Closes without losing the answer: bytes that arrive at a closed socket would make the kernel take it back.
pub(super) async fn linger(mut socket: Socket) {
    let discard = async {
        socket.shutdown().await?;
        let (mut buffer, mut left) = (vec![0; 16 * 1024], LINGER_BYTES);
        while left > 0 {
            match socket.read(&mut buffer).await? {
                0 => break,
                read => left = left.saturating_sub(read as u64),
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER_TIME, discard).await;
}

/// Hears a body out that nobody is to have. Over HTTP/2 it would be stopped otherwise, and a client that is told to stop right
/// behind the answer may take that for the end of both.
pub(super) fn hear_out(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let discard = async move {
        let mut left = LINGER_BYTES;
        while left > 0
            && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
    };
    tokio::task::spawn_local(tokio::time::timeout(HEARD, discard));
}
