#!/bin/sh
# Runs a real kubeadm's init phases and keeps what they write. Needs root, for chroot only:
#   capture.sh <path to kubeadm 1.20.2>
# kubeadm is static, so it runs in an otherwise empty root. Nothing of the host is written, and
# none of the host's CA directories or proxy settings end up in the output.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/tmp" "$root/etc" "$root/var/lib"
cp "$1" "$root/bin/kubeadm"
cp "$here/kubeadm.yaml" "$root/kubeadm.yaml"
for phase in "certs all" "kubeconfig all" "control-plane all" "etcd local" "kubelet-start"; do
    # shellcheck disable=SC2086 # the phase is two words
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /bin/kubeadm init phase $phase --config /kubeadm.yaml
done
cp "$root"/etc/kubernetes/manifests/*.yaml "$here/"
cp "$root/var/lib/kubelet/config.yaml" "$here/kubelet-config.yaml"
cp "$root/var/lib/kubelet/kubeadm-flags.env" "$here/kubeadm-flags.env"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /bin/kubeadm config print init-defaults \
    --component-configs KubeProxyConfiguration | sed -n '/kubeproxy.config.k8s.io/,$p' \
    >"$here/kube-proxy-config.yaml"
# Facts of the certificates and kubeconfigs, without any key.
for certificate in $(cd "$root/etc/kubernetes/pki" && find . -name '*.crt' | sort); do
    echo "== ${certificate#./}"
    openssl x509 -in "$root/etc/kubernetes/pki/$certificate" -noout -subject -issuer \
        -nameopt RFC2253 -ext basicConstraints,keyUsage,extendedKeyUsage,subjectAltName
done >"$here/certificates.txt"
for config in admin kubelet controller-manager scheduler; do
    echo "== $config.conf"
    sed -e 's/-data: .*/-data: omitted/' "$root/etc/kubernetes/$config.conf"
    sed -n 's/.*client-certificate-data: //p' "$root/etc/kubernetes/$config.conf" | base64 -d |
        openssl x509 -noout -subject -issuer -nameopt RFC2253 -ext extendedKeyUsage
done >"$here/kubeconfigs.txt"
