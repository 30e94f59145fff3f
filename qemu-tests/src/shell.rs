//! A root shell in the guest, for stories that cause faults: a unit that only
//! the story's own machine is given, on a serial port that only it has.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::deadline::Deadline;
use crate::serial::Serial;

/// What pulls the unit in.
pub(crate) const KERNEL: &str = "systemd.wants=story-shell.service";

// Without default dependencies: it serves also where the boot got stuck.
const UNIT: &str = "[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/sh
StandardInput=file:/dev/ttyS1
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
Restart=always
";

pub(crate) fn credential() -> (String, Vec<u8>) {
    let name = "systemd.extra-unit.story-shell.service";
    (name.to_owned(), UNIT.as_bytes().to_vec())
}

pub(crate) fn arguments(socket: &Path) -> Vec<String> {
    let socket = socket.display();
    let port = format!("socket,id=shell,path={socket},server=on,wait=off");
    ["-chardev", &port, "-serial", "chardev:shell"]
        .map(str::to_owned)
        .to_vec()
}

/// The near end.
pub(crate) struct Shell {
    stream: UnixStream,
    serial: Serial,
    count: u32,
}

impl Shell {
    /// QEMU makes the socket before it starts the guest.
    pub(crate) fn connect(socket: &Path) -> anyhow::Result<Self> {
        let deadline = Deadline::new(20, "QEMU's shell socket");
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(e) => drop(deadline.left().context(e)?),
            }
            std::thread::yield_now();
        };
        let serial = Serial::follow(stream.try_clone()?, &socket.with_extension("shell.log"))?;
        Ok(Self {
            stream,
            serial,
            count: 0,
        })
    }

    /// The mark at the end is written so that the terminal's echo is not taken for it.
    pub(crate) fn run(&mut self, command: &str, seconds: u64) -> anyhow::Result<String> {
        self.count += 1;
        let (count, first) = (self.count, self.serial.length());
        let deadline = Deadline::new(seconds, format!("in the machine: {command}"));
        writeln!(self.stream, "{command}; echo EN\"\"D-{count}-$?.")?;
        let end = self.serial.wait(&format!("END-{count}-"), &deadline)?;
        let said = self.serial.from(first).join("\n");
        eprintln!("# {command}\n{said}");
        ensure!(end.contains("-0."), "in the machine: {command}: {said}");
        Ok(said)
    }
}
