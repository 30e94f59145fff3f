#!/bin/sh
# Fills containerd's store, then turns the machine off: the store's disk is the beginning of each round.
set -eu
. /run/bench/common.sh
start_containerd
for archive in "$here"/images/*.tar; do
    say "importing ${archive##*/}"
    ctr --namespace k8s.io images import --local "$archive" >/dev/null || fail "import of $archive"
done
systemctl stop containerd.service
sync
say "imported"
systemctl poweroff --force
