//! `/v1/backup`: the whole store as one file, read piece by piece while it goes out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

use super::call::{Answer, Call};
use super::problem::Problem;
use super::pulse::Pulse;
use crate::control::Backup;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

pub(super) fn download(call: Call) -> Answer {
    Box::pin(async move {
        let backup = call.state.control.backup(call.caller()?).await?;
        let opened = async {
            let file = File::open(backup.path()).await?;
            let length = file.metadata().await?.len();
            io::Result::Ok((file, length))
        };
        let (file, length) = opened.await.map_err(|e| {
            tracing::error!(error = %e, "a copy of the store could not be read");
            Problem::unavailable("the copy could not be read: try again")
        })?;
        // With its length, so that a copy that breaks off cannot be taken for a whole one.
        let mut response =
            Response::new(Body::new(Copy { file, left: length, pulse: call.pulse, _backup: backup }));
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.sqlite3"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let name = HeaderValue::from_static("attachment; filename=\"portcullis-backup.db\"");
        headers.insert(header::CONTENT_DISPOSITION, name);
        Ok(response)
    })
}

/// A copy on its way out. The file goes when this does, also because the client has gone away.
struct Copy {
    file: File,
    left: u64,
    pulse: Option<Pulse>,
    _backup: Backup,
}

impl http_body::Body for Copy {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut room = BytesMut::zeroed(PIECE.min(usize::try_from(self.left).unwrap_or(PIECE)));
        let mut buffer = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        room.truncate(read);
        self.left -= read as u64;
        // It is asked for when what went before was taken.
        if let Some(pulse) = &self.pulse {
            pulse.beat();
        }
        Poll::Ready(Some(Ok(Frame::data(room.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
