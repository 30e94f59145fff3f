#!/bin/sh
# Lets a real kubeadm make its objects in a real API server, and keeps them. Needs root:
#   capture-objects.sh <directory of kubeadm and kube-apiserver 1.20.2> <etcd>
# Runs in namespaces of its own: nothing of the host's network or /etc/kubernetes is touched.
set -eu
apiserver= etcd=
if [ "${3-}" != inside ]; then
    exec unshare --mount --net "$0" "$1" "$2" inside
fi
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'kill -9 $apiserver $etcd 2>/dev/null || true; umount -l /etc "$work/overlay"; rm -rf "$work"' EXIT
mount --make-rprivate /
ip link set lo up
ip address add 192.0.2.10/32 dev lo
mkdir "$work/overlay"
mount -t tmpfs none "$work/overlay"
mkdir "$work/overlay/upper" "$work/overlay/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/overlay/upper,workdir=$work/overlay/work" /etc

phase() {
    # shellcheck disable=SC2086 # the phase is several words
    env -i PATH="$PATH" "$kubeadm" init phase $1 --config "$here/kubeadm.yaml"
}
kubeadm=$1/kubeadm
phase "certs all"
phase "kubeconfig all"
phase "control-plane apiserver"
pki=/etc/kubernetes/pki/etcd
"$2" --data-dir "$work/etcd" --client-cert-auth --trusted-ca-file $pki/ca.crt \
    --cert-file $pki/server.crt --key-file $pki/server.key \
    --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 \
    >"$work/etcd.log" 2>&1 &
etcd=$!
# shellcheck disable=SC2046 # one word an argument
"$1/kube-apiserver" $(sed -n 's/^    - \(--.*\)$/\1/p' /etc/kubernetes/manifests/kube-apiserver.yaml) \
    >"$work/api.log" 2>&1 &
apiserver=$!
export KUBECONFIG=/etc/kubernetes/admin.conf
tries=0
until kubectl get --raw /readyz >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 120 ] || { tail "$work/api.log"; exit 1; }
    sleep 1
done
phase "upload-config kubeadm"
# Marks its node after the ConfigMap; there is none.
timeout 60 env -i PATH="$PATH" "$kubeadm" init phase upload-config kubelet \
    --config "$here/kubeadm.yaml" || true
phase "bootstrap-token"
phase "addon kube-proxy"
phase "addon coredns"

get() { kubectl get --ignore-not-found -o json "$@"; }
n="-n kube-system"
{
    get clusterrole kubeadm:get-nodes system:coredns
    get clusterrolebinding kubeadm:get-nodes kubeadm:kubelet-bootstrap kubeadm:node-autoapprove-bootstrap \
        kubeadm:node-autoapprove-certificate-rotation kubeadm:node-proxier system:coredns
    # shellcheck disable=SC2086 # the namespace is two words
    for kind in role rolebinding; do
        get $n $kind kubeadm:nodes-kubeadm-config kubeadm:kubelet-config-1.20 kube-proxy
        get -n kube-public $kind kubeadm:bootstrap-signer-clusterinfo
    done
    # shellcheck disable=SC2086
    {
        get $n serviceaccount kube-proxy coredns
        get $n configmap kubeadm-config kubelet-config-1.20 kube-proxy coredns
        get -n kube-public configmap cluster-info
        get $n secret bootstrap-token-abcdef
        get $n daemonset kube-proxy
        get $n deployment coredns
        get $n service kube-dns
    }
} >"$here/objects.json"
