#!/bin/bash
# size.sh IMAGE: what a node downloads without the Kubernetes binaries: kernel, initrd and /usr, packed
# by zstd -19. Prints the bytes, then the biggest parts of /usr before packing, in MB.
set -euo pipefail
image=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dd if="$image/disk.raw" of="$work/usr.erofs" bs=1M skip=1 status=none # behind the partition table (build.sh, seal)
fsck.erofs --extract="$work/usr" "$work/usr.erofs" >/dev/null
rm -rf "$work/usr/lib/kubernetes" "$work/usr.erofs"
# Not packed inside, because packing twice is worse than once.
mkfs.erofs --quiet -T0 --all-root "$work/usr.erofs" "$work/usr" >/dev/null
cat "$image/vmlinuz" "$image/initrd" "$work/usr.erofs" | zstd -19 -T0 -q | wc -c
cd "$work/usr"
{
    du -b --max-depth=0 lib/modules lib/systemd share
    find bin sbin lib -path lib/modules -prune -o -path lib/systemd -prune -o -type f -printf '%s\t%p\n'
} | sort -rn | head -n 14 | awk '{ printf "%.1f %s\n", $1 / 1e6, $2 }'
