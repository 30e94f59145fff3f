#!/usr/bin/env bash
# demo.sh IMAGE MACHINECTL: one machine from nothing to a Ready node, shown.
set -euo pipefail
image=$1
machinectl=$2
# A demo of its own: contexts and kubeconfigs of the person at the keyboard stay
# as they are.
home=${XDG_STATE_HOME:-$HOME/.local/state}/machined-demo
mkdir -p "$home"
export MACHINECTL_CONFIG=$home/contexts.yaml KUBECONFIG=$home/machinectl/clusters/demo/kubeconfig XDG_STATE_HOME=$home
"$machinectl" cluster destroy demo 2>/dev/null || true
"$machinectl" cluster create demo --image "$image"
# Ready is the node's word; what every node also runs comes a moment later.
echo "waiting up to 900 s for kube-proxy" >&2
kubectl -n kube-system rollout status daemonset/kube-proxy --timeout=900s >&2
kubectl get nodes,pods -A -o wide
cat <<END

The cluster runs. To use it:
  export MACHINECTL_CONFIG=$MACHINECTL_CONFIG KUBECONFIG=$KUBECONFIG XDG_STATE_HOME=$home
To end it:
  $machinectl cluster destroy demo
END
