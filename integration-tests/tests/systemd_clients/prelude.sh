# What every script may say. It is called with a directory of its own, in which ketch and busybox are.
set -euo pipefail
D=$1
KETCH=$D/ketch
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
fail() { echo "$*" >&2; exit 1; }
is() { [ "$1" = "$2" ] || fail "got \"$1\" and not \"$2\""; }
has() { case $1 in *"$2"*) ;; *) fail "got \"$1\", which has no \"$2\"" ;; esac; }
# comes COMMAND...: within a deadline it succeeds
comes() {
    local ends=$((SECONDS + 120))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $ends ] || fail "\"$*\" does not come true: $("$@" 2>&1)"
        sleep 0.2
    done
}
# A root file system of busybox.
image_root() {
    mkdir -p "$D"/image/{bin,etc,tmp,proc,sys,dev,root,run}
    cp "$D/busybox" "$D/image/bin/busybox"
    for name in sh echo cat sleep id true stat grep; do ln -s busybox "$D/image/bin/$name"; done
    echo root:x:0:0:root:/root:/bin/sh >"$D/image/etc/passwd"
    echo root:x:0: >"$D/image/etc/group"
}
# shown UNIT PROPERTY: as systemctl shows it
shown() { systemctl ${USER_UNITS-} show --value --property "$2" "$1"; }
# gone UNIT: systemd knows it no more
gone() { [ "$(shown "$1" LoadState)" = not-found ]; }
