#!/bin/bash
# initrd.sh ROOT FILE: packs the initrd for the kernel of the tree ROOT: busybox, dmsetup with its
# libraries, the modules that lead to /usr, and init. The same bytes every time.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$1 out=$(readlink -f "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

kernel=$(basename "$root"/usr/lib/modules/*)
mkdir -p "$work"/{bin,modules}
install -m 755 "$here/init" "$work/init"
install -m 755 /bin/busybox "$work/bin/busybox"
ln -s busybox "$work/bin/sh"
install -m 755 /sbin/dmsetup "$work/bin/dmsetup"
ldd /sbin/dmsetup | grep -o '/[^ ]*' | while read -r library; do install -D -m 755 "$library" "$work$library"; done
# In the order that modprobe would take them. The accelerated hash first: dm-verity picks the best it finds.
for module in virtio_blk sha256_ssse3 dm_verity erofs; do
    /sbin/modprobe --dirname "$root" --set-version "$kernel" --show-depends "$module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r path; do
    install -m 644 "$path" "$work/modules/"
    basename "$path" >>"$work/modules/order"
done
find "$work" -exec touch -h -d @0 {} +
cd "$work"
find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -H newc -o | lz4 -l -9 -q >"$out"
