#!/bin/sh
# kubeadm init as a person would run it on a machine whose images are there already.
set -eu
. /run/bench/common.sh
mkdir -p /etc/cni/net.d /run/systemd/system/kubelet.service.d
cp "$here/10-bridge.conflist" /etc/cni/net.d/
cp "$here/10-kubeadm.conf" /run/systemd/system/kubelet.service.d/
# What the agent's host stage sets, and every guide to kubeadm asks for beforehand.
modprobe -a overlay br_netfilter
for key in ipv4/ip_forward bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables; do echo 1 >/proc/sys/net/$key; done
systemctl daemon-reload
start_containerd
# The bench watches the node from outside, so it needs the administrator's file as soon as there is one.
(
    # kubeadm writes kubelet's after it, so by then it is whole.
    while ! [ -e /etc/kubernetes/kubelet.conf ]; do sleep 0.5; done
    echo "bench: admin.conf $(base64 -w0 /etc/kubernetes/admin.conf)"
) &
say "kubeadm starts"
read -r begun _ </proc/uptime
# Preflight needs crictl, which only it would use, and CoreDNS has no image here: both save kubeadm time.
"$here/kubeadm" init --config "$here/kubeadm.yaml" --ignore-preflight-errors=all --skip-phases=preflight,addon/coredns ||
    fail "kubeadm init"
read -r up _ </proc/uptime
# In hundredths of a second: a shell counts no fractions.
took=$((${up%.*}${up#*.} - ${begun%.*}${begun#*.}))
echo "bench: kubeadm ended after $((took / 100)).$((took / 10 % 10)) s"
