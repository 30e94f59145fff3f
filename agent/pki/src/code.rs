//! The one-time enrolment code that a machine without an owner shows on its console.
//!
//! Whoever reads the code from the console proves it to the machine, and the machine proves it
//! back, bound to the TLS channel they both see: a man in the middle has another channel, so what
//! he relays is worthless, and he learns nothing that lets him guess faster than 2^90.

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{PkiError, random};

/// Digits and letters without I, L, O and U: Crockford's, made to be read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Random characters, 5 bits each: 90 bits.
const DATA: usize = 18;
/// Random characters and the two of the checksum.
const LENGTH: usize = DATA + 2;
/// The largest prime that two characters can hold, and a weight whose first powers all differ:
/// every mistyped character and every swap of two random ones changes the checksum.
const PRIME: u32 = 1021;
const WEIGHT: u32 = 37;

/// A code such as `7Q2MK-4F0ZT-XW9B3-RC6HN`.
///
/// `Display` shows it, for the console is where it belongs; `Debug` does not.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EnrolmentCode([u8; LENGTH]);

/// Whose proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The operator's tool.
    Client,
    /// The machine that shows the code.
    Machine,
}

/// Why a text is not a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Too few or too many characters.
    #[error("an enrolment code has {LENGTH} letters and digits, this has {given}")]
    Length {
        /// How many there are; counting stops soon after too many.
        given: usize,
    },
    /// A character that no code has.
    #[error("\"{character}\" at position {position} is in no enrolment code")]
    Character {
        /// The character.
        character: char,
        /// Its place among the letters and digits, from 1.
        position: usize,
    },
    /// The shape is right and the checksum is not: mistyped.
    #[error("the enrolment code is mistyped (its last two characters do not fit the others)")]
    Checksum,
}

impl EnrolmentCode {
    /// A new code.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn generate() -> Result<Self, PkiError> {
        let mut code = [0_u8; LENGTH];
        let mut random: [u8; DATA] = random::bytes("an enrolment code")?;
        for (place, byte) in code.iter_mut().zip(random) {
            *place = byte % 32;
        }
        random.zeroize();
        let check = checksum(&code[..DATA]);
        code[DATA..].copy_from_slice(&check);
        Ok(Self(code.map(|value| ALPHABET[usize::from(value)])))
    }

    /// Reads what a person typed: case, spaces and dashes do not matter, O is 0, I and L are 1.
    ///
    /// # Errors
    /// If it is no code, or a mistyped one.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut values = [0_u8; LENGTH];
        let mut given = 0;
        for character in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let Some(place) = values.get_mut(given) else {
                return Err(CodeError::Length { given: given + 1 });
            };
            given += 1;
            *place = value(character).ok_or(CodeError::Character {
                character,
                position: given,
            })?;
        }
        if given != LENGTH {
            return Err(CodeError::Length { given });
        }
        if checksum(&values[..DATA]) != values[DATA..] {
            return Err(CodeError::Checksum);
        }
        Ok(Self(values.map(|value| ALPHABET[usize::from(value)])))
    }

    /// What `side` sends to show that it knows the code and sees this TLS channel.
    #[must_use]
    pub fn proof(&self, side: Side, exporter: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.key(), &message(side, exporter));
        let mut proof = [0_u8; 32];
        proof.copy_from_slice(tag.as_ref());
        proof
    }

    /// True if `proof` is the one that `side` would send on this TLS channel. Takes the same time
    /// wherever they differ.
    #[must_use]
    pub fn verify(&self, side: Side, exporter: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.key(), &message(side, exporter), proof).is_ok()
    }

    /// The key is the canonical text: the 20 characters in capitals, without dashes.
    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

/// What is signed. The side's name keeps one side's proof from being sent back as the other's.
fn message(side: Side, exporter: &[u8]) -> Vec<u8> {
    let domain: &[u8] = match side {
        Side::Client => b"machined enrolment client\0",
        Side::Machine => b"machined enrolment machine\0",
    };
    [domain, exporter].concat()
}

fn value(character: char) -> Option<u8> {
    let character = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = ALPHABET
        .iter()
        .position(|&letter| char::from(letter) == character)?;
    u8::try_from(place).ok()
}

fn checksum(data: &[u8]) -> [u8; 2] {
    let sum = data
        .iter()
        .fold(0, |sum, &value| (sum * WEIGHT + u32::from(value)) % PRIME);
    // Once more, so that the last character also carries a weight other than one.
    let sum = sum * WEIGHT % PRIME;
    let character = |value: u32| u8::try_from(value).expect("below 32 by construction");
    [character(sum / 32), character(sum % 32)]
}

impl fmt::Display for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, character) in self.0.iter().enumerate() {
            if number > 0 && number % 5 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*character))?;
        }
        Ok(())
    }
}

impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::REDACTED)
    }
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
