//! etcd's snapshots: a database and, at its end, the SHA-256 of it.

use sha2::{Digest, Sha256};

/// The length of the digest at the end.
const DIGEST: usize = 32;

/// A snapshot that is being received.
#[derive(Default)]
pub struct Checked {
    hash: Sha256,
    /// What may be the digest.
    tail: Vec<u8>,
    size: u64,
}

impl Checked {
    /// The next part, of any length.
    pub fn push(&mut self, part: &[u8]) {
        self.size += part.len() as u64;
        self.tail.extend_from_slice(part);
        let sure = self.tail.len().saturating_sub(DIGEST);
        self.hash.update(&self.tail[..sure]);
        self.tail.drain(..sure);
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest, hexadecimal, if it is that of what came before it.
    pub fn finish(self) -> Result<String, String> {
        let digest = self.hash.finalize();
        match self.size > DIGEST as u64 && self.tail[..] == digest[..] {
            true => Ok(data_encoding::HEXLOWER.encode(&digest)),
            false => Err(format!(
                "the {} bytes that came are no whole snapshot",
                self.size
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(data: &[u8]) -> Vec<u8> {
        [data, &Sha256::digest(data)[..]].concat()
    }

    fn received(bytes: &[u8], step: usize) -> Result<String, String> {
        let mut checked = Checked::default();
        bytes.chunks(step).for_each(|part| checked.push(part));
        assert_eq!(checked.size(), bytes.len() as u64);
        checked.finish()
    }

    #[test]
    fn whole_ones_are_known_however_they_come() {
        let whole = snapshot(&[7; 1000]);
        for step in [1, 31, 32, 33, 512, 2000] {
            assert!(received(&whole, step).is_ok(), "{step}");
        }
    }

    #[test]
    fn damaged_ones_are_too() {
        let whole = snapshot(&[7; 1000]);
        let mut turned = whole.clone();
        turned[500] ^= 1;
        for damaged in [&whole[..1000], &whole[..1031], &turned, &[], &snapshot(&[])] {
            assert!(received(damaged, 100).is_err(), "{}", damaged.len());
        }
    }
}
