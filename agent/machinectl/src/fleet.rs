//! The same thing on several machines at once, each with its own result.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::failure::{Failure, of_many};
use crate::target::Target;

/// How many machines are talked to at once.
const AT_ONCE: usize = 16;

/// One machine's result.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The machine.
    pub target: Target,
    /// What came of it.
    pub result: Result<T, Failure>,
}

/// Asks every machine, several at once; results keep the order of the machines.
pub async fn ask<T, F>(targets: Vec<Target>, work: impl Fn(Target) -> F) -> Vec<Outcome<T>>
where
    F: Future<Output = Result<T, Failure>>,
{
    let asked = targets.into_iter().map(|target| {
        let answer = work(target.clone());
        async move {
            Outcome {
                target,
                result: answer.await,
            }
        }
    });
    futures_util::stream::iter(asked)
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// What came of machines that are taken one after the other.
#[derive(Debug)]
pub struct InTurn<T> {
    /// Of those that were begun. Only the last of them may have failed.
    pub outcomes: Vec<Outcome<T>>,
    /// Those that were not.
    pub left: Vec<Target>,
}

/// Takes one machine after the other, and ends with the first that fails.
pub async fn in_turn<T, F>(targets: Vec<Target>, work: impl Fn(Target) -> F) -> InTurn<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut outcomes = Vec::new();
    let mut left = targets.into_iter();
    for target in left.by_ref() {
        let result = work(target.clone()).await;
        let failed = result.is_err();
        outcomes.push(Outcome { target, result });
        if failed {
            break;
        }
    }
    InTurn {
        outcomes,
        left: left.collect(),
    }
}

impl<T> InTurn<T> {
    /// The failure that ended it, with who was not begun and how to go on.
    pub fn conclude(mut self, go_on: Option<String>) -> Result<(), Failure> {
        let Some(Err(failure)) = self.outcomes.pop().map(|last| last.result) else {
            return Ok(());
        };
        let left: Vec<_> = self.left.iter().map(Target::label).collect();
        let mut message = failure.message.clone();
        if !left.is_empty() {
            if let Some(next) = &failure.next {
                message.push_str(&format!("\n  next: {next}"));
            }
            message.push_str(&format!("\nnot begun: {}", left.join(", ")));
        }
        let next = match (left.is_empty(), failure.next) {
            (true, Some(next)) => Some(next),
            _ => go_on,
        };
        Err(Failure {
            kind: failure.kind,
            message,
            next,
        })
    }
}

/// Tells every failure on standard error and gives the one that decides the exit code.
/// A single machine's failure is handed on as it is.
pub fn conclude<T>(mut outcomes: Vec<Outcome<T>>) -> Result<(), Failure> {
    let asked = outcomes.len();
    if asked == 1 {
        return outcomes.remove(0).result.map(drop);
    }
    let mut kinds = Vec::new();
    for outcome in outcomes {
        if let Err(failure) = outcome.result {
            kinds.push(failure.kind);
            crate::tell!("error: {failure}");
        }
    }
    of_many(&kinds, asked).map_or(Ok(()), Err)
}

/// Results for programs: a list with one entry a machine.
pub fn as_value<T>(outcomes: &[Outcome<T>], shape: impl Fn(&T) -> Value) -> Value {
    let entries = outcomes.iter().map(|outcome| {
        let node = outcome.target.label();
        match &outcome.result {
            Ok(result) => json!({ "node": node, "result": shape(result) }),
            Err(failure) => json!({
                "node": node,
                "error": {
                    "code": failure.kind as u8,
                    "message": failure.message,
                    "next": failure.next,
                },
            }),
        }
    });
    entries.collect()
}

/// The results that came, with their machines' names.
pub fn good<T>(outcomes: &[Outcome<T>]) -> impl Iterator<Item = (&str, &T)> {
    outcomes.iter().filter_map(|outcome| {
        outcome
            .result
            .as_ref()
            .ok()
            .map(|result| (outcome.target.label(), result))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[tokio::test]
    async fn one_after_the_other_ends_with_the_first_that_fails() {
        let names = |names: &[&str]| -> Vec<Target> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let work = |target: Target| async move {
            match target.label() {
                "b" => Err(Failure::unreachable("b is away").next("look at it")),
                _ => Ok(()),
            }
        };
        let turns = in_turn(names(&["a", "b", "c", "d"]), work).await;
        assert_eq!(turns.outcomes.len(), 2);
        let failure = turns.conclude(Some("go on".to_owned())).unwrap_err();
        assert_eq!(failure.kind, Kind::Unreachable);
        assert_eq!(
            failure.message,
            "b is away\n  next: look at it\nnot begun: c, d"
        );
        assert_eq!(failure.next.as_deref(), Some("go on"));
        // Nobody is left: what the machine says is next.
        let turns = in_turn(names(&["a", "b"]), work).await;
        let failure = turns.conclude(None).unwrap_err();
        assert_eq!(failure.message, "b is away");
        assert_eq!(failure.next.as_deref(), Some("look at it"));
        assert!(
            in_turn(names(&["a", "c"]), work)
                .await
                .conclude(None)
                .is_ok()
        );
    }

    #[tokio::test]
    async fn results_keep_the_order_and_one_failure_hides_no_result() {
        let targets: Vec<Target> = ["a", "b", "c"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect();
        let outcomes = ask(targets, |target| async move {
            match target.label() {
                "b" => Err(Failure::unreachable("b is away")),
                name => Ok(name.to_owned()),
            }
        })
        .await;
        let value = as_value(&outcomes, |name| json!(name));
        assert_eq!(value[0]["result"], "a");
        assert_eq!(value[1]["error"]["code"], 4);
        assert_eq!(good(&outcomes).count(), 2);
        assert_eq!(conclude(outcomes).unwrap_err().kind, Kind::Unreachable);
    }
}
