# The only task door: people, the README and CI call the same recipes.

set shell := ["bash", "-euo", "pipefail", "-c"]

cache := env("XDG_CACHE_HOME", env("HOME") / ".cache") / "machined"
profile := "image"

# Lists the recipes.
default:
    @just --list --unsorted

# Boots a machine here, makes it a cluster and shows its node and pods.
demo: image qemu
    image/demo.sh "{{ cache }}/current-image" target/{{ profile }}/machinectl

# Three control planes and a worker here; loses and replaces a machine, then the quorum. Half an hour to an hour where machines are emulated.
demo-ha *args: image qemu
    image/demo-ha.sh "{{ cache }}/current-image" target/{{ profile }}/machinectl {{ args }}

# Everything that must hold: lints, rooms, pure tests, adapters, then stories, on machines made of namespaces and on booted ones.
test: lint rooms unit adapters namespaces stories

# What can be tested without a machine.
unit: nextest
    cargo nextest run --workspace --exclude qemu-tests
    cargo test --workspace --exclude qemu-tests --doc --quiet

# The agent's adapters against real programs: systemd, etcd, an API server, kubectl.
adapters: nextest
    KUBERNETES_BINARIES="$(image/kubernetes.sh)" cargo nextest run -p machined --profile adapters

# The simulated cluster around the planner, for so many schedules. SIM_SEED replays one, SIM_FIRST begins there.
sim count="100000": nextest
    SIM_COUNT={{ count }} cargo nextest run -p machine-plan --test sim --no-capture

# Stories on machines made of namespaces: real control planes at this machine's own speed. Needs root.
namespaces: nextest
    cargo build -p machined -p machinectl
    MACHINED="$PWD/target/debug/machined" MACHINECTL="$PWD/target/debug/machinectl" \
        KUBERNETES_BINARIES="$(image/kubernetes.sh)" STORY_LOGS="{{ cache }}/stories" \
        cargo nextest run -p qemu-tests --profile namespaces

# Stories on booted machines. Logs of a failed one stay where it says.
stories: image qemu nextest
    MACHINED_IMAGE="{{ cache }}/current-image" MACHINECTL="$PWD/target/{{ profile }}/machinectl" \
        STORY_LOGS="{{ cache }}/stories" cargo nextest run -p qemu-tests --profile stories

# The story of three control planes and a worker, as booted machines; emulated it takes the better part of an hour.
stories-ha: image qemu nextest
    MACHINED_IMAGE="{{ cache }}/current-image" MACHINECTL="$PWD/target/{{ profile }}/machinectl" \
        STORY_LOGS="{{ cache }}/stories" cargo nextest run -p qemu-tests --profile stories-ha

# Our figures against our peers', as one table; some minutes to half an hour. Parts: ready boot join learner endpoint balancer agents look secrets sizes.
bench *parts: release
    image/bench.sh target/release/machined target/release/machinectl {{ parts }}

# Format and lints.
lint: setup
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# Who may depend on whom.
rooms:
    .ci/rooms

# What may be built in: licenses, sources and bans of deny.toml. Asks no network but to install itself.
deny:
    cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deny </dev/null
    cargo deny --offline --all-features check bans licenses sources

# Any bytes as a document, for some seconds, beginning with the corpus. Needs a nightly compiler.
fuzz seconds="300":
    cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz </dev/null
    mkdir -p target/fuzz-corpus
    find agent/config/tests/documents -name '*.yaml' -exec cp -t target/fuzz-corpus {} +
    cargo +nightly fuzz run --fuzz-dir agent/config/fuzz --target-dir target/fuzz read target/fuzz-corpus -- \
        -max_len=65536 -max_total_time={{ seconds }} -timeout=20

# The manual pages of machinectl, in target/man.
man: setup
    cargo run --quiet -p machinectl -- man target/man

# The binaries as images for tests and local clusters carry them.
binaries: setup
    cargo build --profile {{ profile }} -p machined -p machinectl

# The node image; prints its folder.
image: binaries
    ln -sfn "$(MACHINED_BINARY=target/{{ profile }}/machined image/build.sh)" "{{ cache }}/current-image"

# What boots images here; installs it where it is missing.
qemu:
    @bash -c '. image/lib.sh; need_qemu' qemu

# The binaries as released, stripped.
release: setup
    cargo build --release -p machined -p machinectl
    ls -l target/release/machined target/release/machinectl

# What the recipes need beyond Debian 12, Rust and root.
setup:
    @.ci/setup

# And what only tests need.
nextest:
    @.ci/setup tests

# Writes generated files again: protobuf code, goldens, references.
regenerate: nextest
    UPDATE=1 cargo nextest run --workspace --exclude qemu-tests
