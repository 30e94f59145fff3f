# What both scripts of the peer need: a console that the bench reads, and containerd. Sourced.
# shellcheck shell=sh
exec >/dev/console 2>&1
export PATH=/usr/lib/kubernetes/bin:/usr/sbin:/usr/bin
here=/run/bench

say() {
    read -r up _ </proc/uptime
    echo "bench: $* at $up"
}

# The bench notices at once when a machine goes away, and its console says why.
fail() {
    say "failed: $*"
    journalctl -u kubelet -u containerd -n 50 --no-pager || true
    systemctl poweroff --force
    exit 1
}

start_containerd() {
    mkdir -p /etc/containerd
    cp "$here/containerd.toml" /etc/containerd/config.toml
    systemctl start containerd.service || fail "containerd does not start"
}
