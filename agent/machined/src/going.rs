//! Whether an order to go down is being carried out by this run of the agent. It is in no ledger: who
//! is killed meanwhile takes the order along.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by who carries it out and who looks.
#[derive(Debug, Clone, Default)]
pub struct GoingDown(Arc<AtomicUsize>);

/// One such order; dropped, it is called off.
#[derive(Debug)]
pub struct Going(Option<GoingDown>);

impl GoingDown {
    /// An order is carried out from here on.
    pub fn begin(&self) -> Going {
        self.0.fetch_add(1, Ordering::SeqCst);
        Going(Some(self.clone()))
    }

    /// Whether one is.
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Going {
    /// The machine has been told: nothing takes it back.
    pub fn lasts(mut self) {
        self.0 = None;
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(of) = self.0.take() {
            of.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_any_order_does() {
        let down = GoingDown::default();
        assert!(!down.is_so());
        let (one, other) = (down.begin(), down.clone().begin());
        drop(one);
        assert!(down.is_so());
        drop(other);
        assert!(!down.is_so());
        down.begin().lasts();
        assert!(down.is_so());
    }
}
