use super::*;
use crate::failure::Kind;

fn target() -> Target {
    "cp1=10.0.0.1".parse().unwrap()
}

#[test]
fn a_certificate_of_a_stranger_is_not_trusted_and_the_code_is_offered() {
    let error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let failure = tls_error(&target(), &error);
    assert_eq!(failure.kind, Kind::NotPermitted);
    assert!(failure.next.unwrap().contains("--code"));
}

#[test]
fn a_connection_closed_before_the_first_answer_hints_at_the_client_certificate() {
    let failure = broken(&target(), "status", &Notes::default());
    assert_eq!(failure.kind, Kind::NotPermitted);
    assert!(failure.message.contains("client certificate"), "{failure}");
}

#[test]
fn every_problem_of_a_refused_document_is_told_once() {
    let problem = |line, message: &str| machined_proto::v1::Problem {
        line,
        column: 3,
        path: "machine.role".into(),
        message: message.into(),
        hint: "did you mean `worker`?".into(),
    };
    let details = machined_proto::v1::Problems {
        problems: vec![problem(4, "is unknown"), problem(9, "is missing")],
    };
    let answer = tonic::Status::with_details(
        Code::InvalidArgument,
        "2 problems: 4:3 machine.role: is unknown; …",
        details.encode_to_vec().into(),
    );
    let failure = status(&target(), "apply-config", &answer, &Notes::default());
    assert_eq!(failure.kind, Kind::Refused);
    assert_eq!(
        failure.message,
        "cp1: the document is refused: 2 problems\n  \
         4:3 machine.role: is unknown (did you mean `worker`?)\n  \
         9:3 machine.role: is missing (did you mean `worker`?)"
    );
}

#[test]
fn codes_become_kinds() {
    for (code, kind) in [
        (Code::PermissionDenied, Kind::NotPermitted),
        (Code::Unavailable, Kind::Unreachable),
        (Code::FailedPrecondition, Kind::Failed),
        (Code::Unimplemented, Kind::Failed),
    ] {
        let answer = tonic::Status::new(code, "because");
        assert_eq!(
            status(&target(), "verb", &answer, &Notes::default()).kind,
            kind,
            "{code:?}"
        );
    }
}

#[test]
fn every_failure_of_validity_names_the_clocks() {
    use rustls::Error as E;
    for error in [
        E::InvalidCertificate(CertificateError::Expired),
        E::InvalidCertificate(CertificateError::NotValidYet),
        E::AlertReceived(AlertDescription::CertificateExpired),
    ] {
        let failure = tls_error(&target(), &error);
        let next = failure.next.unwrap_or_default();
        assert!(next.contains("clock"), "{error}: {next}");
    }
}
