//! The code's alphabet, its checksum and its proofs.

use proptest::prelude::*;

use super::*;

#[test]
fn display_parses_back() {
    let code = EnrolmentCode::generate().unwrap();
    let text = code.to_string();
    assert_eq!(text.len(), 23);
    assert_eq!(EnrolmentCode::parse(&text).unwrap(), code);
    assert_ne!(EnrolmentCode::generate().unwrap(), code);
    assert_eq!(format!("{code:?}"), "<redacted>");
}

#[test]
fn people_type_it_as_they_like() {
    let code = EnrolmentCode::parse(&fixed("1000000000ABCDEFGH")).unwrap();
    let text = code.to_string();
    let tolerated = [
        text.to_lowercase(),
        text.replace('-', " "),
        format!("  {}\n", text.replace('-', "")),
        text.replace('0', "O"),
        text.replace('0', "o").replace('1', "l"),
        text.replace('1', "I"),
    ];
    for typed in tolerated {
        assert_eq!(EnrolmentCode::parse(&typed), Ok(code.clone()), "{typed}");
    }
}

#[test]
fn each_fault_is_told_apart() {
    let text = EnrolmentCode::generate().unwrap().to_string();
    assert_eq!(
        EnrolmentCode::parse(""),
        Err(CodeError::Length { given: 0 })
    );
    assert_eq!(
        EnrolmentCode::parse(&text[..22]),
        Err(CodeError::Length { given: 19 })
    );
    assert_eq!(
        EnrolmentCode::parse(&format!("{text}0")),
        Err(CodeError::Length { given: 21 })
    );
    let with_u = format!("U{}", &text[1..]);
    assert_eq!(
        EnrolmentCode::parse(&with_u),
        Err(CodeError::Character {
            character: 'U',
            position: 1
        })
    );
}

/// Not a sample but all of them: 20 places times 31 other characters, and all swaps of random ones.
#[test]
fn the_checksum_sees_every_single_slip() {
    let text: Vec<char> = fixed("7Q2MK4F0ZTXW9B3RC6").chars().collect();
    let parse = |text: &[char]| EnrolmentCode::parse(&text.iter().collect::<String>());
    assert!(parse(&text).is_ok());
    for place in 0..LENGTH {
        for &letter in ALPHABET {
            let mut slipped = text.clone();
            slipped[place] = char::from(letter);
            if slipped != text {
                assert_eq!(parse(&slipped), Err(CodeError::Checksum));
            }
        }
    }
    for (a, b) in (0..DATA).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let mut swapped = text.clone();
        swapped.swap(a, b);
        if swapped != text {
            assert_eq!(parse(&swapped), Err(CodeError::Checksum));
        }
    }
}

#[test]
fn a_proof_holds_for_its_side_channel_and_code_only() {
    let code = EnrolmentCode::generate().unwrap();
    let proof = code.proof(Side::Client, b"channel");
    assert!(code.verify(Side::Client, b"channel", &proof));
    assert!(!code.verify(Side::Machine, b"channel", &proof));
    assert!(!code.verify(Side::Client, b"another", &proof));
    assert!(
        !EnrolmentCode::generate()
            .unwrap()
            .verify(Side::Client, b"channel", &proof)
    );
    assert!(!code.verify(Side::Client, b"channel", &proof[..31]));
    assert!(!code.verify(Side::Client, b"channel", b""));
}

/// Computed with another tool, so that both ends of a wire may be of different builds:
/// `printf 'machined enrolment client\0channel' | openssl dgst -sha256 -hmac <the 20 characters>`.
#[test]
fn the_proof_is_plain_hmac() {
    let code = EnrolmentCode::parse(&fixed("000000000000000000")).unwrap();
    let hex = |side| data_encoding::HEXLOWER.encode(&code.proof(side, b"channel"));
    assert_eq!(
        hex(Side::Client),
        "3521e7869f145abaaa041458bec033c3ad83628ff7e84dd4f143c1006c4de46a"
    );
    assert_eq!(
        hex(Side::Machine),
        "3f1b5dd4d17a7399cc26dc831f6d0711e9f1ee33f036be086634b890a3ccdfc7"
    );
}

proptest! {
    #[test]
    fn parse_never_panics(text in any::<String>()) {
        let _ = EnrolmentCode::parse(&text);
    }

    #[test]
    fn parse_never_panics_on_near_misses(text in "[0-9A-Za-z -]{0,40}") {
        let _ = EnrolmentCode::parse(&text);
    }
}

/// The code whose random characters are these.
fn fixed(data: &str) -> String {
    let values: Vec<u8> = data.chars().map(|c| value(c).unwrap()).collect();
    let check = checksum(&values).map(|v| char::from(ALPHABET[usize::from(v)]));
    format!("{data}{}{}", check[0], check[1])
}
