//! The code on the console, and how often it may be guessed.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machine_pki::PkiError;
use machine_pki::code::{EnrolmentCode, Side};

use crate::api::listen::source;

/// Wrong proofs that cost no wait: a person mistypes.
const FREE: u32 = 5;

/// The wait after one more, doubled with each.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Wrong proofs after which the code is exchanged for a new one.
const WORN_OUT: u32 = 20;

/// Why a proof was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A config was accepted through the code already.
    #[error("the enrolment code was used")]
    Used,
    /// Wait first.
    #[error("too many wrong codes: try again in {} s", .0.as_secs() + 1)]
    Wait(Duration),
    /// Another code, or another TLS connection than the one it was made for.
    #[error(
        "the proof is wrong: the code is not the one on this machine's console, or somebody sits \
         between the two ends"
    )]
    Wrong,
    /// As before, and once too often.
    #[error("the proof is wrong, and the machine now shows another code")]
    Exchanged,
}

/// Checks proofs against the present code.
pub struct Attempts {
    show: Box<dyn Fn(&EnrolmentCode) + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    code: Option<EnrolmentCode>,
    wrong: u32,
    not_before: Option<Instant>,
    guessed: HashSet<IpAddr>,
}

impl State {
    fn fresh() -> Result<Self, PkiError> {
        let code = EnrolmentCode::generate()?;
        Ok(Self {
            code: Some(code),
            wrong: 0,
            not_before: None,
            guessed: HashSet::new(),
        })
    }
}

impl Attempts {
    /// Makes a code and shows it; `show` is called again whenever it changes.
    pub fn new(show: Box<dyn Fn(&EnrolmentCode) + Send + Sync>) -> Result<Self, PkiError> {
        let state = State::fresh()?;
        if let Some(code) = &state.code {
            show(code);
        }
        Ok(Self {
            show,
            state: Mutex::new(state),
        })
    }

    /// The machine's own proof in return for a right one.
    ///
    /// A source that has not guessed wrongly yet need not wait for the guesses of others: else
    /// anybody on the network could keep the operator out by guessing all the time.
    pub fn prove(
        &self,
        from: IpAddr,
        exporter: &[u8],
        proof: &[u8],
        now: Instant,
    ) -> Result<[u8; 32], Refusal> {
        let (from, mut state) = (source(from), self.lock());
        let code = state.code.as_ref().ok_or(Refusal::Used)?;
        if let Some(not_before) = state.not_before.filter(|at| *at > now)
            && state.guessed.contains(&from)
        {
            return Err(Refusal::Wait(not_before - now));
        }
        if code.verify(Side::Client, exporter, proof) {
            return Ok(code.proof(Side::Machine, exporter));
        }
        state.wrong += 1;
        state.guessed.insert(from);
        if state.wrong >= WORN_OUT
            && let Ok(fresh) = State::fresh()
        {
            *state = fresh;
            if let Some(code) = &state.code {
                (self.show)(code);
            }
            return Err(Refusal::Exchanged);
        }
        if state.wrong >= FREE {
            let doublings = (state.wrong - FREE).min(8);
            let wait = FIRST_WAIT * 2_u32.pow(doublings);
            state.not_before = Some(now + wait.min(LONGEST_WAIT));
        }
        Err(Refusal::Wrong)
    }

    /// The code is dead from here on.
    pub fn use_up(&self) {
        self.lock().code = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Shown = Arc<Mutex<Vec<EnrolmentCode>>>;

    const OPERATOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 2));
    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 66));

    fn attempts() -> (Attempts, Shown) {
        let shown = Shown::default();
        let keep = Arc::clone(&shown);
        let show = move |code: &EnrolmentCode| keep.lock().unwrap().push(code.clone());
        (Attempts::new(Box::new(show)).unwrap(), shown)
    }

    #[test]
    fn a_right_proof_is_answered_and_an_echo_is_wrong() {
        let (attempts, shown) = attempts();
        let code = shown.lock().unwrap()[0].clone();
        let now = Instant::now();
        let right = code.proof(Side::Client, b"channel");
        let answer = attempts.prove(OPERATOR, b"channel", &right, now).unwrap();
        assert!(code.verify(Side::Machine, b"channel", &answer));
        assert_eq!(
            attempts.prove(OPERATOR, b"other", &right, now),
            Err(Refusal::Wrong)
        );
        assert_eq!(
            attempts.prove(OPERATOR, b"channel", &answer, now),
            Err(Refusal::Wrong)
        );
        assert_eq!(
            attempts.prove(OPERATOR, b"channel", b"", now),
            Err(Refusal::Wrong)
        );
    }

    #[test]
    fn guesses_wait_longer_and_longer_but_not_those_who_did_not_guess() {
        let (attempts, shown) = attempts();
        let now = Instant::now();
        for _ in 0..FREE {
            assert_eq!(
                attempts.prove(STRANGER, b"x", b"guess", now),
                Err(Refusal::Wrong)
            );
        }
        let wait = Refusal::Wait(FIRST_WAIT);
        assert_eq!(attempts.prove(STRANGER, b"x", b"guess", now), Err(wait));
        let later = now + FIRST_WAIT;
        assert_eq!(
            attempts.prove(STRANGER, b"x", b"guess", later),
            Err(Refusal::Wrong)
        );
        let wait = Refusal::Wait(FIRST_WAIT * 2);
        assert_eq!(attempts.prove(STRANGER, b"x", b"guess", later), Err(wait));

        let right = shown.lock().unwrap()[0].proof(Side::Client, b"y");
        assert!(attempts.prove(OPERATOR, b"y", &right, later).is_ok());
        assert!(matches!(
            attempts.prove(STRANGER, b"y", &right, later),
            Err(Refusal::Wait(_))
        ));
    }

    #[test]
    fn a_worn_out_code_is_exchanged() {
        let (attempts, shown) = attempts();
        let mut now = Instant::now();
        for _ in 1..WORN_OUT {
            assert_eq!(
                attempts.prove(STRANGER, b"x", b"guess", now),
                Err(Refusal::Wrong)
            );
            now += LONGEST_WAIT;
        }
        assert_eq!(
            attempts.prove(STRANGER, b"x", b"guess", now),
            Err(Refusal::Exchanged)
        );
        let shown = shown.lock().unwrap();
        let (old, new) = (&shown[0], &shown[1]);
        let proof = old.proof(Side::Client, b"x");
        assert_eq!(
            attempts.prove(OPERATOR, b"x", &proof, now),
            Err(Refusal::Wrong)
        );
        assert!(
            attempts
                .prove(OPERATOR, b"x", &new.proof(Side::Client, b"x"), now)
                .is_ok()
        );
    }

    #[test]
    fn a_used_code_is_dead() {
        let (attempts, shown) = attempts();
        attempts.use_up();
        let proof = shown.lock().unwrap()[0].proof(Side::Client, b"x");
        let answer = attempts.prove(OPERATOR, b"x", &proof, Instant::now());
        assert_eq!(answer, Err(Refusal::Used));
    }
}
