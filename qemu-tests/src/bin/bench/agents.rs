//! A thousand configs from one command line. The agents are simulated: each has an address, a name and a
//! certificate of its own, asks for the client's, and accepts what it is sent.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use machined_proto::v1::{ApplyConfigRequest, ApplyConfigResponse};
use qemu_tests::netns::Net;
use qemu_tests::{Workshop, gen_config};
use rustls::crypto::aws_lc_rs;
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic_prost::ProstCodec;

use crate::settings::Settings;
use crate::table::Table;

const AGENTS: usize = 1000;
const TIMES: usize = 3;

/// Where the agents listen, on addresses of the loopback network.
const PORT: u16 = 50_000;

/// What one command cost.
struct Cost {
    seconds: f64,
    /// Resident at most, in MB.
    peak: f64,
}

/// The same command some times.
pub fn measure(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (shop, _net) = (Workshop::new("bench-agents")?, Net::new()?);
    let names: Vec<_> = (1..=AGENTS).map(|n| format!("w{n}")).collect();
    let mut words = vec!["--name", "bench", "--endpoint", "192.0.2.10:6443"];
    let joined = names.join(",");
    words.extend(["--control-planes", "cp1", "--workers", &joined]);
    let documents = gen_config(shop.path(), "bench", &words)?;
    let tls = Arc::new(tls(&documents, &names)?);
    let accepted = Arc::<AtomicUsize>::default();
    let (send, begun) = std::sync::mpsc::channel();
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let ended = serve(tls, count, &send);
        let _ = send.send(ended);
    });
    begun.recv().context("the agents ended")??;

    let mut costs = Vec::new();
    for time in 1..=TIMES {
        accepted.store(0, Ordering::Relaxed);
        let cost = apply(settings, shop.path(), &documents, &names)?;
        let seen = accepted.load(Ordering::Relaxed);
        ensure!(
            seen == AGENTS,
            "{seen} of {AGENTS} agents were given a config"
        );
        eprintln!(
            "bench: {AGENTS} agents, time {time}: {:.2} s, {:.1} MB",
            cost.seconds, cost.peak
        );
        costs.push(cost);
    }
    let column = |of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<_>>();
    let (seconds, peak) = (column(|cost| cost.seconds), column(|cost| cost.peak));
    table.spread("apply-config to 1000 simulated agents", "s", &seconds, 10.0);
    table.spread("apply-config to 1000: resident at most", "MB", &peak, 200.0);
    shop.done();
    Ok(())
}

fn apply(
    settings: &Settings,
    home: &Path,
    documents: &Path,
    names: &[String],
) -> anyhow::Result<Cost> {
    let at = names.iter().enumerate();
    let at = at.map(|(index, name)| format!("{name}=127.1.{}.{}", index / 250, index % 250 + 1));
    let at: Vec<_> = at.collect();
    let mut command = Command::new("nsenter");
    command
        .arg(&Net::seat()[1])
        .arg(&settings.machinectl)
        .args(["apply-config", "-n", &at.join(",")]);
    for name in names {
        let path = documents.join(format!("{name}.yaml"));
        command.arg("-f").arg(path);
    }
    command
        .env("MACHINECTL_CONFIG", home.join("contexts.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    // nsenter becomes the command: its process is the one to look at.
    let mut child = command.spawn().context("start machinectl")?;
    let mut errors = child.stderr.take().context("no errors")?;
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        text
    });
    let (code, peak) = watched(&mut child)?;
    let seconds = begun.elapsed().as_secs_f64();
    let errors = errors.join().unwrap_or_default();
    ensure!(code == Some(0), "machinectl ended with {code:?}: {errors}");
    Ok(Cost { seconds, peak })
}

/// Its end, and the most that it had resident until shortly before.
fn watched(child: &mut Child) -> anyhow::Result<(Option<i32>, f64)> {
    let (path, mut peak) = (format!("/proc/{}/status", child.id()), 0.0);
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        peak = kib.map_or(peak, |kib| kib * 1024.0 / 1e6);
        if let Some(status) = child.try_wait()? {
            return Ok((status.code(), peak));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Each name's own certificate, from the document that is made for it.
fn tls(documents: &Path, names: &[String]) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (mut resolver, mut roots) = (ResolvesServerCertUsingSni::new(), RootCertStore::empty());
    for name in names {
        let text = std::fs::read_to_string(documents.join(format!("{name}.yaml")))?;
        let secrets = text.split("\n---\n").nth(1).context("no secrets")?;
        let secrets: Value = serde_saphyr::from_str(secrets)?;
        let pem = |at: &str| {
            let pem = secrets.pointer(at).and_then(Value::as_str);
            pem.with_context(|| format!("no {at} for {name}"))
        };
        if roots.is_empty() {
            roots.add(CertificateDer::from_pem_slice(
                pem("/machineCA/certificate")?.as_bytes(),
            )?)?;
        }
        let chain =
            CertificateDer::from_pem_slice(pem("/machineIdentity/certificate")?.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(pem("/machineIdentity/key")?.as_bytes())?;
        let key = CertifiedKey::from_der(vec![chain], key, &provider)?;
        resolver.add(name, key)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier.build()?)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// All agents on one thread, which leaves a processor to the command.
fn serve(
    tls: Arc<ServerConfig>,
    accepted: Arc<AtomicUsize>,
    begun: &std::sync::mpsc::Sender<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    Net::sit()?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await?;
        let _ = begun.send(Ok(()));
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let (stream, _) = listener.accept().await?;
            let (acceptor, accepted) = (acceptor.clone(), Arc::clone(&accepted));
            tokio::spawn(async move {
                if let Err(error) = answer(acceptor, stream, accepted).await {
                    eprintln!("bench: an agent: {error:#}");
                }
            });
        }
    })
}

async fn answer(
    acceptor: TlsAcceptor,
    stream: tokio::net::TcpStream,
    accepted: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let agent = Agent(Arc::clone(&accepted));
        async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok::<_, Infallible>(grpc.unary(agent, request).await)
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new());
    // How a client leaves is its own affair.
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
    Ok(())
}

/// Accepts any config, whatever the call was.
struct Agent(Arc<AtomicUsize>);

impl tonic::server::UnaryService<ApplyConfigRequest> for Agent {
    type Response = ApplyConfigResponse;
    type Future = std::future::Ready<Result<tonic::Response<Self::Response>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<ApplyConfigRequest>) -> Self::Future {
        if request.get_ref().document.is_empty() {
            let why = tonic::Status::unimplemented("only apply-config is simulated");
            return std::future::ready(Err(why));
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(tonic::Response::new(ApplyConfigResponse {
            generation: 1,
            changed: true,
            ..Default::default()
        })))
    }
}
