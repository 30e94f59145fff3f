//! A manager to try the adapter on.

use std::time::Duration;

use super::double::Double;
use super::private::Private;
use crate::node::systemd::Systemd;

/// What a unit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Runs until it is stopped.
    Works,
    /// Ends with a failure as soon as it is started.
    Fails,
    /// Would run, but needs another unit.
    Needs(&'static str),
    /// Is being started for longer than its unit allows a job to run.
    IsGivenUp,
    /// Is being started for ever.
    NeverStarts,
}

/// The adapter, and a hand on what it talks to.
pub(crate) struct Bench {
    pub(crate) systemd: Systemd,
    manager: Manager,
}

enum Manager {
    Scripted(Double),
    Real(Private),
}

impl Bench {
    pub(crate) async fn scripted() -> Self {
        let (double, connection) = Double::start().await;
        Self {
            systemd: Systemd::on(connection).await.unwrap(),
            manager: Manager::Scripted(double),
        }
    }

    pub(crate) async fn real() -> Self {
        let (private, connection) = Private::start().await;
        Self {
            systemd: Systemd::on(connection).await.unwrap(),
            manager: Manager::Real(private),
        }
    }

    /// The script, for what only a script can do.
    pub(super) fn script(&self) -> &Double {
        match &self.manager {
            Manager::Scripted(double) => double,
            Manager::Real(_) => panic!("this is systemd itself"),
        }
    }

    /// What starting a unit does beside; only a script can have it done.
    pub(crate) fn on_start(&self, what: fn(&str)) {
        self.script().on_start(what);
    }

    /// Puts unit files in place. The manager has not read them again.
    pub(crate) fn write(&self, units: &[(&'static str, Behaviour)]) {
        for (name, behaviour) in units {
            match &self.manager {
                Manager::Scripted(double) => double.write(name, *behaviour),
                Manager::Real(private) => private.write(name, *behaviour),
            }
        }
    }

    /// Puts a unit's file in place as it is; only systemd itself can read it.
    pub(crate) fn put(&self, name: &str, text: &str) {
        match &self.manager {
            Manager::Scripted(_) => panic!("a script reads no unit files"),
            Manager::Real(private) => private.put(name, text),
        }
    }

    /// Ends what a unit runs, without a job.
    pub(crate) async fn crash(&self, unit: &str) {
        match &self.manager {
            Manager::Scripted(double) => double.crash(unit).await,
            Manager::Real(private) => private.crash(unit).await,
        }
    }

    /// The manager is gone from one moment to the next.
    pub(super) async fn die(&mut self) {
        match &mut self.manager {
            Manager::Scripted(double) => double.die().await,
            Manager::Real(private) => private.die(),
        }
    }

    pub(super) fn patience(&mut self, patience: Duration) {
        self.systemd.patience = patience;
    }
}
