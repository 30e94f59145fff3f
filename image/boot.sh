#!/bin/bash
# boot.sh [-d SECONDS] IMAGE-DIRECTORY [QEMU-ARGUMENT...]: boots an image with a scratch disk, its serial
# console on stdout, until it powers off or the deadline (default 300 s) ends it. For looking at boots
# by hand; the tests have their own harness. APPEND adds kernel arguments, UNIT=name:file adds a unit,
# STATE=file keeps the disk for another boot, KVM=1 uses the processor.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
[ -n "${QEMU:-}" ] || need_qemu
deadline=300
[ "${1:-}" = -d ] && { deadline=$2; shift 2; }
image=$(readlink -f "${1:?image directory}")
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
state=${STATE:-$work/disk.qcow2}
[ -e "$state" ] || qemu-img create -q -f qcow2 -F raw -b "$image/disk.raw" "$state" "${DISK:-12G}"
extra=()
if [ -n "${UNIT:-}" ]; then
    # A unit comes in as a credential, as a support case would bring it; the image itself stays as it is.
    printf 'io.systemd.credential.binary:systemd.extra-unit.%s=%s' "${UNIT%%:*}" "$(base64 -w0 "${UNIT#*:}")" >"$work/unit"
    extra+=(-smbios "type=11,path=$work/unit")
fi
# Under emulation the model matters: AVX is slow to emulate, these extensions are quick and save whole loops.
fast=qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+aes,+pclmulqdq,+sha-ni,+bmi1,+bmi2,+movbe,+abm,+rdrand,+rdseed
if [ -n "${KVM:-}" ]; then accel=(-accel kvm -cpu "${CPU:-host}"); else accel=(-accel "tcg,thread=multi" -cpu "${CPU:-$fast}"); fi
timeout --foreground "$deadline" "${QEMU:-qemu-system-x86_64}" -nodefaults -no-user-config -machine "${MACHINE:-q35,sata=off,smbus=off,i8042=off,vmport=off}" "${accel[@]}" \
    -smp 2 -m 4096 -display none -serial stdio -no-reboot -uuid 11111111-2222-4333-8444-555555555555 \
    -kernel "$image/${KERNEL:-vmlinuz}" -initrd "$image/initrd" -append "$(cat "$image/cmdline") ${APPEND:-}" \
    -drive "if=virtio,format=qcow2,file=$state,cache=unsafe" -device virtio-rng-pci \
    -netdev user,id=n,restrict=on -device virtio-net-pci,netdev=n "${extra[@]}" "$@" </dev/null
