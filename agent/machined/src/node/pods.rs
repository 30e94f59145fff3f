//! Static pods as kubelet leaves them on disk: each start of a container has a
//! log file of its own, named by the number of restarts before it. So a loop is
//! seen, and quoted, also while the API server is the one that loops.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const LOGS: &str = "/var/log/pods";
const NAMES: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// What is read from the end of a log.
const TAIL: u64 = 16 * 1024;

/// Restarts by container; one without logs is left out.
pub fn restarts(hostname: &str) -> BTreeMap<String, u32> {
    let count = |name: &str| Some((name.to_owned(), newest(Path::new(LOGS), name, hostname)?.0));
    NAMES.into_iter().filter_map(count).collect()
}

/// The last lines of the container's last start that logged anything.
pub fn last_lines(name: &str, hostname: &str) -> Vec<String> {
    let newest = newest(Path::new(LOGS), name, hostname);
    newest.map(|(_, path)| tail(&path)).unwrap_or_default()
}

// A changed manifest is a new pod with a folder of its own: the newest counts.
fn newest(logs: &Path, name: &str, hostname: &str) -> Option<(u32, PathBuf)> {
    let pod = format!("kube-system_{name}-{hostname}_");
    let folders = std::fs::read_dir(logs).ok()?.filter_map(Result::ok);
    let folders = folders.filter(|f| f.file_name().to_string_lossy().starts_with(&pod));
    let folder = folders.max_by_key(|f| f.metadata().and_then(|m| m.modified()).ok())?;
    let files = std::fs::read_dir(folder.path().join(name)).ok()?;
    let numbered = |path: PathBuf| Some((path.file_stem()?.to_str()?.parse().ok()?, path));
    let files = files.filter_map(Result::ok).map(|f| f.path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .filter_map(numbered)
        .max_by_key(|(number, _)| *number)
}

fn tail(path: &Path) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    // A record is: time, stream, F or P, text.
    let text = |line: &str| line.splitn(4, ' ').nth(3).map(str::to_owned);
    String::from_utf8_lossy(&bytes)
        .lines()
        .filter_map(text)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_pods_last_start_is_found_and_quoted() {
        let logs = tempfile::tempdir().unwrap();
        let folder = logs.path().join("kube-system_etcd-cp1_0123/etcd");
        std::fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, text: &str| {
            crate::durable::replace(&folder.join(name), text.as_bytes(), 0o644).unwrap();
        };
        put("9.log", "2026-01-01T00:00:00Z stderr F old\n");
        put(
            "10.log",
            "2026-01-01T00:00:01Z stderr F panic: no data\n2026-01-01T00:00:02Z stderr F bye\n",
        );
        put("10.log.gz", "junk");
        let (count, path) = newest(logs.path(), "etcd", "cp1").unwrap();
        assert_eq!(count, 10);
        assert_eq!(tail(&path), ["panic: no data", "bye"]);
        assert!(newest(logs.path(), "etcd", "cp2").is_none());
        assert!(newest(logs.path(), "kube-apiserver", "cp1").is_none());
    }
}
