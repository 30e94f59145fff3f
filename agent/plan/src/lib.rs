//! Pure: what should be on a machine, and what to do next to get there.
//!
//! Nothing here touches a file, a socket, a clock or the environment; see `clippy.toml`.

pub mod action;
pub mod address;
pub mod desired;
pub mod digest;
pub mod etcd_health;
pub mod facts;
pub mod files;
pub mod membership;
pub mod observed;
pub mod order;
pub mod recovery;
pub mod render;
pub mod serving;
pub mod stages;
pub mod turn;
pub mod verdict;
pub mod yaml;
