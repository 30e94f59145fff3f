use std::sync::LazyLock;

use proptest::prelude::*;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};

use super::*;

/// Written by Go, by the calls that kubelet writes it with.
const KUBELET: &str = "\
-----BEGIN CERTIFICATE REQUEST-----
MIIBNDCB2gIBADAwMRUwEwYDVQQKEwxzeXN0ZW06bm9kZXMxFzAVBgNVBAMTDnN5
c3RlbTpub2RlOncxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEcas8Rh1fkij
2ZVafTWTxCKAZ7Z609e7EkDyc9sybpCRyBdAYVIV7oD+9HCTxEEbrGX5AbMMyD6K
g5kKE+gAF6BIMEYGCSqGSIb3DQEJDjE5MDcwNQYDVR0RBC4wLIICdzGCDncxLmV4
YW1wbGUub3JnhwQKAAIQhxD9AAAAAAAAAAAAAAAAAAAWMAoGCCqGSM49BAMCA0kA
MEYCIQCQI9o4D10ipVACSbbYqTiqNzENO5XjwPkcVOErS4TBCwIhALt7H8M9cyfu
1i2GEfE0k9JbjIkje1PzdKCQCouvZdyv
-----END CERTIFICATE REQUEST-----
";

fn params(sans: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "system:node:w1");
    name.push(DnType::OrganizationName, "system:nodes");
    params.subject_alt_names = sans;
    params
}

fn signed(params: &CertificateParams) -> String {
    let key = KeyPair::generate().unwrap();
    let request = params.serialize_request(&key).unwrap();
    block(request.der())
}

/// With this as the only attribute's value, whatever it is.
fn with(value: Vec<u8>) -> String {
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());
    let attribute = rcgen::Attribute {
        oid: &[1, 2, 840, 113_549, 1, 9, 14],
        values: value,
    };
    let request = params(Vec::new()).serialize_request_with_attributes(&*KEY, vec![attribute]);
    block(request.unwrap().der())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(name).unwrap())
}

fn why(pem: &str) -> String {
    inspect_request(pem).unwrap_err().to_string()
}

#[test]
fn all_that_a_request_asks_for_is_read() {
    let facts = inspect_request(KUBELET).unwrap();
    let expected = RequestFacts {
        common_names: vec!["system:node:w1".to_owned()],
        organizations: vec!["system:nodes".to_owned()],
        dns: ["w1", "w1.example.org"].map(str::to_owned).into(),
        ips: ["10.0.2.16", "fd00::16"]
            .map(|ip| ip.parse().unwrap())
            .into(),
    };
    assert_eq!(facts, expected);

    let sans = vec![
        dns("w1"),
        SanType::IpAddress("fd00::16".parse().unwrap()),
        SanType::IpAddress("::ffff:10.0.2.17".parse().unwrap()),
    ];
    let facts = inspect_request(&signed(&params(sans))).unwrap();
    let ips = ["10.0.2.17", "fd00::16"].map(|ip| ip.parse().unwrap());
    assert_eq!(facts.ips, ips.into());

    // Lengths of more than one byte.
    let many = (0..40).map(|n| dns(&format!("node-{n}.example.org")));
    let facts = inspect_request(&signed(&params(many.collect()))).unwrap();
    assert_eq!(facts.dns.len(), 40);

    let none = inspect_request(&signed(&params(Vec::new()))).unwrap();
    assert!(none.dns.is_empty() && none.ips.is_empty());
}

#[test]
fn what_asks_for_more_is_refused() {
    let mail = SanType::Rfc822Name(Ia5String::try_from("a@example.org").unwrap());
    let uri = SanType::URI(Ia5String::try_from("spiffe://example.org/w1").unwrap());
    for other in [mail, uri] {
        let why = why(&signed(&params(vec![dns("w1"), other])));
        assert!(why.contains("neither DNS names nor addresses"), "{why}");
    }
    let mut unit = params(vec![dns("w1")]);
    let name = &mut unit.distinguished_name;
    name.push(DnType::OrganizationalUnitName, "more");
    assert!(why(&signed(&unit)).contains("more than CN and O"));
    // A second list of names: DNS:evil.
    let names = [&[0x30, 0x06, 0x82, 0x04][..], b"evil"].concat();
    let mut second = params(vec![dns("w1")]);
    second.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], names)];
    assert!(why(&signed(&second)).contains("more extensions than names"));
    let mut other = params(Vec::new());
    let content = vec![0x30, 0x03, 0x01, 0x01, 0xff];
    other.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 19], content)];
    assert!(why(&signed(&other)).contains("it asks for extension 2.5.29.19"));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let names = |name: &[u8]| der(OCTETS, &der(SEQUENCE, &der(DNS_NAME, name)));
    let extension = |parts: &[&[u8]]| der(SEQUENCE, &der(SEQUENCE, &parts.concat()));
    let own = names(b"w1");
    let plain = extension(&[&ALTERNATIVE_NAMES, &own]);
    let good = with(der(SET, &plain));
    assert_eq!(
        inspect_request(&good).unwrap().dns,
        ["w1".to_owned()].into()
    );
    let evil = extension(&[&ALTERNATIVE_NAMES, &names(b"evil")]);
    let critical = extension(&[&ALTERNATIVE_NAMES, &[0x01, 0x01, 0xff], &own]);
    let tail = der(OCTETS, &[&own[2..], &der(DNS_NAME, b"evil")].concat());
    let unread = extension(&[&ALTERNATIVE_NAMES, &own, &names(b"evil")]);
    let short = [&[SET, 0x00][..], &plain].concat();
    let length = u8::try_from(plain.len()).unwrap();
    let long = [&[SET, 0x81, length][..], &plain].concat();
    for value in [
        der(SET, &[&plain[..], &evil].concat()),
        der(SET, &[&evil[..], &plain].concat()),
        der(SET, &critical),
        der(SET, &extension(&[&ALTERNATIVE_NAMES, &tail])),
        der(SET, &unread),
        der(SET, &der(SEQUENCE, &[])),
        short,
        long,
    ] {
        let read = inspect_request(&with(value.clone()));
        assert!(read.is_err(), "{value:02x?}: {read:?}");
    }
    for bytes in [&[10_u8, 0, 2][..], &[], &[0; 5], &[0; 32]] {
        let value = der(OCTETS, &der(SEQUENCE, &der(IP_ADDRESS, bytes)));
        let value = der(SET, &extension(&[&ALTERNATIVE_NAMES, &value]));
        let why = why(&with(value));
        assert!(why.contains("an address of"), "{why}");
    }
}

#[test]
fn only_one_plain_block_is_a_request() {
    let good = signed(&params(vec![dns("w1")]));
    assert!(inspect_request(&good).is_ok());
    let other = signed(&params(vec![dns("w2")]));
    let begin = "-----BEGIN CERTIFICATE REQUEST-----\n";
    for text in [
        String::new(),
        "x".to_owned(),
        good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        format!("{good}\n{other}"),
        format!("first\n{good}"),
        format!("{good}\nlast"),
        // Which block is it? Go's reader passes over what it cannot read.
        good.replace(begin, &format!("{begin}Proc-Type: 4\n\n")),
        good.replace('\n', "\r\n"),
        good.replacen('\n', "\n\n", 2),
    ] {
        assert!(inspect_request(&text).is_err(), "{text}");
    }
}

#[test]
fn its_own_key_has_signed_it() {
    let good = CertificateSigningRequestDer::from_pem_slice(KUBELET.as_bytes()).unwrap();
    let mut changed = good.to_vec();
    let at = changed.windows(2).position(|two| two == b"w1").unwrap();
    changed[at] = b'x';
    assert!(inspect_request(&block(&changed)).is_err());
    let longer = [&good[..], &[0]].concat();
    assert!(why(&block(&longer)).contains("bytes after its end"));
    assert!(inspect_request(&block(&good[..good.len() - 1])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Signed as it should be, and changed inside: no panic, and no name that is not there.
    #[test]
    fn changed_names(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let names = [der(DNS_NAME, b"w1"), der(IP_ADDRESS, &[10, 0, 2, 16])].concat();
        let value = der(OCTETS, &der(SEQUENCE, &names));
        let extension = der(SEQUENCE, &[&ALTERNATIVE_NAMES[..], &value].concat());
        let mut value = der(SET, &der(SEQUENCE, &extension));
        let length = value.len();
        for (place, byte) in changes {
            value[usize::from(place) % length] = byte;
        }
        if let Ok(facts) = inspect_request(&with(value.clone())) {
            let bytes = |ip: &IpAddr| match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let names = facts.dns.iter().map(|name| name.as_bytes().to_vec());
            for name in names.chain(facts.ips.iter().map(bytes)) {
                prop_assert!(value.windows(name.len()).any(|part| part == name));
            }
        }
    }
}
