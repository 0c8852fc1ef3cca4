//! Closing a client's connection so that what was said last arrives.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::Socket;

/// What a client may still send after a refusal before it is hung up on.
const LINGER_BYTES: u64 = 1024 * 1024;
pub(super) const LINGER_TIME: Duration = Duration::from_secs(1);

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
