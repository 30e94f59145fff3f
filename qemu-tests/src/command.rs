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
    let ran = run(
        &binary("MACHINECTL", "machinectl")?,
        args,
        &[("MACHINECTL_CONFIG", &home.join("contexts.yaml"))],
        seconds,
    )?;
    anyhow::ensure!(
        ran.code == 0,
        "machinectl {} ended with {}:\n{}",
        args.join(" "),
        ran.code,
        ran.stderr
    );
    Ok(ran.stdout)
}

/// The same, expected to be refused; returns what it complained.
pub fn machinectl_fails(home: &Path, args: &[&str], seconds: u64) -> anyhow::Result<Ran> {
    let ran = run(
        &binary("MACHINECTL", "machinectl")?,
        args,
        &[("MACHINECTL_CONFIG", &home.join("contexts.yaml"))],
        seconds,
    )?;
    anyhow::ensure!(
        ran.code != 0,
        "machinectl {} was to be refused and was not",
        args.join(" ")
    );
    Ok(ran)
}

/// Stock kubectl with the story's kubeconfig.
pub fn kubectl(kubeconfig: &Path, args: &[&str], seconds: u64) -> anyhow::Result<String> {
    let ran = run(
        Path::new("kubectl"),
        args,
        &[("KUBECONFIG", kubeconfig)],
        seconds,
    )?;
    anyhow::ensure!(
        ran.code == 0,
        "kubectl {} ended with {}:\n{}",
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
