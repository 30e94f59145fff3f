//! Network, TLS and call failures in plain words: what happened, most likely why, what next.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError};
use tonic::Code;

use crate::context::Context;
use crate::failure::Failure;
use crate::noted::Notes;
use crate::target::Target;
use crate::time;

/// A certificate as PEM, for `machine_pki::inspect`.
pub fn pem(der: &CertificateDer<'_>) -> String {
    let body = data_encoding::BASE64.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// Refuses early what the machine would refuse late and darkly: an expired identity.
pub fn own_certificate(context: &Context) -> Result<(), Failure> {
    let facts = machine_pki::inspect(&context.certificate).map_err(|error| {
        Failure::usage(format!(
            "context {}: its certificate: {error}",
            context.name
        ))
    })?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if now < facts.not_before {
        let when = time::shown(facts.not_before.saturating_mul(1000));
        return Err(Failure::not_permitted(format!(
            "context {}: the client certificate of {} begins only on {when}",
            context.name, facts.common_name
        ))
        .next("this computer's clock is behind: set it"));
    }
    if now > facts.not_after {
        let when = time::shown(facts.not_after.saturating_mul(1000));
        return Err(Failure::not_permitted(format!(
            "context {}: the client certificate of {} expired on {when}",
            context.name, facts.common_name
        ))
        .next("machinectl context add NAME --secrets FILE --force makes a new one"));
    }
    Ok(())
}

/// Nothing came back while connecting.
pub fn no_answer(target: &Target, waited: Duration) -> Failure {
    Failure::unreachable(format!(
        "{target} does not answer within {}",
        time::span(waited)
    ))
    .next("is the machine on, is the address right, does a firewall drop the port?")
}

/// A call took too long.
pub fn call_too_long(target: &Target, verb: &str, waited: Duration) -> Failure {
    Failure::unreachable(format!(
        "{target}: {verb}: no answer within {}",
        time::span(waited)
    ))
    .next("the machine may be busy; --request-timeout allows more time")
}

/// TCP failures.
pub fn tcp(target: &Target, error: &io::Error) -> Failure {
    use io::ErrorKind as E;
    let (what, next) = match error.kind() {
        E::ConnectionRefused => (
            "the connection was refused: nothing listens there",
            Some("the machine may still be booting, or the port is wrong"),
        ),
        E::TimedOut => (
            "no answer",
            Some("is the machine on and the address right?"),
        ),
        E::HostUnreachable | E::NetworkUnreachable => (
            "there is no route to that address",
            Some("check the address and your network"),
        ),
        E::AddrNotAvailable => ("the address is not usable from here", None),
        _ if error.raw_os_error().is_none() => (
            "the name is not known (DNS)",
            Some("use an address: -n NAME=ADDRESS"),
        ),
        _ => {
            return Failure::unreachable(format!(
                "{target}: connect: {}",
                crate::files::plain(error)
            ));
        }
    };
    let failure = Failure::unreachable(format!("{target}: {what}"));
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

/// Failures while TLS is being set up.
pub fn handshake(target: &Target, error: &io::Error) -> Failure {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(tls) => tls_error(target, tls),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                Failure::unreachable(format!("{target}: the connection was closed at once"))
                    .next("the machine may still be booting; is this its machine API port?")
            }
            _ => Failure::unreachable(format!("{target}: {}", crate::files::plain(error))),
        },
    }
}

fn tls_error(target: &Target, error: &rustls::Error) -> Failure {
    use CertificateError as C;
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(C::UnknownIssuer | C::BadSignature | C::Other(_)) => {
            Failure::not_permitted(format!(
                "{target}: its certificate is not from this context's machine CA"
            ))
            .next(
                "either it belongs to another cluster (check --context and the address), or it is in \
                 maintenance and shows a code on its console: apply-config --code CODE",
            )
        }
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            Failure::not_permitted(format!("{target}: its certificate has expired"))
                .next("is one of the two clocks wrong? The machine renews its own certificate")
        }
        E::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            Failure::not_permitted(format!("{target}: its certificate is not valid yet"))
                .next("one of the two clocks is wrong: compare them")
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            Failure::not_permitted(format!(
                "{target}: it is of this cluster, but its certificate is not for {}",
                target.server_name()
            ))
            .next("name the node as its config does: -n HOSTNAME=ADDRESS")
        }
        E::AlertReceived(alert) => alert_received(target, *alert),
        E::InvalidMessage(_) | E::InappropriateHandshakeMessage { .. } => {
            Failure::unreachable(format!("{target}: what listens there does not speak TLS"))
                .next("is this the machine API's port? It is 50000 unless forwarded")
        }
        E::NoApplicationProtocol => {
            Failure::unreachable(format!("{target}: what listens there is no machine API"))
        }
        other => Failure::failed(format!("{target}: TLS: {other}")),
    }
}

fn alert_received(target: &Target, alert: AlertDescription) -> Failure {
    use AlertDescription as A;
    match alert {
        A::CertificateExpired => Failure::not_permitted(format!(
            "{target}: by its clock your certificate has expired or is not valid yet"
        ))
        .next(
            "by this computer's clock it is valid, so one of the two clocks is wrong; the \
             machine's console says so where it knows (clock-wrong)",
        ),
        A::UnknownCA
        | A::BadCertificate
        | A::CertificateUnknown
        | A::CertificateRequired
        | A::DecryptError
        | A::AccessDenied
        | A::UnsupportedCertificate => Failure::not_permitted(format!(
            "{target}: it does not accept your client certificate"
        ))
        .next("is this the right --context for this machine? machinectl context list"),
        A::ProtocolVersion => Failure::unreachable(format!(
            "{target}: what listens there does not speak TLS 1.3"
        )),
        A::NoApplicationProtocol => {
            Failure::unreachable(format!("{target}: what listens there is no machine API"))
        }
        other => {
            let name = other.as_str().unwrap_or("an unknown alert");
            Failure::unreachable(format!("{target}: it ended the connection: {name}"))
        }
    }
}

/// A connection that broke, with the reason that the stream noted.
fn broken(target: &Target, doing: &str, notes: &Notes) -> Failure {
    if let Some(tls) = notes.tls() {
        return tls_error(target, tls);
    }
    if !notes.heard() {
        // TLS 1.3: the client has finished before the machine has looked at its certificate.
        return Failure::not_permitted(format!(
            "{target}: it closed the connection before answering; most often it did not accept \
             your client certificate"
        ))
        .next("is this the right --context for this machine? machinectl context list");
    }
    Failure::unreachable(format!("{target}: {doing}: the connection was lost"))
        .next("the machine or its agent may be restarting; ask again: machinectl status")
}

/// HTTP/2 could not be set up on the connection.
pub fn transport(target: &Target, _error: &tonic::transport::Error, notes: &Notes) -> Failure {
    broken(target, "set up the connection", notes)
}

/// A call's answer that is no success.
pub fn status(target: &Target, verb: &str, status: &tonic::Status, notes: &Notes) -> Failure {
    // A source means that no machine said this: the transport below made it.
    if status.source().is_some() {
        return broken(target, verb, notes);
    }
    let label = target.label();
    let said = status.message();
    if let Some(problems) = problems(status) {
        return Failure::refused(format!("{label}: {problems}"));
    }
    match status.code() {
        Code::InvalidArgument => Failure::refused(format!("{label}: {verb}: {said}")),
        Code::PermissionDenied | Code::Unauthenticated => {
            Failure::not_permitted(format!("{label}: {verb} is not permitted: {said}"))
        }
        Code::Unimplemented => Failure::failed(format!("{label}: it does not serve {verb}")).next(
            "this machine is in maintenance (it has no config yet: apply-config), or it runs an \
             older agent",
        ),
        Code::Unavailable | Code::DeadlineExceeded => {
            Failure::unreachable(format!("{label}: {verb}: {said}"))
        }
        Code::ResourceExhausted => Failure::failed(format!("{label}: {verb}: {said}"))
            .next("wait and try again; machinectl health tells whether something is full"),
        _ if said.is_empty() => {
            Failure::failed(format!("{label}: {verb}: {}", status.code().description()))
        }
        _ => Failure::failed(format!("{label}: {verb}: {said}")),
    }
}

/// Every problem of a refused document, one a line; none where the answer carries none.
fn problems(status: &tonic::Status) -> Option<String> {
    let all = machined_proto::v1::Problems::decode(status.details())
        .ok()?
        .problems;
    let mut text = match all.len() {
        0 => return None,
        1 => "the document is refused".to_owned(),
        count => format!("the document is refused: {count} problems"),
    };
    for problem in all {
        text.push_str("\n  ");
        if problem.line != 0 {
            text.push_str(&format!("{}:{} ", problem.line, problem.column));
        }
        if !problem.path.is_empty() {
            text.push_str(&format!("{}: ", problem.path));
        }
        text.push_str(&problem.message);
        if !problem.hint.is_empty() {
            text.push_str(&format!(" ({})", problem.hint));
        }
    }
    Some(text)
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
