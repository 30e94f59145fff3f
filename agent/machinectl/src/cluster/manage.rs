//! `cluster list`, `cluster stop` and `cluster destroy`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::state::{self, Machine, State};
use super::vm::{self, Place};
use crate::args::Output;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, table};
use crate::session;

/// Lists what is there, also what an interrupted `create` left.
pub(super) fn list(output: Output) -> Result<(), Failure> {
    let root = state::root()?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
        if let Ok(state) = State::load(&entry.path()) {
            found.push((entry.path(), state));
        }
    }
    found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let value = found.iter().map(|(folder, state)| {
        let machines = state.machines.iter().map(|machine| {
            json!({
                "name": machine.name,
                "running": Place::new(folder, machine).process().is_some(),
                "machineApi": format!("127.0.0.1:{}", machine.api_port),
                "kubernetesApi": format!("127.0.0.1:{}", machine.kubernetes_port),
            })
        });
        json!({
            "name": state.name,
            "folder": folder,
            "machines": machines.collect::<Vec<_>>(),
        })
    });
    let value = value.collect();
    output::show(output.format, &value, || {
        let rows = found.iter().flat_map(|(folder, state)| {
            state.machines.iter().map(move |machine| {
                let running = Place::new(folder, machine).process().is_some();
                vec![
                    state.name.clone(),
                    machine.name.clone(),
                    if running {
                        "running".into()
                    } else {
                        "stopped".into()
                    },
                    format!("127.0.0.1:{}", machine.api_port),
                    format!("127.0.0.1:{}", machine.kubernetes_port),
                ]
            })
        });
        table(
            &[
                "CLUSTER",
                "MACHINE",
                "STATE",
                "MACHINE API",
                "KUBERNETES API",
            ],
            rows,
        )
    })
}

/// The description of a cluster that is there, and its folder.
pub(super) fn known(name: &str) -> Result<(PathBuf, State), Failure> {
    let folder = state::folder(name)?;
    if folder.symlink_metadata().is_err() {
        return Err(Failure::usage(format!("there is no local cluster {name}"))
            .next("machinectl cluster list"));
    }
    let state = State::load(&folder)?;
    Ok((folder, state))
}

/// One of its machines.
pub(super) fn machine<'a>(state: &'a State, name: &str) -> Result<&'a Machine, Failure> {
    let found = state.machines.iter().find(|machine| machine.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = state.machines.iter().map(|m| m.name.as_str()).collect();
        Failure::usage(format!(
            "local cluster {} has no machine {name}",
            state.name
        ))
        .next(format!("one of {}", names.join(", ")))
    })
}

/// Ends one machine as a power cut would.
pub(super) async fn stop(name: &str, which: &str) -> Result<(), Failure> {
    let (folder, state) = known(name)?;
    let machine = machine(&state, which)?;
    vm::stop(&Place::new(&folder, machine)).await?;
    crate::tell!("{which}: its power is cut");
    Ok(())
}

/// Stops the machines and removes all that `create` made.
pub(super) async fn destroy(name: &str) -> Result<(), Failure> {
    let folder = state::folder(name)?;
    if folder.symlink_metadata().is_err() {
        return Err(Failure::usage(format!("there is no local cluster {name}"))
            .next("machinectl cluster list"));
    }
    // Without its description nothing was started: the description comes first.
    if let Ok(state) = State::load(&folder) {
        for machine in &state.machines {
            vm::stop(&Place::new(&folder, machine)).await?;
            crate::tell!("{}: stopped", machine.name);
        }
    }
    remove_context(name, &folder)?;
    std::fs::remove_dir_all(&folder).map_err(|error| {
        Failure::failed(format!(
            "remove {}: {}",
            folder.display(),
            files::plain(&error)
        ))
    })?;
    crate::tell!("removed {}", folder.display());
    Ok(())
}

/// Removes the context only if it is this cluster's: another may have its name by now.
fn remove_context(name: &str, folder: &Path) -> Result<(), Failure> {
    let Ok(secrets) = crate::documents::read_secrets(&folder.join("secrets.yaml")) else {
        return Ok(());
    };
    let mut contexts = session::contexts_to_change()?;
    let ours = contexts
        .find(name)
        .is_some_and(|context| context.ca.trim() == secrets.machine_ca.certificate.trim());
    if ours {
        contexts.remove(name)?;
        contexts.save()?;
    }
    Ok(())
}
