//! A stream that remembers the TLS error it saw. With TLS 1.3 a machine refuses a
//! client's certificate only after the client's handshake is done; what callers then
//! get is a broken pipe, and the reason is lost unless somebody keeps it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one connection saw.
#[derive(Debug, Default)]
pub struct Notes {
    tls: OnceLock<rustls::Error>,
    heard: OnceLock<()>,
}

impl Notes {
    /// The first TLS error, for example the machine's alert.
    pub fn tls(&self) -> Option<&rustls::Error> {
        self.tls.get()
    }

    /// Whether the machine ever said anything after the handshake.
    pub fn heard(&self) -> bool {
        self.heard.get().is_some()
    }

    fn note(&self, error: &io::Error) {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = inner {
            // Only the first error is the cause.
            let _ = self.tls.set(tls.clone());
        }
    }
}

/// The wrapped stream.
#[derive(Debug)]
pub struct Noted<S> {
    inner: S,
    notes: Arc<Notes>,
}

impl<S> Noted<S> {
    /// Wraps a stream.
    pub fn new(inner: S, notes: Arc<Notes>) -> Self {
        Self { inner, notes }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Err(error)) => self.notes.note(error),
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let _ = self.notes.heard.set(());
            }
            _ => {}
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Noted<S> {
    /// After a failed write the alert that explains it may still wait to be read.
    fn look_for_alert(&mut self, cx: &mut Context<'_>) {
        let mut space = [0_u8; 64];
        let mut buf = ReadBuf::new(&mut space);
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
            self.notes.note(&error);
        }
    }

    fn noting<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.notes.note(error);
            self.look_for_alert(cx);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, data);
        self.noting(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.noting(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
