//! HTTP with one API server: just what this machine asks of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::door::{Door, Sender};
use super::error::Error;

/// The longest that an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a watch goes on, as the API server is asked to end it.
const WATCH: Duration = Duration::from_secs(290);

/// What it may be late with that.
const LATE: Duration = Duration::from_secs(30);

/// The API server closes connections that were idle for 90 s: one that is about to be closed is
/// not asked on.
const IDLE: Duration = Duration::from_secs(60);

/// As many as a look asks on at once.
const MOST_IDLE: usize = 4;

/// Connections to one API server, kept for the next question.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    door: Door,
    idle: Mutex<Vec<(Instant, Sender)>>,
}

/// What a patch is, for the API server.
#[derive(Debug, Clone, Copy)]
pub enum Patch {
    /// Server-side apply.
    Apply,
    /// A JSON merge patch.
    Merge,
}

/// A change that a watch tells of.
#[derive(Debug, Deserialize)]
pub struct Event<T> {
    /// ADDED, MODIFIED, DELETED, or something that is no change.
    #[serde(rename = "type")]
    pub kind: String,
    /// As it is now.
    pub object: T,
}

#[derive(Deserialize)]
struct Status {
    message: String,
}

impl Client {
    /// No connection is made before the first question.
    pub fn new(door: Door) -> Self {
        let idle = Mutex::default();
        Self(Arc::new(Inner { door, idle }))
    }

    /// What is there.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        parsed(&self.ask(Method::GET, path, None).await?)
    }

    /// Whether it answers as it should, whatever it says.
    pub async fn check(&self, path: &str) -> Result<(), Error> {
        self.ask(Method::GET, path, None).await.map(drop)
    }

    /// Changes what is there.
    pub async fn patch(&self, path: &str, patch: Patch, body: &Value) -> Result<(), Error> {
        let kind = match patch {
            Patch::Apply => "application/apply-patch+yaml",
            Patch::Merge => "application/merge-patch+json",
        };
        let asked = self.ask(Method::PATCH, path, Some((kind, body)));
        asked.await.map(drop)
    }

    /// Makes something.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(), Error> {
        let asked = self.ask(Method::POST, path, Some(("application/json", body)));
        asked.await.map(drop)
    }

    /// Takes away what is there.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    /// Every change of a list, or of what a query chooses of it, since a version, until the API server
    /// or the connection ends it.
    pub async fn watch<T: DeserializeOwned>(
        &self,
        list: &str,
        version: &str,
    ) -> Result<impl Stream<Item = Event<T>> + use<T>, Error> {
        let seconds = WATCH.as_secs();
        let more = if list.contains('?') { '&' } else { '?' };
        let path =
            format!("{list}{more}watch=true&resourceVersion={version}&timeoutSeconds={seconds}");
        let until = Instant::now() + WATCH + LATE;
        let asked = self.send(self.request(Method::GET, &path, None)?);
        let (sender, answer) = timeout(ANSWER, asked).await.map_err(slow)??;
        if !answer.status().is_success() {
            let code = answer.status().as_u16();
            let body = timeout(ANSWER, answer.into_body().collect());
            let body = body.await.map_err(slow)??.to_bytes();
            return Err(refusal(code, &body));
        }
        let lines = Lines {
            body: answer.into_body(),
            read: Vec::new(),
            until,
            _sender: sender,
        };
        Ok(futures_util::stream::unfold(lines, async |mut lines| {
            let event = serde_json::from_slice(&lines.next().await?).ok()?;
            Some((event, lines))
        }))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Bytes, Error> {
        let request = self.request(method, path, body)?;
        let asked = async {
            let (sender, answer) = self.send(request).await?;
            let code = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            self.keep(sender);
            match code.is_success() {
                true => Ok(body),
                false => Err(refusal(code.as_u16(), &body)),
            }
        };
        timeout(ANSWER, asked).await.map_err(slow)?
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.0.door.authority())
            .header(USER_AGENT, concat!("machined/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        let mut bytes = Bytes::new();
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind);
            bytes = body.to_string().into();
        }
        request
            .body(Full::new(bytes))
            .map_err(|e| Error::Unreadable(e.to_string()))
    }

    // On a kept connection, or a new one if none is left that works: the API server may have ended
    // them all. Nothing is asked here that may not be asked twice.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Sender, Response<Incoming>), Error> {
        while let Some(mut sender) = self.kept() {
            if sender.ready().await.is_ok()
                && let Ok(answer) = sender.send_request(request.clone()).await
            {
                return Ok((sender, answer));
            }
        }
        let mut sender = self.0.door.open().await?;
        let answer = sender.send_request(request).await?;
        Ok((sender, answer))
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, sender)| since.elapsed() < IDLE && !sender.is_closed());
        idle.pop().map(|(_, sender)| sender)
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push((Instant::now(), sender));
        }
    }
}

/// An answer that comes line by line.
struct Lines {
    body: Incoming,
    read: Vec<u8>,
    until: Instant,
    /// Without it the connection would end.
    _sender: Sender,
}

impl Lines {
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(end + 1);
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let frame = timeout_at(self.until, self.body.frame()).await;
            if let Ok(more) = frame.ok()??.ok()?.into_data() {
                self.read.extend_from_slice(&more);
            }
        }
    }
}

fn slow(_: tokio::time::error::Elapsed) -> Error {
    Error::Slow(ANSWER.as_secs())
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| Error::Unreadable(e.to_string()))
}

// Readiness and what stands before the API answer in plain text.
fn refusal(code: u16, body: &[u8]) -> Error {
    let status = serde_json::from_slice(body).map(|status: Status| status.message);
    let message = status.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    Error::Refused { code, message }
}

/// One part of a path, or of a query, whatever is in it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
