//! `docker build`, whose steps are containers: by the old builder, and by BuildKit, which runs `runc` from `PATH`.

use crate::Scenario;

// K-30 to K-33 for BuildKit.
pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "old builder: RUN",
        r#"
        old 'RUN echo over >/made' 'ENV A=b' 'WORKDIR /place' 'USER 7:8' 'RUN echo $A $PWD $(id -u) $(id -g) >/tmp/said'
        is "$(run built cat /made /tmp/said | xargs)" 'over b /place 7 8'
        "#,
    ),
    (
        "old builder: a step that fails",
        r#"exits 42 old 'RUN exit 42'; has "$out" 'returned a non-zero code: 42'"#,
    ),
    ("old builder: a missing program", r#"exits 127 old 'RUN missing'; has "$out" 'not found'"#),
    (
        "BuildKit: RUN",
        r#"
        kit 'RUN echo over >/made' 'ENV A=b' 'WORKDIR /place' 'USER 7:8' 'RUN echo $A $PWD $(id -u) $(id -g) >/tmp/said'
        is "$(run built cat /made /tmp/said | xargs)" 'over b /place 7 8'
        "#,
    ),
    ("BuildKit: a step that fails", r#"exits 1 kit 'RUN exit 42'; has "$out" 'exit code: 42'"#),
    (
        "BuildKit: a missing program",
        r#"exits 1 kit 'RUN ["/missing"]'; has "$out" 'no such file or directory'"#,
    ),
    (
        "BuildKit: RUN --mount",
        r#"
        echo word >/run/word
        kit --secret id=word,src=/run/word 'RUN --mount=type=secret,id=word cat /run/secrets/word >/made' \
            'RUN --mount=type=cache,target=/cache echo kept >/cache/x' \
            'RUN --mount=type=cache,target=/cache cat /cache/x >>/made' \
            'RUN --mount=type=tmpfs,target=/t grep -o " /t tmpfs" /proc/mounts >>/made' \
            'RUN --mount=type=bind,target=/context cat /context/file >>/made'
        is "$(run built cat /made | xargs)" 'word kept /t tmpfs context'
        "#,
    ),
    (
        "BuildKit: no network",
        r#"kit --network none 'RUN ls /sys/class/net >/made'; is "$(run built cat /made)" lo"#,
    ),
    (
        "BuildKit: four steps at a time",
        r#"
        kit 'AS base' 'FROM base AS x' 'RUN echo x >/x' 'FROM base AS y' 'RUN echo y >/y' 'FROM base' \
            'COPY --from=x /x /' 'COPY --from=y /y /'
        is "$(run built cat /x /y | xargs)" 'x y'
        "#,
    ),
    (
        "BuildKit: given up",
        r#"
        kit 'RUN sleep 997' >/run/said 2>&1 & pid=$!
        comes pgrep -f '^sleep 997'
        pkill -INT -P $pid -x docker || kill -INT $pid
        comes bash -c '! pgrep -f "^sleep 997"'
        "#,
    ),
];
