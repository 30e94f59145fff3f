//! The command line for a workstation. `main` calls [`run`]; everything else is
//! here so that tests reach it.
//!
//! `println!` and its like end the program where nobody reads; see [`tell!`] and [`files::print`].
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod args;
pub mod client;
pub mod cluster;
mod commands;
pub mod context;
pub mod documents;
pub mod enrol;
mod explain;

pub mod failure;
pub mod files;
pub mod fleet;
pub mod identity;
pub mod kubeconfig;
mod noted;
pub mod output;
pub mod session;
mod snapshot;
mod streams;
pub mod target;
mod time;
mod tls;
pub mod wait;

pub use commands::run;
