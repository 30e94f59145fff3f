//! Commands as a person runs them, with a deadline.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::deadline::Deadline;

/// A command that ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

/// Runs a command to its end and tells how it ended.
pub fn run(
    program: &Path,
    args: &[&str],
    env: &[(&str, &Path)],
    seconds: u64,
) -> anyhow::Result<Ran> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let what = format!("{name} {}", args.join(" "));
    let ran = run_quietly(program, args, env, &Deadline::new(seconds, &what))?;
    eprintln!("$ {what} => {}\n{}{}", ran.code, ran.stdout, ran.stderr);
    Ok(ran)
}

/// The same for what runs over and over, within the deadline of the whole.
pub fn run_quietly(
    program: &Path,
    args: &[&str],
    env: &[(&str, &Path)],
    deadline: &Deadline,
) -> anyhow::Result<Ran> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.envs(env.iter().map(|(key, value)| (key, value)));
    let mut child = command.spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (send, ended) = std::sync::mpsc::channel();
    let pid = child.id();
    let out = std::thread::spawn(move || out.map(slurp).unwrap_or_default());
    let err = std::thread::spawn(move || err.map(slurp).unwrap_or_default());
    std::thread::spawn(move || send.send(child.wait()));
    let status = match ended.recv_timeout(deadline.left()?) {
        Ok(status) => status?,
        Err(_) => {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            let stderr = err.join().unwrap_or_default();
            anyhow::bail!(
                "{}: {stderr}",
                deadline
                    .left()
                    .err()
                    .map_or_else(String::new, |e| e.to_string())
            );
        }
    };
    let (stdout, stderr) = (
        out.join().unwrap_or_default(),
        err.join().unwrap_or_default(),
    );
    Ok(Ran {
        code: status.code().unwrap_or(-1),
        stdout,
        stderr,
    })
}

fn slurp(mut stream: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The machinectl under test, with a config folder of the story's own.
pub fn machinectl(home: &Path, args: &[&str], seconds: u64) -> anyhow::Result<String> {
    succeeded("machinectl", args, machinectl_ends(home, args, seconds)?)
}

/// The same, expected to be refused; returns what it complained.
pub fn machinectl_fails(home: &Path, args: &[&str], seconds: u64) -> anyhow::Result<Ran> {
    let ran = machinectl_ends(home, args, seconds)?;
    anyhow::ensure!(
        ran.code != 0,
        "machinectl {} was to be refused and was not",
        args.join(" ")
    );
    Ok(ran)
}

fn machinectl_ends(home: &Path, args: &[&str], seconds: u64) -> anyhow::Result<Ran> {
    let contexts = home.join("contexts.yaml");
    let env = [
        ("MACHINECTL_CONFIG", contexts.as_path()),
        ("XDG_STATE_HOME", home),
    ];
    run(&binary("MACHINECTL", "machinectl")?, args, &env, seconds)
}

/// Stock kubectl with the story's kubeconfig.
pub fn kubectl(kubeconfig: &Path, args: &[&str], seconds: u64) -> anyhow::Result<String> {
    let env = [("KUBECONFIG", kubeconfig)];
    succeeded(
        "kubectl",
        args,
        run(Path::new("kubectl"), args, &env, seconds)?,
    )
}

/// Has kubectl apply a manifest.
pub fn apply(home: &Path, kubeconfig: &Path, name: &str, manifest: &str) -> anyhow::Result<()> {
    let path = home.join(name);
    crate::put(&path, manifest)?;
    let path = path.display().to_string();
    kubectl(kubeconfig, &["apply", "-f", &path], 120).map(drop)
}

/// Makes a cluster's secrets and documents in a folder of this name and returns it.
pub fn gen_config(home: &Path, folder: &str, args: &[&str]) -> anyhow::Result<PathBuf> {
    let out = home.join(folder);
    let path = out.display().to_string();
    machinectl(home, &[&["gen", "config", "-o", &path], args].concat(), 30)?;
    Ok(out)
}

/// The same for machines to boot, of which one is a control plane: where they are emulated, their
/// documents spare them what they cannot keep up with.
pub fn gen_config_to_boot(home: &Path, folder: &str, args: &[&str]) -> anyhow::Result<PathBuf> {
    let out = gen_config(home, folder, args)?;
    if crate::emulated() {
        for entry in std::fs::read_dir(&out)? {
            spare(&entry?.path())?;
        }
    }
    Ok(out)
}

// What an emulated machine cannot keep up with, and a cluster of one control plane does not need
// (docs/decisions/0008).
const SPARED: [(&str, &str); 3] = [
    ("apiServer", "enable-priority-and-fairness"),
    ("controllerManager", "leader-elect"),
    ("scheduler", "leader-elect"),
];

fn spare(config: &Path) -> anyhow::Result<()> {
    let mut text = std::fs::read_to_string(config)?;
    if !text.contains("\n  role: controlplane\n") {
        return Ok(());
    }
    for (component, name) in SPARED {
        let there = format!("\n  {component}:\n");
        let argument = format!("    extraArgs: [{{name: {name}, value: \"false\"}}]\n");
        let before = text.clone();
        text = match text.contains(&there) {
            true => text.replacen(&there, &format!("{there}{argument}"), 1),
            false => text.replacen("\ncluster:\n", &format!("\ncluster:{there}{argument}"), 1),
        };
        anyhow::ensure!(text != before, "the config has changed its shape");
    }
    crate::put(config, &text)
}

/// The trust anchor that a machine of this name is given before boot.
pub fn enrolment(home: &Path, folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let secrets = folder.join("secrets.yaml").display().to_string();
    let out = home.join(format!("{name}.enrolment"));
    let path = out.display().to_string();
    let args = ["gen", "enrolment", name, "--secrets", &secrets, "-o", &path];
    machinectl(home, &args, 30)?;
    Ok(std::fs::read(out)?)
}

fn succeeded(program: &str, args: &[&str], ran: Ran) -> anyhow::Result<String> {
    anyhow::ensure!(
        ran.code == 0,
        "{program} {} ended with {}:\n{}",
        args.join(" "),
        ran.code,
        ran.stderr
    );
    Ok(ran.stdout)
}

fn binary(variable: &str, name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.ok_or_else(|| anyhow::anyhow!("{variable} must name the {name} to try: run `just test`"))
}
