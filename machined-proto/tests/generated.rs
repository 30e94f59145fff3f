//! The committed code is what the protobuf files say. `UPDATE=1` rewrites it.

#![allow(
    clippy::disallowed_methods,
    reason = "a torn file here is made again by the next run"
)]

use std::path::Path;

#[test]
fn committed_code_is_what_the_protobuf_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["machine/v1/machine.proto"], [root.join("proto")])
        .expect("compile the protobuf files");
    let out = tempfile::tempdir().expect("make a temporary folder");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .file_descriptor_set_path(out.path().join("descriptors.bin"))
        .compile_fds(descriptors.clone())
        .expect("generate code");
    let bytes = prost::Message::encode_to_vec(&descriptors);
    std::fs::write(out.path().join("descriptors.bin"), bytes).expect("write descriptors");
    for name in ["machine.v1.rs", "descriptors.bin"] {
        let fresh = std::fs::read(out.path().join(name)).expect("read generated file");
        let committed = root.join("src/gen").join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&committed, &fresh).expect("write committed file");
        }
        let kept = std::fs::read(&committed).unwrap_or_default();
        assert!(
            kept == fresh,
            "{} differs from the protobuf files; run `UPDATE=1 cargo test -p machined-proto`",
            committed.display()
        );
    }
}
