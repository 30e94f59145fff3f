#!/bin/bash
# image.sh FILE: writes the embedded container image as a docker archive. The same bytes every time.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
out=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar -C "$1" -cf "$2" .; }

mkdir -p "$work/root"/{dev,etc,proc,sys,tmp,usr,var} "$work/archive"
chmod 755 "$work/root" "$work/root"/*
chmod 1777 "$work/root/tmp"
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$work/root/$dir"; done
gcc -Os -Wall -Wextra -Werror -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
    -Wl,--build-id=none -s -o "$work/root/pause" "$here/pause.c"
chmod 755 "$work/root/pause"
pack "$work/root" "$work/archive/layer.tar"
layer=$(sha256sum <"$work/archive/layer.tar" | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Entrypoint":["/pause"],"Env":["PATH=/usr/sbin:/usr/bin:/usr/lib/kubernetes/bin"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"image/embedded"}]}' \
    "$layer" >"$work/archive/config.json"
printf '[{"Config":"config.json","RepoTags":["localhost/machined/embedded:1"],"Layers":["layer.tar"]}]' >"$work/archive/manifest.json"
chmod 644 "$work/archive"/*
pack "$work/archive" "$out"
