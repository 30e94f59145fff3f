//! The machine API as protobuf says it, and the code made from that.
//!
//! `proto/machine/v1` is the source; `src/gen` is made by the test in
//! `tests/generated.rs` and committed, so that no build needs a protobuf compiler.

/// Version 1 of the API.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub)]
pub mod v1 {
    include!("gen/machine.v1.rs");
}

/// The file descriptor set, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The largest message either side takes, in bytes: a document of 1 MiB and its envelope.
pub const MESSAGE_LIMIT: usize = 1_100_000;

/// The largest document stream a machine takes, in bytes.
pub const DOCUMENT_LIMIT: usize = 1 << 20;

/// The machine API's port, as registered by nobody; the one users open.
pub const PORT: u16 = 50_000;
