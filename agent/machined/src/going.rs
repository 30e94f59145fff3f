//! Whether an order to go down is being carried out by this run of the agent. It is in no ledger: who
//! is killed meanwhile takes the order along.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use machine_plan::observed::Retire;

/// Shared by who carries it out and who looks.
#[derive(Debug, Clone, Default)]
pub struct GoingDown(Arc<Mutex<Orders>>);

#[derive(Debug, Default)]
struct Orders {
    last: u64,
    /// How far each is.
    open: BTreeMap<u64, Retire>,
}

/// One such order; dropped, it is called off.
#[derive(Debug)]
pub struct Going {
    of: GoingDown,
    number: u64,
    lasts: bool,
}

impl GoingDown {
    /// An order is carried out from here on.
    pub fn begin(&self) -> Going {
        let number = self.with(|orders| {
            orders.last += 1;
            orders.open.insert(orders.last, Retire::Nothing);
            orders.last
        });
        Going {
            of: self.clone(),
            number,
            lasts: false,
        }
    }

    /// Whether one is.
    pub fn is_so(&self) -> bool {
        self.with(|orders| !orders.open.is_empty())
    }

    /// What is to have ended for it here.
    pub fn retire(&self) -> Retire {
        self.with(|orders| orders.open.values().max().copied().unwrap_or_default())
    }

    // No step in between leaves anything half done.
    fn with<T>(&self, work: impl FnOnce(&mut Orders) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Going {
    /// These are to end now.
    pub fn retire(&self, what: Retire) {
        self.of.with(|orders| orders.open.insert(self.number, what));
    }

    /// The machine has been told: nothing takes it back.
    pub fn lasts(mut self) {
        self.lasts = true;
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if !self.lasts {
            self.of.with(|orders| orders.open.remove(&self.number));
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
        other.retire(Retire::ApiServer);
        one.retire(Retire::Controllers);
        assert_eq!(down.retire(), Retire::ApiServer);
        drop(other);
        assert_eq!(down.retire(), Retire::Controllers);
        assert!(down.is_so());
        drop(one);
        assert_eq!(down.retire(), Retire::Nothing);
        assert!(!down.is_so());
        down.begin().lasts();
        assert!(down.is_so());
    }
}
