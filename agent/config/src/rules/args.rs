//! Command line arguments of the programs the agent runs.

use std::fmt;

use super::gates::{GATES, OWNED, VALUE_GATES};
use crate::document::ArgSection;
use crate::path::{Path, quote};
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Arg, KubernetesVersion};

/// The oldest minor version there is.
const OLDEST: u16 = 20;

/// A program whose command line a document can extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    ApiServer,
    ControllerManager,
    Scheduler,
    Etcd,
    Kubelet,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Etcd => "etcd",
            Self::Kubelet => "kubelet",
        })
    }
}

/// Judges a program's `extraArgs`. Without a version its gates are left alone: the version itself
/// is what is wrong then.
pub(super) fn judge(
    args: Vec<ArgSection>,
    program: Program,
    at: &Path,
    version: Option<KubernetesVersion>,
    report: &mut Report<'_>,
) -> Vec<Arg> {
    for (index, arg) in args.iter().enumerate() {
        let at = at.index(index);
        if let Err(fault) = name(&arg.name).and_then(|()| known(&arg.name, program, version)) {
            report.value(&at.key("name"), fault);
        } else if let Err(fault) = value(arg, program, version) {
            report.value(&at.key("value"), fault);
        }
    }
    args.into_iter()
        .map(|ArgSection { name, value }| Arg { name, value })
        .collect()
}

fn name(name: &str) -> Result<(), Fault> {
    let bare = name.trim_start_matches('-');
    if bare.is_empty() {
        return Err(Fault::new("is empty").hint("write the flag's name, for example v"));
    }
    if bare != name {
        return Err(Fault::new("starts with dashes").hint(format!("write {}", quote(bare))));
    }
    if let Some((bare, _)) = name.split_once('=') {
        let hint = format!("write name: {bare}, and the rest as value");
        return Err(Fault::new("contains its value").hint(hint));
    }
    if name.contains('_') && !name.contains('-') {
        let hint = format!("write {}", name.replace('_', "-"));
        return Err(Fault::new("has underscores").hint(hint));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.len() > 100 || !name.bytes().all(allowed) {
        return Err(Fault::new("is not a flag's name").hint("letters, digits and dashes"));
    }
    Ok(())
}

fn known(name: &str, program: Program, version: Option<KubernetesVersion>) -> Result<(), Fault> {
    // A flag may be gone and once have been the agent's; that it is gone says more.
    if let Some(version) = version {
        let minor = version.minor();
        let concerned = |programs: &[Program], flags: &[&str]| {
            programs.contains(&program) && flags.contains(&name)
        };
        for gate in GATES
            .iter()
            .filter(|gate| concerned(gate.programs, gate.flags))
        {
            if minor >= gate.gone {
                let message = format!(
                    "{program} no longer knows --{name} (gone with v1.{})",
                    gate.gone
                );
                return Err(Fault::new(message).hint(gate.instead));
            }
            if minor < gate.since {
                let message = format!(
                    "{program} {version} does not know --{name} (new in v1.{})",
                    gate.since
                );
                return Err(Fault::new(message).hint(gate.instead));
            }
        }
        // etcd 3.7 comes with Kubernetes 1.37.
        if program == Program::Etcd && minor >= 37 && name.starts_with("experimental-") {
            let message = format!("etcd 3.7 no longer knows --{name}");
            return Err(Fault::new(message).hint("use the flag without experimental-, or a gate"));
        }
    }
    let owner = OWNED
        .iter()
        .find(|owned| owned.programs.contains(&program) && owned.flags.contains(&name));
    match owner {
        Some(owned) => Err(Fault::new(format!("--{name} is set by the agent")).hint(owned.instead)),
        None => Ok(()),
    }
}

/// Whether systemd would make something else of a unit's argument: it splits the command line where
/// there are blanks.
pub(super) fn splits(value: &str) -> bool {
    let splits = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '$');
    value.chars().any(splits)
}

/// Values are never quoted in messages: an argument can carry a password.
fn value(
    arg: &ArgSection,
    program: Program,
    version: Option<KubernetesVersion>,
) -> Result<(), Fault> {
    if arg.value.chars().any(char::is_control) {
        return Err(Fault::new("contains control characters").hint("write it on one line"));
    }
    if arg.value.len() > 16 * 1024 {
        return Err(Fault::new("is longer than 16 KiB"));
    }
    if program == Program::Kubelet && splits(&arg.value) {
        let hint = "write it without, or use machine.kubelet.extraConfig";
        return Err(Fault::new("contains blanks, quotes, backslashes or $").hint(hint));
    }
    let Some(version) = version else {
        return Ok(());
    };
    let gate = VALUE_GATES.iter().find(|gate| {
        gate.program == program && gate.flag == arg.name && version.at_least(gate.gone)
    });
    match gate {
        Some(gate) if (gate.refused)(&arg.value) => {
            // What holds for every version is not one's.
            let message = match gate.gone {
                ..=OLDEST => gate.message.to_owned(),
                _ => format!("{} in {version}", gate.message),
            };
            Err(Fault::new(message).hint(gate.instead))
        }
        _ => Ok(()),
    }
}
