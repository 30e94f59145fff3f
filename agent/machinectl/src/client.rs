//! One connection to one machine. It is opened here and never reopened behind a
//! caller's back: an enrolment proof belongs to its connection, and a failed
//! handshake is told as what it is rather than as a transport error.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use machine_pki::CertificateFacts;
use machined_proto::MESSAGE_LIMIT;
use machined_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use machined_proto::v1::machine_service_client::MachineServiceClient;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::context::Context;
use crate::explain;
use crate::failure::Failure;
use crate::noted::{Noted, Notes};
use crate::target::Target;
use crate::tls;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP and TLS together.
    pub connect: Duration,
    /// One call, or the first answer of a stream.
    pub call: Duration,
}

/// A connection to one machine.
#[derive(Debug)]
pub struct Link {
    target: Target,
    channel: Channel,
    /// What the machine's certificate says.
    pub peer: Option<CertificateFacts>,
    exporter: [u8; 32],
    notes: Arc<Notes>,
    limits: Limits,
}

/// Connects with the context's identity; the machine CA must vouch for the machine.
pub async fn connect(target: &Target, context: &Context, limits: Limits) -> Result<Link, Failure> {
    explain::own_certificate(context)?;
    open(target, tls::with_authority(context)?, limits).await
}

/// Connects to a machine that nobody vouches for yet; see `enrol`.
pub async fn connect_unproven(target: &Target, limits: Limits) -> Result<Link, Failure> {
    open(target, tls::with_code()?, limits).await
}

async fn open(target: &Target, config: ClientConfig, limits: Limits) -> Result<Link, Failure> {
    match tokio::time::timeout(limits.connect, handshake(target, config)).await {
        Ok(stream) => wrap(target, stream?, limits).await,
        Err(_) => Err(explain::no_answer(target, limits.connect)),
    }
}

async fn handshake(target: &Target, config: ClientConfig) -> Result<TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|error| explain::tcp(target, &error))?;
    // A call is one small packet; waiting to fill it up only costs time.
    tcp.set_nodelay(true)
        .map_err(|error| explain::tcp(target, &error))?;
    let name = ServerName::try_from(target.server_name().to_owned())
        .map_err(|_| Failure::usage(format!("{} is no server name", target.server_name())))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(|error| explain::handshake(target, &error))
}

async fn wrap(
    target: &Target,
    stream: TlsStream<TcpStream>,
    limits: Limits,
) -> Result<Link, Failure> {
    let (_, session) = stream.get_ref();
    let exporter = session
        .export_keying_material([0_u8; 32], tls::EXPORTER_LABEL, None)
        .map_err(|error| Failure::failed(format!("{target}: export TLS keys: {error}")))?;
    let peer = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|leaf| machine_pki::inspect(&explain::pem(leaf)).ok());
    let notes = Arc::new(Notes::default());
    let once = Mutex::new(Some(TokioIo::new(Noted::new(stream, notes.clone()))));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = once.lock().ok().and_then(|mut once| once.take());
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let channel = Endpoint::from_static("http://machine")
        .user_agent(concat!("machinectl/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| explain::transport(target, &error, &notes))?
        // Without keepalive a call over a connection that a network ate waits for ever.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|error| explain::transport(target, &error, &notes))?;
    Ok(Link {
        target: target.clone(),
        channel,
        peer,
        exporter,
        notes,
        limits,
    })
}

impl Link {
    /// The machine at the other end.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The TLS exporter of this very connection.
    pub fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    /// Whether the certificate is of a machine that waits for its first config.
    pub fn awaits_enrolment(&self) -> bool {
        self.peer_is("machined:enrolment")
    }

    /// Whether the certificate says that the machine has a config.
    pub fn is_configured(&self) -> bool {
        self.peer_is("machined:node")
    }

    fn peer_is(&self, organization: &str) -> bool {
        self.peer
            .as_ref()
            .is_some_and(|peer| peer.organizations.iter().any(|o| o == organization))
    }

    /// The calls of a configured machine.
    pub fn machine(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// The calls of a machine without a config.
    pub fn enrolment(&self) -> EnrolmentServiceClient<Channel> {
        EnrolmentServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// Waits for one answer, at most as long as a call may take.
    pub async fn call<T>(
        &self,
        verb: &str,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.limits.call, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.told(verb, &status)),
            Err(_) => Err(explain::call_too_long(&self.target, verb, self.limits.call)),
        }
    }

    /// A call's failure in plain words.
    pub fn told(&self, verb: &str, status: &tonic::Status) -> Failure {
        explain::status(&self.target, verb, status, &self.notes)
    }
}
