#!/bin/bash
# disk.sh IMAGE KUBERNETES FILE: what `kubeadm init` needs beside the node image, as a read-only disk:
# kubeadm, its settings, and the container images it asks for. The images hold the very programs of the
# node image IMAGE, so that the bench compares two ways to start the same things.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
image=$(readlink -f "$1") kubernetes=$(readlink -f "$2") out=$3
version=v1.20.2 # what the image's Kubernetes is, and what kubeadm of that version names its images by
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The node's /usr starts behind the partition table (build.sh, seal).
dd if="$image/disk.raw" of="$work/usr.erofs" bs=1M skip=1 status=none
fsck.erofs --extract="$work/usr" "$work/usr.erofs" >/dev/null
rm "$work/usr.erofs"
libraries=usr/lib/x86_64-linux-gnu

# libraries_of ROOT FILE: copies what FILE is linked with, and what that is linked with, into ROOT.
libraries_of() {
    local root=$1 name
    { readelf -dW "$2" 2>/dev/null || true; } | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while read -r name; do
        [ -e "$root/$libraries/$name" ] && continue
        mkdir -p "$root/$libraries" "$root/usr/lib64"
        cp -L "$work/$libraries/$name" "$root/$libraries/$name"
        case $name in ld-linux*) cp -L "$work/$libraries/$name" "$root/usr/lib64/$name" ;; esac
        libraries_of "$root" "$root/$libraries/$name"
    done
}

# add ROOT FILE [PLACE]: a program of the node image, with its libraries.
add() {
    local root=$1 from=$work/$2 to=$1/${3:-$2}
    mkdir -p "$(dirname "$to")"
    cp -L "$from" "$to"
    libraries_of "$root" "$from"
}

# archive NAME ROOT ENTRY: a docker archive of one plain layer, named as kubeadm asks for it.
archive() {
    local dir=$work/archive layer file=${1##*/}
    rm -rf "$dir"
    mkdir -p "$dir" "$2"/{etc,tmp,usr/bin,usr/lib,usr/lib64,usr/sbin}
    for place in bin sbin lib lib64; do ln -sfn "usr/$place" "$2/$place"; done
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$2" -cf "$dir/layer.tar" .
    layer=$(sha256sum <"$dir/layer.tar" | cut -d' ' -f1)
    printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["%s"],"Env":["PATH=/usr/local/bin:/usr/sbin:/usr/bin"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$3" "$layer" >"$dir/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" >"$dir/manifest.json"
    tar -C "$dir" -cf "$work/disk/images/${file%%:*}.tar" manifest.json config.json layer.tar
    rm -rf "$2"
}

mkdir -p "$work/disk/images"
for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    add "$work/root" "usr/lib/kubernetes/bin/$name" "usr/local/bin/$name"
    if [ $name = kube-proxy ]; then
        # Without these it would only fail over and over, and take the processor from the others.
        for program in usr/sbin/xtables-nft-multi usr/sbin/conntrack usr/bin/kmod; do add "$work/root" "$program"; done
        for link in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
            ln -s xtables-nft-multi "$work/root/usr/sbin/$link"
        done
        ln -s ../bin/kmod "$work/root/usr/sbin/modprobe"
        cp -r "$work/$libraries/xtables" "$work/root/$libraries/"
        mkdir -p "$work/root/usr/lib/modules" "$work/root/run"
    fi
    archive "k8s.gcr.io/$name:$version" "$work/root" "/usr/local/bin/$name"
done
add "$work/root" usr/bin/etcd usr/local/bin/etcd
archive k8s.gcr.io/etcd:3.4.13-0 "$work/root" /usr/local/bin/etcd
tar -xOf "$work/usr/share/machined/embedded.tar" ./layer.tar >"$work/pause.tar"
mkdir "$work/root"
tar -C "$work/root" -xf "$work/pause.tar" ./pause
archive k8s.gcr.io/pause:3.2 "$work/root" /pause

install -m 755 "$kubernetes/kubeadm" "$here"/guest/*.sh "$work/disk/"
cp "$here"/guest/*.{toml,yaml,conf,conflist} "$work/disk/"
mkfs.erofs --quiet -T0 --all-root "$out.part" "$work/disk" >/dev/null
mv "$out.part" "$out"
