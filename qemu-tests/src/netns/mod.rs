//! Machines made of namespaces: a node has its own network, mounts, processes and name, and of the
//! real thing the agent, etcd and the control plane's programs, at this machine's own speed. Around
//! the agent is `node-double`. Needs root, and nothing of it is seen outside or outlives the test.

mod bare;
mod cluster;
mod etcd;
mod net;
mod node;
mod operator;
mod programs;

pub use bare::Bare;
pub use cluster::{Cluster, VIRTUAL_IP};
pub use etcd::{Answer, Voice};
pub use net::{ENDPOINT, Net};
pub use node::{Ended, Node};
pub use operator::Member;
pub use programs::Programs;
