#!/usr/bin/env bash
# demo-ha.sh IMAGE MACHINECTL: three control planes and a worker; one machine is lost and replaced, then
# the quorum is lost and recovered. Emulated it takes the better part of an hour. More arguments go to
# `cluster create`.
set -euo pipefail
image=$1
machinectl=$2
shift 2
home=${XDG_STATE_HOME:-$HOME/.local/state}/machined-demo-ha
mkdir -p "$home"
export MACHINECTL_CONFIG=$home/contexts.yaml KUBECONFIG=$home/machinectl/clusters/ha/kubeconfig XDG_STATE_HOME=$home
"$machinectl" cluster destroy ha 2>/dev/null || true

# Shows what is typed, then does it.
show() {
    printf '\n$ %s\n' "$*"
    if [ "$1" = machinectl ]; then
        shift
        "$machinectl" "$@"
    else
        "$@"
    fi
}

began=$(date +%s)
at() { printf '\n# %s (%d s after the beginning)\n' "$1" $(($(date +%s) - began)); }

show machinectl cluster create ha --image "$image" --control-planes 3 --workers 1 "$@"
show kubectl get nodes -o wide
show machinectl etcd members

at "a machine is lost, and replaced by one with an empty disk"
show machinectl cluster stop ha cp2
show machinectl etcd members
show machinectl cluster start ha cp2 --wipe
show machinectl etcd members
show kubectl get nodes

at "two of three are lost: the quorum with them"
show machinectl cluster stop ha cp2
show machinectl cluster stop ha cp3
show machinectl etcd health -n cp1 || true
show machinectl etcd recover --from-data --dry-run -n cp1
show machinectl etcd recover --from-data -n cp1
show machinectl status --wait -n cp1 --timeout 1800s
show machinectl etcd members
for machine in cp2 cp3; do
    show machinectl cluster start ha "$machine" --wipe
done
show machinectl etcd members
show kubectl get nodes
at "done"
cat <<END

The cluster runs. To use it:
  export MACHINECTL_CONFIG=$MACHINECTL_CONFIG KUBECONFIG=$KUBECONFIG XDG_STATE_HOME=$home
To end it:
  $machinectl cluster destroy ha
END
