#!/bin/bash
# user_manager.sh WORK COMMAND...: run the command beside a real `systemd --user`, in namespaces of its own.
#
# For root in a container without systemd. Mounts, processes and control groups are private: /dev and /run are fresh,
# the manager sees no control group but its own (in the root group it would move everybody's processes), and all
# processes end with the command.
set -eu
work=$1
shift

hierarchies() { # where systemd keeps its control groups: version 1, both, version 2
    if [ -d /sys/fs/cgroup/systemd ]; then
        echo /sys/fs/cgroup/systemd
        [ ! -d /sys/fs/cgroup/unified ] || echo /sys/fs/cgroup/unified
    else
        echo /sys/fs/cgroup
    fi
}

if [ -z "${USER_MANAGER_INSIDE:-}" ]; then
    for tree in $(hierarchies); do
        mkdir "$tree/tinytown-test-$$"
        echo $$ > "$tree/tinytown-test-$$/cgroup.procs"
    done
    code=0
    USER_MANAGER_INSIDE=1 unshare --mount --pid --cgroup --fork --kill-child --propagation private --mount-proc \
        "$0" "$work" "$@" || code=$?
    for tree in $(hierarchies); do
        echo $$ > "$tree/cgroup.procs"
        find "$tree/tinytown-test-$$" -depth -type d -exec rmdir {} \;
    done
    exit $code
fi

mkdir -p "$work/dev" "$work/home"
mount -t tmpfs tmpfs "$work/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$work/dev/"; done
mkdir "$work/dev/shm" "$work/dev/pts"
ln -s /proc/self/fd "$work/dev/fd"
mount --bind "$work/dev" /dev
trees=$(hierarchies)
for mounted in /sys/fs/cgroup/*/; do umount --lazy "$mounted" 2> /dev/null || true; done
for tree in $trees; do
    case $tree in
        */systemd) mount -t cgroup -o none,name=systemd cgroup "$tree" ;;
        *) mount -t cgroup2 cgroup2 "$tree" ;;
    esac
done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 HOME="$work/home"
unset USER_MANAGER_INSIDE

/lib/systemd/systemd --user > "$work/manager.log" 2>&1 &
for _ in $(seq 200); do
    if systemctl --user show --property=Version > /dev/null 2>&1; then
        "$@"
        exit
    fi
    sleep 0.05
done
cat "$work/manager.log" >&2
echo "the user manager did not come up" >&2
exit 1
