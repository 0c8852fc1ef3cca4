//! The floor: forwards bytes without looking at them. Whoever stands between two sockets pays its two reads and two
//! writes for each request.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// Bytes read at a time: many small reads would make it no floor for large bodies.
const BUFFER: usize = 128 << 10;

/// Serves until it is killed; prints its address first.
pub(super) fn run(upstream: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (client, _) = listener.accept().await?;
            // A connection that breaks ends its own task and nothing else.
            tokio::task::spawn_local(async move { drop(forward(client, upstream).await) });
        }
    }))
}

async fn forward(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<(u64, u64)> {
    let mut app = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    app.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut app, BUFFER, BUFFER).await
}
