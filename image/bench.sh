#!/bin/bash
# bench.sh MACHINED MACHINECTL [PART...]: makes the image with the agent as released and measures it against
# its peers. Prints one table; says on stderr what it waits for. docs/operations/bench.md says how to read it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
MACHINED_BINARY=$(readlink -f "$1") MACHINECTL=$(readlink -f "$2")
shift 2
export MACHINED_BINARY MACHINECTL IMAGE_SCRIPTS=$here MACHINED=$MACHINED_BINARY
# What runs on machines made of namespaces.
"$here/../.ci/setup" tests
# Only parts that boot machines, or weigh one, need the image.
for part in "${@:-ready}"; do
    case $part in ready | boot | sizes)
        need_packages binutils erofs-utils zstd
        need_qemu
        MACHINED_IMAGE=$("$here/build.sh")
        export MACHINED_IMAGE
        break
        ;;
    esac
done
KUBERNETES_BINARIES=$("$here/kubernetes.sh")
export KUBERNETES_BINARIES STORY_LOGS=$cache_root/bench
mkdir -p "$STORY_LOGS"
# However it ends, the disks go; consoles and files of what failed stay. Machines end with the bench by themselves.
tidy() {
    find "$STORY_LOGS" \( -name '*.qcow2' -o -name '*.erofs*' \) -delete
    [ -z "$(find "$STORY_LOGS" -name '*.log' -print -quit)" ] || log "logs of what failed are kept in $STORY_LOGS"
}
trap tidy EXIT
trap 'kill "$bench"; wait "$bench"; exit 130' INT TERM
cargo build --quiet -p qemu-tests --bins
"$(cargo metadata --quiet --no-deps --format-version 1 | jq -r .target_directory)/debug/bench" "$@" &
bench=$!
wait "$bench"
