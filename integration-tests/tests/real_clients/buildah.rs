//! Buildah, which calls the runtime itself.

use crate::{Client, Scenario, podman};

pub(crate) const CLIENT: Client = Client {
    name: "buildah",
    start: &[
        podman::CONFIGURATION,
        r#"
        image_root
        made=$(buildah from scratch)
        cp -a /run/image/. "$(buildah mount $made)"
        buildah config --env PATH=/bin --cmd sh $made
        buildah commit --rm $made $I
        "#,
    ],
    words: &[r#"
        # inside FLAGS COMMAND: in a container of the image
        inside() {
            buildah containers -q --filter name=one | grep -q . || buildah from --name one $I >/dev/null
            local flags=()
            while [[ $1 == -* ]]; do flags+=("$1"); shift; done
            buildah run "${flags[@]}" one -- "$@"
        }
        # built FLAGS LINES: builds an image with the lines
        built() {
            local flags=()
            while [[ $1 == --* ]]; do flags+=("$1"); shift; done
            mkdir -p /run/context; echo context >/run/context/file
            printf '%s\n' "FROM $I AS base" "$@" >/run/context/Containerfile
            buildah bud --no-cache -t built "${flags[@]}" /run/context
        }
        # shows FILE: of the image that was built
        shows() {
            local made
            made=$(buildah from built)
            cat "$(buildah mount $made)/$1"
            buildah rm $made >/dev/null
        }
        of_each_isolation() { for isolation in oci rootless chroot; do "$@"; done; }
    "#],
    clean: r#"
        runc list -q | xargs -r -n 1 runc delete --force
        buildah rm -a
        buildah rmi -f built 2>/dev/null || true
        is '' "$(find /run/ketch /run/crun /run/runc -mindepth 1 2>/dev/null)"
        is '' "$(find /sys/fs/cgroup -type d -name 'buildah*')"
    "#,
    peers: &["runc"],
    scenarios: &[RUN, BUD],
};

// K-20, K-34, K-35, K-40, and K-36 without a signal.
const RUN: &[Scenario] = &[
    ("run", r#"is "$(inside echo hello)" hello"#),
    ("run: exit status", "exits 42 inside sh -c 'exit 42'"),
    ("run: a signal", r#"exits 143 inside sh -c 'sleep 9 & kill $!; wait $!'"#),
    ("run: missing program", r#"refuses inside missing; refuses inside /missing; is "$(inside echo on)" on"#),
    ("run: stdin", r#"is "$(echo over | inside sh -c 'read word; echo $word')" over"#),
    ("run: megabytes", r#"is "$(head -c 3000000 /dev/zero | inside cat | wc -c)" 3000000"#),
    ("run: tty", r#"inside true; has "$(pty buildah run -t one tty)" /dev/pts/0"#),
    (
        "run: stdout, stderr",
        r#"is "$(inside sh -c 'echo out; echo error >&2' 2>/run/error)" out; has "$(cat /run/error)" error"#,
    ),
    (
        "run: each isolation",
        r#"
        with() {
            is "$(inside --isolation=$isolation echo $isolation)" $isolation
            exits 42 inside --isolation=$isolation sh -c 'exit 42'
            is "$(inside --isolation=$isolation --user=7:8 id -u)" 7
        }
        of_each_isolation with
        "#,
    ),
    ("run: user", r#"is "$(inside --user=guest sh -c 'id -u; id -g' | xargs)" '1000 1000'"#),
    (
        "run: environment, directory",
        r#"is "$(inside --env=A=b --workingdir=/tmp sh -c 'echo $A; pwd' | xargs)" 'b /tmp'"#,
    ),
    ("run: hostname", r#"is "$(inside --hostname=there hostname)" there"#),
    ("run: no network", r#"is "$(inside --network=none ls /sys/class/net)" lo"#),
    ("run: network", r#"is "$(inside ls /sys/class/net | xargs)" 'eth0 lo'"#),
    (
        "run: network of the host",
        r#"is "$(inside --network=host readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)""#,
    ),
    (
        "run: namespaces of the host",
        r#"
        for kind in pid ipc uts; do
            is "$(inside --$kind=host readlink /proc/self/ns/$kind)" "$(readlink /proc/self/ns/$kind)"
        done
        "#,
    ),
    (
        "run: volumes",
        r#"
        mkdir -p /run/shared; echo shared >/run/shared/file
        is "$(inside --volume=/run/shared:/mnt sh -c 'cat /mnt/file; echo mine >/mnt/other')" shared
        is "$(cat /run/shared/other)" mine
        refuses inside --volume=/run/shared:/mnt:ro touch /mnt/x
        "#,
    ),
    (
        "run: mounts",
        r#"
        has "$(inside --mount=type=tmpfs,destination=/t grep ' /t ' /proc/mounts)" tmpfs
        mkdir -p /run/shared; echo shared >/run/shared/file
        is "$(inside --mount=type=bind,source=/run/shared,destination=/mnt cat /mnt/file)" shared
        inside --mount=type=cache,target=/cache sh -c 'echo kept >/cache/x'
        is "$(inside --mount=type=cache,target=/cache cat /cache/x)" kept
        "#,
    ),
    (
        "run: capabilities",
        r#"
        may() { echo $((0x$(inside "$2" sed -n 's/^CapEff:.//p' /proc/self/status) >> $1 & 1)); }
        is "$(may 21 --cap-add=CAP_SYS_ADMIN) $(may 0 --cap-drop=CAP_CHOWN) $(may 0 --user=0)" '1 0 1'
        "#,
    ),
    ("run: no pivot", r#"is "$(inside --no-pivot echo on)" on"#),
    ("run: seccomp", r#"has "$(inside grep Seccomp: /proc/self/status)" 2"#),
    // K-36: `kill` without a signal.
    (
        "run: interrupted",
        r#"
        inside true
        buildah run one -- sleep 997 & pid=$!
        comes pgrep -f '^/bin/sleep 997'
        kill -INT $pid || true
        got=0; wait $pid || got=$?
        [ $got != 0 ] || fail 'it succeeds'
        sleeps_not() { ! pgrep -f '^/bin/sleep 997'; }
        comes sleeps_not
        "#,
    ),
    ("run: what ends at once", "for n in $(seq 20); do exits 3 inside sh -c 'exit 3'; done"),
];

const BUD: &[Scenario] = &[
    ("bud: shell form", "built 'RUN echo $((40 + 2)) >/made'; is \"$(shows made)\" 42"),
    ("bud: exec form", r#"built 'RUN ["sh", "-c", "echo $0 >/made", "over"]'; is "$(shows made)" over"#),
    ("bud: SHELL", r#"refuses built --format=docker 'SHELL ["/bin/sh", "-ec"]' 'RUN false; true'"#),
    ("bud: a step that fails", r#"exits 42 built 'RUN exit 42'"#),
    ("bud: missing program", r#"refuses built 'RUN ["missing"]'"#),
    (
        "bud: USER, WORKDIR, ENV, ARG",
        r#"
        built --build-arg=C=d 'ENV A=b' 'ARG C' 'WORKDIR /place' 'RUN chmod 777 .' 'USER 7:8' \
            'RUN echo $A $C $PWD $(id -u) $(id -g) >/place/made'
        is "$(shows place/made)" 'b d /place 7 8'
        "#,
    ),
    (
        "bud: VOLUME",
        r#"
        built 'RUN mkdir /data' 'VOLUME /data' 'RUN echo over >/data/x; echo made >/made'
        is "$(shows made)" made
        "#,
    ),
    (
        "bud: RUN --mount",
        r#"
        echo word >/run/word
        built --secret=id=word,src=/run/word \
            'RUN --mount=type=secret,id=word cat /run/secrets/word >/made' \
            'RUN --mount=type=cache,target=/cache echo kept >/cache/y' \
            'RUN --mount=type=cache,target=/cache cat /cache/y >>/made' \
            'RUN --mount=type=tmpfs,target=/t grep -o " /t tmpfs" /proc/mounts >>/made' \
            'RUN --mount=type=bind,target=/context cat /context/file >>/made'
        is "$(shows made | xargs)" 'word kept /t tmpfs context'
        "#,
    ),
    (
        "bud: RUN --mount of a stage",
        r#"
        built 'RUN echo over >/x' "FROM $I" 'RUN --mount=type=bind,from=base,target=/base cat /base/x >/made'
        is "$(shows made)" over
        "#,
    ),
    ("bud: no network", r#"built --network=none 'RUN ls /sys/class/net >/made'; is "$(shows made)" lo"#),
    (
        "bud: stages",
        r#"
        built --jobs=2 'RUN echo x >/x' "FROM $I AS other" 'RUN echo y >/y' "FROM $I" \
            'COPY --from=base /x /' 'COPY --from=other /y /' 'RUN cat /x /y >/made'
        is "$(shows made | xargs)" 'x y'
        "#,
    ),
    (
        "bud: each isolation",
        r#"
        with() { built --isolation=$isolation 'RUN echo over >/made'; is "$(shows made)" over; }
        of_each_isolation with
        "#,
    ),
    ("bud: layers", r#"built --layers 'RUN echo x >/x' 'RUN cat /x >/made'; is "$(shows made)" x"#),
    (
        "bud: limits",
        r#"
        built --memory=64m --cpu-quota=50000 --ulimit=nofile=99:99 \
            'RUN ulimit -n >/made; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null >>/made; true'
        is "$(shows made | xargs)" '99 67108864'
        "#,
    ),
    (
        "bud: size of /dev/shm",
        r#"built --shm-size=1m 'RUN grep " /dev/shm " /proc/mounts >/made'; has "$(shows made)" size=1024k"#,
    ),
    (
        "bud: seccomp is unconfined",
        r#"built --security-opt=seccomp=unconfined 'RUN grep Seccomp: /proc/self/status >/made'; has "$(shows made)" 0"#,
    ),
    (
        "bud: device",
        r#"built --device=/dev/loop-control 'RUN ls -l /dev/loop-control >/made'; has "$(shows made)" '10, 237'"#,
    ),
    (
        "bud: volumes",
        r#"
        mkdir -p /run/shared; echo shared >/run/shared/file
        built --volume=/run/shared:/mnt:ro 'RUN cat /mnt/file >/made'
        is "$(shows made)" shared
        "#,
    ),
    (
        "bud: hosts",
        r#"built --add-host=there:10.0.0.1 'RUN cat /etc/hosts >/made'; has "$(shows made)" there"#,
    ),
];
