#!/bin/sh
# Boots a machine: systemd as process 1 in namespaces of its own, on a copy of this machine's files that is forgotten at the end.
# Runs as process 1 of new namespaces (unshare). Arguments: a scratch folder, the machine's name, a folder to show as 'given' in root's home.
set -eu
scratch=$1 name=$2 given=$3
root=$scratch/root

mount --make-rprivate /
hostname "$name"
mount -t tmpfs scratch "$scratch"
mkdir "$root" "$scratch/upper" "$scratch/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# As systemd mounts it: root's alone.
mount -t bpf bpf -o mode=0700 "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
mount -t tmpfs run -o mode=0755 "$root/run"
mount -t tmpfs tmp -o mode=1777 "$root/tmp"
mkdir -p "$root/root/given"
mount --bind "$given" "$root/root/given"

# What a machine of this kind starts is not the matter here, and takes seconds.
rm -rf "$root"/etc/systemd/system/*.wants "$root/etc/dlba" "$root/var/lib/dlba" "$root/usr/lib/dlba"
mkdir -p "$root/etc/systemd/system"
echo "$name" >"$root/etc/hostname"
for unit in sysinit.target basic.target network-online.target multi-user.target; do
	printf '[Unit]\nDefaultDependencies=no\n' >"$root/etc/systemd/system/$unit"
done
cat >"$root/etc/systemd/system/machine.target" <<'END'
[Unit]
DefaultDependencies=no
Wants=systemd-journald.socket systemd-journald.service
END
# The index of man pages takes longer than everything else of an installation.
rm -f "$root/var/lib/man-db/auto-update" "$root/usr/sbin/policy-rc.d"

cd "$root"
export container=test
exec chroot "$root" /lib/systemd/systemd --unit=machine.target --show-status=no --log-target=journal
