# Shared helpers of the image scripts; sourced, never run. Progress goes to stderr,
# because the scripts print their result (a directory) on stdout.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by those who source this
cache_root=${XDG_CACHE_HOME:-$HOME/.cache}/machined

log() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { log "$*"; exit 1; }

# quietly COMMAND...: its output only if it fails.
quietly() {
    local output
    output=$(DEBIAN_FRONTEND=noninteractive "$@" 2>&1 </dev/null) || { printf '%s\n' "$output" >&2; return 1; }
}

# need_packages NAME...: installs what is missing. Quiet and quick when all is there.
need_packages() {
    local missing=() name
    for name; do
        dpkg-query -W -f '${db:Status-Status}\n' "${name%%/*}" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    log "installing ${missing[*]}"
    quietly apt-get update || true
    quietly apt-get install -y --no-install-recommends "${missing[@]}"
}

# install_from_backports NAME...: Debian 12's newer builds, for programs whose own version is too old.
# The suite is added for this one call only; the machine's apt configuration stays as it is.
install_from_backports() {
    local sources
    log "installing $* from backports"
    sources=$(mktemp -d)
    cp -r /etc/apt/sources.list.d/. "$sources/"
    apt_source deb bookworm-backports main >"$sources/machined-backports.sources"
    quietly apt-get -o Dir::Etc::SourceParts="$sources" update
    quietly apt-get -y -o Dir::Etc::SourceParts="$sources" install --no-install-recommends -t bookworm-backports "$@"
    rm -rf "$sources"
    quietly apt-get update || true # forget the extra suite again
}

# need_qemu: what boots images here.
need_qemu() {
    if ! command -v qemu-system-x86_64 >/dev/null || ! command -v qemu-img >/dev/null; then
        install_from_backports qemu-system-x86 qemu-utils
    fi
}

# The mirror this machine's own apt uses for Debian, found at run time: the tree names no host.
debian_mirror() {
    # shellcheck disable=SC2016 # apt fills these in
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null |
        sed -n 's/^Debian //p' | grep -v -- '-security' | head -n 1
}

# apt_source KIND SUITE COMPONENTS: one deb822 stanza for that mirror.
apt_source() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n\n' \
        "$1" "$(debian_mirror)" "$2" "$3" "$keyring"
}

# short_hash: sixteen hex digits for what is on stdin.
short_hash() { sha256sum | cut -c1-16; }

# keep_newest N DIRECTORY: prunes old results; half-made ones (dot names) are left to their makers.
keep_newest() {
    find "$2" -mindepth 1 -maxdepth 1 -type d ! -name '.*' -printf '%T@ %p\n' |
        sort -rn | tail -n "+$(($1 + 1))" | cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
}
