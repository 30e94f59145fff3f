//! The virtual IP is given up before anything stops that serves behind it.

use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use machine_plan::render::LEAVING_SET;
use tokio::process::Command;

use super::Hands;
use crate::api;
use crate::node::{LEAVING, facts, files};

/// The longest that keepalived may take to let the virtual IP go, and how often that is looked at.
const RELEASE: Duration = Duration::from_secs(10);
const LOOKS: Duration = Duration::from_millis(50);

/// For how long nobody new is let in before the address goes: what is being answered is answered by then.
/// Who comes meanwhile is not refused, and asks again a second after its first try (TCP's first
/// retransmission): by then another machine holds the address.
const HOLD: Duration = Duration::from_millis(500);

/// When whoever is new is let in again, should the address stay after all.
const HELD: &str = "10s";

/// The longest that nftables may take.
const NFT: Duration = Duration::from_secs(2);

/// Takes back what an earlier run of the agent gave up to go down, and did not.
pub fn take_back() {
    // What is there still is said by the watcher that honours it.
    let _ = files::forget_note(Path::new(LEAVING));
}

impl Hands {
    /// Gives up what this machine shares before anything of it stops: the virtual IP is another's then,
    /// with its API server still there for those who came by it.
    pub(super) async fn release(&self) {
        let Some(entry) = self.ledger.current() else {
            return;
        };
        let Some(wish) = entry.bundle.config.virtual_ip() else {
            return;
        };
        let held = || facts::addresses().contains(&wish.address);
        // A connection does not follow the address: a request in the middle would be lost with it. Where
        // nobody can be held off, a machine without the rules, it goes as it is.
        if held() && hold(wish.address).await.is_ok() {
            tokio::time::sleep(HOLD).await;
        }
        if let Err(error) = files::set_note(Path::new(LEAVING), "") {
            self.board.emit("order", "virtual IP", api::chain(&error));
            return;
        }
        let gone = async {
            while held() {
                tokio::time::sleep(LOOKS).await;
            }
        };
        if tokio::time::timeout(RELEASE, gone).await.is_err() {
            let message = format!("this machine holds {} still", wish.address);
            self.board.emit("order", "virtual IP", message);
        }
    }
}

/// Has the firewall let nobody new in at this address, for a while that ends by itself.
async fn hold(address: IpAddr) -> Result<(), ()> {
    let element = format!("{{ {address} timeout {HELD} }}");
    let words = ["add", "element", "inet", "machined", LEAVING_SET, &element];
    let mut nft = Command::new("/usr/sbin/nft");
    nft.args(words).env_clear().kill_on_drop(true);
    nft.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = nft.stderr(Stdio::null()).status();
    match tokio::time::timeout(NFT, ended).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        _ => Err(()),
    }
}
