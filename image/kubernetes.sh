#!/bin/bash
# Provides the Kubernetes node and control-plane binaries and prints the directory that
# holds them. Two inputs, one layout:
#   default                          Debian 12's source package, built here once (4-15 min)
#   KUBERNETES_SERVER_TARBALL=file   an official kubernetes-server-linux-amd64.tar.gz,
#   KUBERNETES_SERVER_SHA512=hex     accepted only if it has this digest
# Results live outside the tree, under a key made of everything that went in.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

upstream_version='1.20.5+really1.20.2' # as Debian numbers it; its security updates keep this part
kubernetes_version='1.20.2'
binaries=(kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubeadm)
store=$cache_root/kubernetes
mkdir -p "$store"

# finish TREE KEY: the binaries get their name in one step, so nobody sees half a result.
finish() {
    local name
    for name in "${binaries[@]}"; do [ -x "$1/$name" ] || die "$name was not made"; done
    chmod 755 "$1"
    mv -T "$1" "$store/$2"
    keep_newest 3 "$store"
    echo "$store/$2"
}

from_tarball() {
    local sha=${KUBERNETES_SERVER_SHA512:?needed with KUBERNETES_SERVER_TARBALL} key work
    [[ $sha =~ ^[0-9a-f]{128}$ ]] || die "KUBERNETES_SERVER_SHA512 is not 128 lower-case hex digits"
    key=release-${sha:0:16}
    [ -d "$store/$key" ] && { touch "$store/$key"; echo "$store/$key"; return; }
    # The digest is taken from the copy that is unpacked, not from a file that may change in between.
    work=$(mktemp -d "$store/.release.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cp -- "$KUBERNETES_SERVER_TARBALL" "$work/server.tar.gz"
    echo "$sha  $work/server.tar.gz" | sha512sum --check --status || die "digest of $KUBERNETES_SERVER_TARBALL differs"
    mkdir "$work/out"
    tar -C "$work/out" --strip-components=3 --no-same-owner -xzf "$work/server.tar.gz" \
        "${binaries[@]/#/kubernetes/server/bin/}"
    finish "$work/out" "$key"
}

fetch_source() {
    mkdir -p "$work/apt/lists/partial" "$work/src"
    apt_source deb-src bookworm main >"$work/apt/debian.sources"
    local options=(-qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/apt"
        -o Dir::State::Lists="$work/apt/lists" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2
    (cd "$work/src" && apt-get "${options[@]}" source kubernetes) >&2
    mkdir -p "$work/go/src/k8s.io"
    mv "$work"/src/kubernetes-*/ "$work/go/src/k8s.io/kubernetes"
    source_version=$(cd "$work/go/src/k8s.io/kubernetes" && dpkg-parsechangelog -SVersion)
    case $source_version in "$upstream_version"-*) ;; *) die "expected $upstream_version, found $source_version" ;; esac
}

compile() {
    local tree=$work/go/src/k8s.io/kubernetes
    # The vendored reflect2 1.0.1 panics with Go >= 1.18; Debian's 1.0.2 does not.
    local reflect2=vendor/github.com/modern-go/reflect2
    rm -rf "${tree:?}/$reflect2"
    cp -rL "/usr/share/gocode/src/github.com/modern-go/reflect2" "$tree/$reflect2"
    # Kubernetes' build keeps the compiler's cache in its own output; it is led to where it outlives this run.
    mkdir -p "$store/.gocache" "$tree/_output/local/go"
    ln -s "$store/.gocache" "$tree/_output/local/go/cache"
    cat >"$work/version" <<END
KUBE_GIT_COMMIT='debian-$source_version'
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v$kubernetes_version'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
END
    (
        cd "$tree"
        SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -STimestamp)
        export SOURCE_DATE_EPOCH PATH=/usr/lib/go-1.19/bin:/usr/bin:/bin HOME=$work
        export GOPATH=$work/go GO111MODULE=off GOFLAGS=-trimpath CGO_ENABLED=0
        export KUBE_GIT_VERSION_FILE=$work/version KUBE_STATIC_OVERRIDES=kubelet
        make WHAT="${binaries[*]/#/cmd/}" GOLDFLAGS='-s -w'
    ) >"$work/log" 2>&1 </dev/null || { tail -n 40 "$work/log" >&2; die "the build failed"; }
    mkdir "$work/out"
    cp "${binaries[@]/#/$tree/_output/local/go/bin/}" "$work/out/"
}

from_source() {
    local key
    key=$kubernetes_version-$(short_hash <"$0")
    [ -d "$store/$key" ] && { touch "$store/$key"; echo "$store/$key"; return; }
    exec 9>"$store/.lock"
    flock 9 # a second caller waits here and then finds the result
    [ -d "$store/$key" ] && { echo "$store/$key"; return; }

    need_packages golang-1.19-go gcc libc6-dev make git rsync jq dpkg-dev ca-certificates \
        debian-archive-keyring golang-github-modern-go-reflect2-dev
    # Always the same place: the compiler's cache only hits for the same paths. The lock says nobody else is here.
    work=$store/.source
    rm -rf "$work"
    mkdir "$work"
    ( exec >/dev/null 9>&-; for ((minutes = 1; ; minutes++)); do sleep 60; log "still building, $minutes min"; done ) &
    ticker=$!
    trap 'kill $ticker 2>/dev/null; rm -rf "$work"' EXIT
    log "building Kubernetes $kubernetes_version from Debian's source: 4-15 minutes, once"
    fetch_source
    compile
    # The compiler's cache stays when a run is interrupted, so the next one goes on from there.
    rm -rf "$store/.gocache"
    finish "$work/out" "$key"
}

if [ -n "${KUBERNETES_SERVER_TARBALL:-}" ]; then from_tarball; else from_source; fi
