#!/bin/sh
# Turns a fresh set of namespaces into a host and becomes its PID 1. Runs as the first process of the PID namespace;
# everything that is mounted here disappears with it.
# usage: boot.sh NAME LOWER DISK PIDFILE [SOURCE TARGET]
set -eu
name=$1 lower=$2 disk=$3 pidfile=$4

root=$disk/root
mkdir -p "$disk/upper" "$disk/work" "$root"
mount -t overlay serin-lab -o "lowerdir=$lower,upperdir=$disk/upper,workdir=$disk/work" "$root"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=0755,size=64m run "$root/run"
mount -t tmpfs -o mode=0755,size=16m dev "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,size=256m shm "$root/dev/shm"
mknod -m 0666 "$root/dev/null" c 1 3
mknod -m 0666 "$root/dev/zero" c 1 5
mknod -m 0666 "$root/dev/full" c 1 7
mknod -m 0666 "$root/dev/random" c 1 8
mknod -m 0666 "$root/dev/urandom" c 1 9
mknod -m 0666 "$root/dev/tty" c 5 0
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
if [ $# -ge 6 ]; then
    mkdir -p "$root$6"
    mount --bind "$5" "$root$6"
fi
hostname "$name"

# The machine's /proc is still mounted here, so this is our number as the machine sees it.
read -r pid rest </proc/self/stat
echo "$pid" >"$pidfile.partial"
mv "$pidfile.partial" "$pidfile"

mount -t proc proc "$root/proc"
cd "$root"
pivot_root . .
umount -l .
exec /usr/local/lib/serin-lab/init </dev/null
