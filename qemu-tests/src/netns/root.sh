# Makes a node's root and becomes its first process, in namespaces of its own.
# Of the host it has /usr and nothing else. What is on its disk is in $NODE/disk and
# outlives its power; everything else is in memory, as on a machine of ours.
# Environment: NODE, DOUBLE, MACHINED (none: the machine is somebody else's), KUBERNETES.
set -eu
root=$NODE/root
mkdir -p "$root" "$NODE/disk/lib/etcd" "$NODE/disk/lib/machined" "$NODE/disk/lib/kubelet" \
    "$NODE/disk/log" "$NODE/log" "$NODE/credentials"
chmod 700 "$NODE/disk/lib/etcd" "$NODE/disk/lib/machined"
mount -t tmpfs -o mode=755 none "$root"
cd "$root"
mkdir -p usr etc/kubernetes/manifests run/machined run/dbus run/credentials tmp proc dev var opt/kubernetes
chmod 700 etc/kubernetes/manifests run/machined
chmod 1777 tmp
for link in bin sbin lib lib64; do ln -s "usr/$link" "$link"; done
mount --bind -o ro /usr usr
mount --bind "$NODE/disk" var
# Logs are for whoever reads about a failure: they outlive a wiped disk.
mount --bind "$NODE/log" var/log
ln -sfn ../run var/run
mount --bind -o ro "$NODE/credentials" run/credentials
mount --bind -o ro "$KUBERNETES" opt/kubernetes
for program in "$DOUBLE" ${MACHINED:+"$MACHINED"}; do
    name=$(basename "$program")
    : >"opt/$name"
    mount --bind -o ro "$program" "opt/$name"
done
cp -p /etc/passwd /etc/group /etc/ld.so.cache etc/
mkdir -p etc/ssl/certs etc/systemd/network etc/haproxy etc/keepalived
echo 'hosts: files' >etc/nsswitch.conf
printf '127.0.0.1 localhost\n' >etc/hosts
: >etc/resolv.conf
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom dev/
ln -s /proc/self/fd dev/fd
mkfifo dev/console
mount -t proc none proc
# A real kubelet looks for its control groups; nothing of this machine's is its to change.
if [ -z "$MACHINED" ]; then
    mkdir sys
    mount --rbind /sys sys
    cut -d ' ' -f 2 /proc/self/mounts | grep "^$root/sys" | while read -r mounted; do
        mount -o remount,bind,ro "$mounted"
    done
fi
# Each power on is a boot of its own.
cat proc/sys/kernel/random/uuid >run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id
hostname localhost
# A node of this kind shares its clock and kernel with the host.
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_boot chroot . "/opt/$(basename "$DOUBLE")" init
