//! What a node has around the agent, played: the first process, systemd and logind on a bus of
//! the node's own, and a kubelet that runs static pods as processes. In namespaces that
//! `netns/root.sh` makes. And the cluster's load balancer, played as well.

mod agent;
mod balance;
mod beside;
mod bus;
mod containers;
mod http;
mod init;
mod kubelet;
mod report;
mod services;
mod units;

use std::process::ExitCode;

use anyhow::{Context, bail};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            println!("node-double: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["init"] = words[..] {
        return init::run();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match words[..] {
        ["system"] => runtime.block_on(bus::run()),
        ["balance", at, ports, to] => runtime.block_on(balance::run(at, ports, to)),
        _ => bail!("say init, system or balance ADDRESS PORTS ADDRESSES"),
    }
}
