//! Any bytes are answered: `cargo +nightly fuzz run read -- -max_len=65536`, best started with
//! the corpus in `../tests/documents`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match machine_config::read(bytes) {
        Ok(bundle) => drop(bundle.redacted()),
        Err(problems) => assert!(problems.len() > 0 && !problems.to_string().is_empty()),
    }
    let _ = machine_config::read_secrets(bytes);
});
