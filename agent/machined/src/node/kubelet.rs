//! A worker's kubelet certificate, where kubelet itself keeps it: one file with
//! certificate and key for each, and a link to the newest (client-go's FileStore).

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use machine_config::MachineIdentity;
use machine_pki::{Secret, is_current};
use machine_plan::observed::Probe;

use crate::durable;

/// Its folder.
pub const PKI: &str = "/var/lib/kubelet/pki";
const CURRENT: &str = "kubelet-client-current.pem";

/// Whether a control plane machine was asked for one since the cluster answered. Told by who
/// asks and by who looks; what failed while nothing answered yet says nothing.
#[derive(Default)]
pub struct Asked(Mutex<State>);

#[derive(Default)]
struct State {
    answered: Option<Instant>,
    refused: Option<(Instant, String)>,
}

impl Asked {
    /// The cluster's endpoint answers.
    pub fn endpoint_answers(&self) {
        self.state().answered.get_or_insert_with(Instant::now);
    }

    /// It was asked for at a moment, in vain.
    pub fn refused(&self, asked: Instant, why: String) {
        self.state().refused = Some((asked, why));
    }

    /// What a look says of the certificate: `Unreadable` is that nobody signs one.
    pub fn look(&self, folder: &Path, now: SystemTime) -> Probe<()> {
        if has_certificate(folder, now) {
            return Probe::Seen(());
        }
        let state = self.state();
        match &state.refused {
            Some((asked, why)) if state.answered.is_some_and(|at| at <= *asked) => {
                Probe::Unreadable(why.clone())
            }
            _ => Probe::Absent,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is one that kubelet can use now.
pub fn has_certificate(folder: &Path, now: SystemTime) -> bool {
    let text = std::fs::read_to_string(folder.join(CURRENT)).map(Secret::new);
    text.is_ok_and(|text| is_current(text.expose(), now))
}

/// Puts one there, unless kubelet got one meanwhile. With power gone before the
/// link there is a file that nobody reads, and the next certificate has its own.
pub fn keep(folder: &Path, own: &MachineIdentity, now: SystemTime) -> io::Result<()> {
    durable::make_directories(folder)?;
    let moment = jiff::Timestamp::try_from(now).map_err(io::Error::other)?;
    let file = folder.join(
        moment
            .strftime("kubelet-client-%Y-%m-%d-%H-%M-%S.pem")
            .to_string(),
    );
    let text = Secret::new(format!("{}{}", own.certificate, own.key.expose()));
    durable::replace(&file, text.expose().as_bytes(), 0o600)?;
    if has_certificate(folder, now) {
        return std::fs::remove_file(file);
    }
    durable::link(&folder.join(CURRENT), &file)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_refusal_counts_once_the_cluster_answers() {
        let folder = Path::new("/nonexistent");
        let (asked, now) = (Asked::default(), SystemTime::now());
        let before = Instant::now();
        asked.refused(before, "nobody listens".to_owned());
        assert_eq!(asked.look(folder, now), Probe::Absent);
        asked.endpoint_answers();
        assert_eq!(asked.look(folder, now), Probe::Absent);
        asked.refused(Instant::now(), "port 50000 is closed".to_owned());
        let refused = Probe::Unreadable("port 50000 is closed".to_owned());
        assert_eq!(asked.look(folder, now), refused);
    }

    use std::time::Duration;

    use super::*;
    use crate::api::fixture::cluster;

    #[test]
    fn kubelets_own_certificate_stays_and_an_expired_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let folder = &directory.path().join("pki");
        let now = SystemTime::now();
        let issued = |name| {
            let issued = cluster().machine(name);
            MachineIdentity {
                certificate: issued.certificate_pem,
                key: issued.key,
            }
        };
        let (first, second) = (issued("w1"), issued("w2"));
        let read = || std::fs::read_to_string(folder.join(CURRENT)).unwrap();
        assert!(!has_certificate(folder, now));
        keep(folder, &first, now).unwrap();
        assert!(has_certificate(folder, now));
        assert!(read().starts_with(&first.certificate) && read().contains("PRIVATE KEY"));

        keep(folder, &second, now + Duration::from_secs(5)).unwrap();
        assert!(read().starts_with(&first.certificate));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);

        let later = now + Duration::from_secs(10 * 365 * 24 * 3600);
        assert!(!has_certificate(folder, later));
        keep(folder, &second, later).unwrap();
        assert!(read().starts_with(&second.certificate));
        // kubelet refuses to renew where it finds a file in the link's place.
        assert!(
            std::fs::symlink_metadata(folder.join(CURRENT))
                .unwrap()
                .is_symlink()
        );
    }
}
