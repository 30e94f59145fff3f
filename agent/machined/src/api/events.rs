//! The event stream: kept events from a number on, then live ones, and a word where some are
//! missing.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::status::{Board, Event};

/// Events from a number on; with `follow`, without end.
pub(super) fn stream(
    board: Arc<Board>,
    from: u64,
    follow: bool,
) -> impl Stream<Item = Event> + Send + 'static {
    let mut tail = Tail::new(board, from, follow);
    // Numbers begin anew with the agent: a number that was not given yet is one of its
    // predecessor's.
    if from > tail.board.last_event() + 1 {
        tail = Tail::new(tail.board, 0, follow);
        let message = format!("the agent was started anew: no event {from} yet; these are all");
        tail.queue.push_front(note(0, message));
    }
    unfold(
        tail,
        |mut tail| async move { Some((tail.next().await?, tail)) },
    )
}

struct Tail {
    board: Arc<Board>,
    queue: VecDeque<Event>,
    live: Receiver<Event>,
    // The number that comes next if none is missing; 0: any.
    expected: u64,
    follow: bool,
}

impl Tail {
    fn new(board: Arc<Board>, from: u64, follow: bool) -> Self {
        let (kept, live) = board.events_from(from);
        Self {
            board,
            queue: kept.into(),
            live,
            expected: from,
            follow,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(self.in_order(event));
            }
            if !self.follow {
                return None;
            }
            match self.live.recv().await {
                Ok(event) if event.number < self.expected => {}
                Ok(event) => self.queue.push_back(event),
                // This reader was too slow for the channel; most of it is still kept.
                Err(RecvError::Lagged(_)) => {
                    let (kept, live) = self.board.events_from(self.expected);
                    (self.queue, self.live) = (kept.into(), live);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn in_order(&mut self, event: Event) -> Event {
        let missing = event.number.saturating_sub(self.expected);
        if self.expected > 0 && missing > 0 {
            self.expected = event.number;
            let message = format!("{missing} events are no longer kept");
            let note = note(event.number - 1, message);
            self.queue.push_front(event);
            return note;
        }
        if event.number > 0 {
            self.expected = event.number + 1;
        }
        event
    }
}

// Carries the last missing number, so that whoever resumes after it misses nothing more.
fn note(number: u64, message: String) -> Event {
    let time_ms = crate::status::now_ms();
    Event {
        number,
        time_ms,
        kind: "gap",
        object: "events".to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn board(events: u64) -> Arc<Board> {
        let board = Arc::new(Board::default());
        for number in 1..=events {
            board.emit("stage", "host", format!("event {number}"));
        }
        board
    }

    #[tokio::test]
    async fn replays_and_ends() {
        let stream = stream(board(5), 3, false);
        let numbers: Vec<_> = stream.map(|e| e.number).collect().await;
        assert_eq!(numbers, [3, 4, 5]);
    }

    #[tokio::test]
    async fn replays_then_follows_without_gap_or_double() {
        let board = board(2);
        let stream = stream(Arc::clone(&board), 0, true);
        tokio::pin!(stream);
        board.emit("stage", "host", "event 3");
        let mut numbers = Vec::new();
        for _ in 0..3 {
            numbers.push(stream.next().await.unwrap().number);
        }
        board.emit("stage", "host", "event 4");
        numbers.push(stream.next().await.unwrap().number);
        assert_eq!(numbers, [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn says_what_is_no_longer_kept() {
        let events: Vec<_> = stream(board(600), 1, false).collect().await;
        assert_eq!(
            (events[0].kind, events[0].number),
            ("gap", events[1].number - 1)
        );
        assert_eq!(events[0].message, "88 events are no longer kept");
        assert_eq!(events.last().unwrap().number, 600);
        let all = stream(board(600), 0, false).collect::<Vec<_>>().await;
        assert_eq!(
            all.len(),
            512,
            "whoever asks for what is kept misses nothing"
        );
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_and_stays() {
        let board = board(1);
        let stream = stream(Arc::clone(&board), 0, true);
        tokio::pin!(stream);
        assert_eq!(stream.next().await.unwrap().number, 1);
        for number in 2..=1500 {
            board.emit("stage", "host", format!("event {number}"));
        }
        let gap = stream.next().await.unwrap();
        assert_eq!(gap.kind, "gap");
        assert_eq!(stream.next().await.unwrap().number, gap.number + 1);
    }

    #[tokio::test]
    async fn a_number_of_an_earlier_agent_is_explained() {
        let events: Vec<_> = stream(board(2), 900, false).collect().await;
        assert_eq!(events[0].kind, "gap");
        assert_eq!((events[1].number, events[2].number), (1, 2));
    }
}
