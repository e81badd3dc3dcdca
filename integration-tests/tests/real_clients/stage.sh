# Makes a machine of its own for one client, and runs "$@" in it: private mounts, network, processes and cgroups, with
# the packages below $PACKAGES laid over /usr and /etc, and $FILES in
# /run/bin, $RUNTIME among them as runc. Called with the cgroup's name first.
set -eu
if [ "${STAGE-}" ]; then
    # Inside: what the client finds at its usual places.
    mount -t tmpfs -o mode=755 none /sys/fs/cgroup
    # Not there before: the same file system twice in one place is refused.
    [ "$HIERARCHIES" ] || mount -t cgroup2 none /sys/fs/cgroup
    for hierarchy in $HIERARCHIES; do
        mkdir "/sys/fs/cgroup/$hierarchy"
        case $hierarchy in
        unified) mount -t cgroup2 none /sys/fs/cgroup/unified ;;
        systemd) mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd ;;
        *) mount -t cgroup -o "$hierarchy" none "/sys/fs/cgroup/$hierarchy" ;;
        esac
    done
    mount -t tmpfs -o mode=755 none /run
    mkdir /run/bin /run/home /run/lock /run/stage /run/stage/upper /run/stage/work
    mount -t overlay -o "lowerdir=$PACKAGES/usr:/usr" none /usr
    mount -t overlay -o "lowerdir=$PACKAGES/etc:/etc,upperdir=/run/stage/upper,workdir=/run/stage/work" none /etc
    for file in $FILES; do cp "$file" /run/bin; done
    # The client finds the runtime by the name that it would have anyway; Debian's scripts make the other names.
    cp "$RUNTIME" /run/bin/runc
    for name in iptables ip6tables; do
        for way in legacy nft; do
            if "$name-$way" -t nat -L >/dev/null 2>&1; then ln -sf "/usr/sbin/$name-$way" /run/bin/$name; fi
        done
    done
    for place in /var/lib /opt /tmp; do mount -t tmpfs -o mode=755 none $place; done
    chmod 1777 /tmp
    # Podman has its locks there.
    mount -t tmpfs -o mode=1777 none /dev/shm
    ip link set lo up
    unset STAGE HIERARCHIES FILES PACKAGES RUNTIME
    export HOME=/run/home PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin
    cd /run/home
    "$@" &
    # A shell takes in whose parents have ended, as the first process of a machine has to.
    wait $!
    exit
fi
cgroup=$1
shift
export STAGE=1 HIERARCHIES=
namespaces="--mount --propagation private --net --ipc --uts --pid --fork --kill-child --mount-proc"
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    # Version 2 alone. The namespace's root may hand down controllers once no process is in it, as docker in docker does.
    place=/sys/fs/cgroup/$cgroup
    mkdir "$place" "$place/init"
    echo $$ >"$place/cgroup.procs"
    exec unshare --cgroup sh -c '
        echo $$ >"$0/init/cgroup.procs"
        for controller in $(cat "$0/cgroup.controllers"); do echo "+$controller" >"$0/cgroup.subtree_control"; done
        exec unshare "$@"
    ' "$place" $namespaces sh "$0" "$@"
fi
for place in /sys/fs/cgroup/*; do
    [ "$(stat -f -c %T "$place")" = cgroupfs ] || [ "$(stat -f -c %T "$place")" = cgroup2fs ] || continue
    HIERARCHIES="$HIERARCHIES ${place##*/}"
    mkdir "$place/$cgroup"
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$place/$file" ] || cat "$place/$file" >"$place/$cgroup/$file"
    done
    echo $$ >"$place/$cgroup/cgroup.procs"
done
exec unshare --cgroup $namespaces sh "$0" "$@"
