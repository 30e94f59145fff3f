#!/bin/bash
# Builds the node image and prints the directory that holds it: vmlinuz, initrd, disk.raw,
# cmdline, manifest. Two layers, both cached outside the tree under the hash of their inputs:
#   base    packages (mkosi.conf, mkosi.finalize): a minute, changes rarely
#   image   base + Kubernetes + tree/ + the agent, sealed: seconds, changes with the agent
# MACHINED_BINARY names the agent's binary; without it the image is made without an agent.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/lib.sh"
dist=$here/../agent/machined/dist
images=$cache_root/image
bases=$cache_root/image-base
mkdir -p "$images" "$bases"

need_packages binutils debian-archive-keyring ca-certificates erofs-utils cryptsetup-bin fdisk kmod cpio lz4 \
    busybox-static dmsetup gcc libc6-dev linux-libc-dev
command -v mkosi >/dev/null || install_from_backports mkosi

# digest PATH...: one line for names, modes and contents.
digest() { (cd "$here" && find "$@" -type f -printf '%m %p\n' -exec sha256sum {} + -o -type l -printf '%l %p\n') | LC_ALL=C sort | short_hash; }

build_base() { # build_base KEY
    local work sources
    rm -rf "$bases"/.base.* # of runs that were killed; the lock says nobody uses them
    work=$(mktemp -d "$bases/.base.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    log "building the base tree, about a minute"
    sources=$work/pkgmngr/etc/apt/sources.list.d/mkosi.sources
    mkdir -p "$(dirname "$sources")" "$work/workspace" "$work/out" "$bases/.packages"
    apt_source deb 'trixie trixie-updates' main >"$sources"
    mkosi --directory "$here" --package-manager-tree "$work/pkgmngr" --cache-dir "$bases/.packages" \
        --workspace-dir "$work/workspace" --output-dir "$work/out" --force build >"$work/log" 2>&1 </dev/null ||
        { tail -n 40 "$work/log" >&2; die "mkosi failed"; }
    mkdir -p "$work/base/root"
    mv "$work/out/base/usr" "$work/out/base/etc" "$work/base/root/"
    mv "$work/out/base"/boot/vmlinuz-* "$work/base/vmlinuz"
    ln -s usr/lib "$work/base/root/lib" # where modprobe looks
    mv -T "$work/base" "$bases/$1"
    rm -rf "$work"
    trap - EXIT
    keep_newest 2 "$bases"
}

# assemble ROOT: the final tree. Base files are hard links, so everything here replaces, never edits.
assemble() {
    local root=$1 etc=$1/usr/share/factory/etc path
    cp -al "$base/root/usr" "$root/usr"
    mkdir -p "$root/usr/lib/kubernetes/bin" "$etc"
    for path in kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
        install -m 755 "$kubernetes/$path" "$root/usr/lib/kubernetes/bin/"
    done
    cp -a --no-preserve=ownership --remove-destination "$here/tree/." "$root/"
    sed "s/@VERSION@/$version/" "$here/tree/usr/lib/os-release" >"$root/usr/lib/os-release"
    "$here/embedded/image.sh" "$root/usr/share/machined/embedded.tar"
    if [ -n "${MACHINED_BINARY:-}" ]; then
        install -D -m 755 "$MACHINED_BINARY" "$root/usr/bin/machined"
        for path in "$dist"/*.{service,socket,target,timer,path,mount}; do
            [ -e "$path" ] && install -m 644 "$path" "$root/usr/lib/systemd/system/"
        done
        for path in sysusers.d tmpfiles.d sysctl.d modules-load.d; do
            [ -d "$dist/$path" ] && cp -r --remove-destination "$dist/$path/." "$root/usr/lib/$path/"
        done
        ln -sf ../machined.service "$root/usr/lib/systemd/system/multi-user.target.wants/machined.service"
    fi

    # /etc is made anew at every boot from these files: users, resolver, trust, and little else.
    for path in group gshadow passwd shadow ld.so.conf ld.so.conf.d mke2fs.conf ssl protocols services ethertypes; do
        cp -a "$base/root/etc/$path" "$etc/"
    done
    rm -rf "$etc/ssl/private"
    # keepalived does not start without this list of its build's options.
    install -D -m 644 "$base/root/etc/keepalived/keepalived.config-opts" -t "$etc/keepalived"
    printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n' >"$etc/nsswitch.conf"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$etc/hosts"
    : >"$etc/machine-id" # empty, not absent: the id comes from the firmware, and no boot is a "first" one
    ln -s ../usr/lib/os-release "$etc/os-release"
    ln -s ../proc/self/mounts "$etc/mtab"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$etc/resolv.conf"
    mkdir -p "$etc"/{cni/net.d,containerd,haproxy,keepalived,kubernetes,systemd/network,modules-load.d,sysctl.d}
    ln -s usr/share/factory/etc "$root/etc"
    systemd-sysusers --root="$root" 2>/dev/null
    ldconfig -r "$root"
    rm -f "$root/etc" "$etc"/*-
}

# seal ROOT OUT: erofs, its hash tree, and a disk with both. Sizes in MiB-aligned sectors.
seal() {
    local root=$1 out=$2 data tree hash
    mkfs.erofs -zlz4hc,3 -C65536 -T0 -U 00000000-0000-0000-0000-000000000000 --all-root --quiet "$out/usr.erofs" "$root/usr" >/dev/null
    veritysetup format --uuid 00000000-0000-0000-0000-000000000000 --salt "$(echo "$key" | sha256sum | cut -c1-64)" \
        --root-hash-file "$out/roothash" "$out/usr.erofs" "$out/usr.verity" >/dev/null
    hash=$(cat "$out/roothash")
    mib() { echo $((($(stat -c %s "$1") + 1048575) / 1048576)); }
    data=$(mib "$out/usr.erofs") tree=$(mib "$out/usr.verity")
    uuid() { sed -E 's/(.{8})(.{4})(.{4})(.{4})(.{12})/\1-\2-\3-\4-\5/' <<<"$1"; }
    truncate -s $((data + tree + 2))M "$out/disk.raw"
    sfdisk --quiet "$out/disk.raw" <<END
label: gpt
label-id: $(uuid "${hash:16:32}")
start=1MiB, size=${data}MiB, type=8484680C-9521-48C6-9C11-B0720656F69E, uuid=$(uuid "${hash:0:32}"), name=usr-$version, attrs="GUID:60"
start=$((data + 1))MiB, size=${tree}MiB, type=77FF5F63-E7B6-4633-ACF4-1565B864C0E6, uuid=$(uuid "${hash:32:32}"), name=usr-verity-$version, attrs="GUID:60"
END
    dd if="$out/usr.erofs" of="$out/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none
    dd if="$out/usr.verity" of="$out/disk.raw" bs=1M seek=$((data + 1)) conv=notrunc,sparse status=none
    rm "$out/usr.erofs" "$out/usr.verity"
    echo "usrhash=$hash systemd.machine_id=firmware console=ttyS0 panic=10 quiet lsm=landlock,lockdown,yama" >"$out/cmdline"
    {
        echo "usr $((data))M, hash tree ${tree}M"
        cat "$root/usr/share/machined/packages"
    } >"$out/manifest"
}

kubernetes=$("$here/kubernetes.sh")
base_key=$(digest mkosi.conf mkosi.finalize)
base=$bases/$base_key
exec 9>"$images/.lock"
flock 9 # two callers would only do the same work twice
[ -d "$base" ] || build_base "$base_key"

key=$( (echo "$base_key $kubernetes"; digest build.sh tree embedded initrd
    if [ -n "${MACHINED_BINARY:-}" ]; then sha256sum <"$MACHINED_BINARY"; digest "$dist"; fi) | short_hash)
out=$images/$key
version=${MACHINED_VERSION:-$key}
if [ ! -d "$out" ]; then
    rm -rf "$images"/.image.*
    work=$(mktemp -d "$images/.image.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    log "assembling"
    mkdir "$work/root" "$work/out"
    assemble "$work/root"
    log "sealing"
    "$here/initrd/initrd.sh" "$base/root" "$work/out/initrd"
    cp "$base/vmlinuz" "$work/out/vmlinuz"
    seal "$work/root" "$work/out"
    mv -T "$work/out" "$out"
    keep_newest 3 "$images"
fi
touch "$out"
echo "$out"
