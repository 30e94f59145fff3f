//! An API server of whatever answers a test gives it: real TLS and HTTP over loopback, and it
//! lets nobody in without a client certificate.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use machine_pki::{Authority, AuthorityKind, Issued, LeafRequest, Usage};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::node::kube::{Client, Door, Identity};

type Body = BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

/// What it is asked.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// The body's type.
    pub(crate) kind: String,
    pub(crate) body: Bytes,
}

/// What it answers: a status and the parts of a body, which may be long in coming.
pub(crate) type Answer = (u16, BoxStream<'static, Bytes>);

/// What runs. It ends with this.
pub(crate) struct ApiServer {
    port: u16,
    authority: Authority,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Answers whatever is asked.
    pub(crate) async fn start(
        answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(move |asked| {
            let (code, value) = answer(asked);
            let whole = Bytes::from(value.to_string());
            (code, futures_util::stream::iter([whole]).boxed())
        })
        .await
    }

    /// The same, with bodies that come in parts.
    pub(crate) async fn start_with(
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::generate(AuthorityKind::Kubernetes, SystemTime::now()).unwrap();
        let acceptor = acceptor(&authority);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            asked: Mutex::default(),
            running: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let one = tokio::spawn(serve(acceptor.clone(), tcp, Arc::clone(&serving)));
                serving.running.lock().unwrap().push(one.abort_handle());
            }
        });
        Self {
            port,
            authority,
            shared,
            task,
        }
    }

    /// A client that it lets in.
    pub(crate) fn client(&self) -> Client {
        let issued = issued(&self.authority, Usage::Client);
        self.client_with(Some(&Identity {
            certificate: issued.certificate_pem,
            key: issued.key,
        }))
    }

    /// The same, for another port.
    pub(crate) fn client_at(&self, port: u16) -> Client {
        let door = Door::new(("127.0.0.1", port), self.authority.certificate_pem(), None);
        Client::new(door.unwrap())
    }

    /// A client with this to show.
    pub(crate) fn client_with(&self, identity: Option<&Identity>) -> Client {
        let at = ("127.0.0.1", self.port);
        Client::new(Door::new(at, self.authority.certificate_pem(), identity).unwrap())
    }

    /// The methods and paths, without queries, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.running.lock().unwrap().len()
    }

    /// Ends all its connections.
    pub(crate) fn hang_up(&self) {
        for one in self.shared.running.lock().unwrap().iter() {
            one.abort();
        }
    }

    /// Ends it and all its connections.
    pub(crate) fn stop(&self) {
        self.task.abort();
        self.hang_up();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared {
    answer: Box<dyn Fn(&Asked) -> Answer + Send + Sync>,
    asked: Mutex<Vec<String>>,
    /// Of every connection that was ever made.
    running: Mutex<Vec<AbortHandle>>,
}

async fn serve(acceptor: TlsAcceptor, tcp: TcpStream, shared: Arc<Shared>) {
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<StreamBody<Body>> {
        let (head, body) = request.into_parts();
        let kind = head.headers.get(CONTENT_TYPE);
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.path_and_query().unwrap().to_string(),
            kind: kind.map_or("", |kind| kind.to_str().unwrap()).to_owned(),
            body: body.collect().await.unwrap().to_bytes(),
        };
        let line = format!("{} {}", head.method, head.uri.path());
        self.asked.lock().unwrap().push(line);
        let (code, parts) = (self.answer)(&asked);
        let parts = parts.map(|part| Ok(Frame::data(part))).boxed();
        let mut response = Response::new(StreamBody::new(parts));
        *response.status_mut() = code.try_into().unwrap();
        response
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let own = issued(authority, Usage::Server);
    let certificates = |pem: &str| -> Vec<_> {
        let all = CertificateDer::pem_slice_iter(pem.as_bytes());
        all.collect::<Result<_, _>>().unwrap()
    };
    let key = PrivateKeyDer::from_pem_slice(own.key.expose().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(authority.certificate_pem()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&own.certificate_pem), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn issued(authority: &Authority, usage: Usage) -> Issued {
    let request = LeafRequest {
        common_name: "test".to_owned(),
        organizations: Vec::new(),
        usage,
        dns: [].into(),
        ips: [std::net::Ipv4Addr::LOCALHOST.into()].into(),
        lifetime: Duration::from_secs(3600),
    };
    authority.issue(&request, SystemTime::now()).unwrap()
}
