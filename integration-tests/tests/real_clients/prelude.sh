# What every scenario may say. Sourced before it, by a bash that ends at the first failure.
I=localhost/test
fail() { echo "$*" >&2; exit 1; }
is() { [ "$1" = "$2" ] || fail "got \"$1\" and not \"$2\""; }
has() { case $1 in *"$2"*) ;; *) fail "got \"$1\", which has no \"$2\"" ;; esac; }
# exits STATUS COMMAND...: the command exits so; $out is what it said
exits() {
    local expected=$1 got=0
    shift
    out=$("$@" 2>&1) || got=$?
    [ "$got" = "$expected" ] || fail "\"$*\" exits $got and not $expected: $out"
}
# refuses COMMAND...: the command fails; $out is what it said
refuses() { if out=$("$@" 2>&1); then fail "\"$*\" succeeds: $out"; fi; }
# A terminal around a command.
pty() { script -qec "$*" /dev/null </dev/null | tr -d '\r'; }
# comes COMMAND...: within a deadline it succeeds
comes() {
    local ends=$((SECONDS + 30))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $ends ] || fail "\"$*\" does not come true: $("$@" 2>&1)"
        sleep 0.05
    done
}
said() { "${@:2}" 2>&1 | grep -q -- "$1"; }
# cgroup_at PATH FILE FILE: a cgroup's file in version 1, after its hierarchy, such as pids/pids.max, and in version 2
cgroup_at() {
    local place=/sys/fs/cgroup/$1/$3
    [ -e "$place" ] || place=/sys/fs/cgroup/${2%%/*}/$1/${2#*/}
    cat "$place"
}
# A root file system of busybox, which images are made of.
image_root() {
    mkdir -p /run/image/{bin,etc,tmp,proc,sys,dev,root}
    cp /run/bin/busybox /run/image/bin/busybox
    chroot /run/image /bin/busybox --install -s /bin
    echo root:x:0:0:root:/root:/bin/sh >/run/image/etc/passwd
    echo guest:x:1000:1000:guest:/:/bin/sh >>/run/image/etc/passwd
    printf 'root:x:0:\nguest:x:1000:\n' >/run/image/etc/group
    chmod 1777 /run/image/tmp
}
empty() { [ -z "$(ls -A "$1")" ]; }
