//! Binds, volumes, tmpfs and the files of a container.

use crate::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "bind",
        r#"
        mkdir -p /run/shared; echo shared >/run/shared/file
        is "$(run -v /run/shared:/mnt $I sh -c 'cat /mnt/file; echo mine >/mnt/other')" shared
        is "$(cat /run/shared/other)" mine
        "#,
    ),
    (
        "bind: read only",
        r#"
        mkdir -p /run/shared; echo shared >/run/shared/file
        is "$(run -v /run/shared:/mnt:ro $I cat /mnt/file)" shared
        exits 1 run -v /run/shared:/mnt:ro $I touch /mnt/x
        has "$out" 'Read-only file system'
        exits 1 run --mount type=bind,src=/run/shared,dst=/mnt,readonly $I touch /mnt/x
        "#,
    ),
    (
        "bind of a file",
        r#"echo over >/run/file; is "$(run -v /run/file:/etc/passwd $I cat /etc/passwd)" over"#,
    ),
    (
        "bind: mounts below it",
        r#"
        tree
        is "$(run -v /run/tree:/mnt $I ls /mnt/below)" inside
        is "$(run --mount type=bind,src=/run/tree,dst=/mnt,bind-nonrecursive $I ls /mnt/below)" ''
        "#,
    ),
    (
        "bind: slave",
        r#"
        tree
        detached -v /run/tree:/mnt:rslave
        mount -t tmpfs none /run/tree/below; touch /run/tree/below/later
        is "$($E exec one ls /mnt/below)" later
        "#,
    ),
    (
        "bind: private",
        r#"
        tree
        detached -v /run/tree:/mnt
        mount -t tmpfs none /run/tree/below; touch /run/tree/below/later
        is "$($E exec one ls /mnt/below)" inside
        "#,
    ),
    (
        "bind: shared",
        r#"
        tree
        detached -v /run/tree:/mnt:rshared --cap-add SYS_ADMIN
        $E exec one sh -c 'mount -t tmpfs none /mnt/below; touch /mnt/below/later'
        is "$(ls /run/tree/below)" later
        umount /run/tree/below
        "#,
    ),
    (
        "volume",
        r#"
        run -v data:/etc $I sh -c 'echo kept >/etc/kept'
        is "$(run -v data:/mnt:ro $I cat /mnt/kept)" kept
        has "$(run -v data:/mnt:ro $I cat /mnt/passwd)" root
        "#,
    ),
    (
        "volume without a name",
        r#"
        detached -v /data
        $E exec one touch /data/x
        is "$(run --volumes-from one $I ls /data)" x
        remove -v one
        is "$($E volume ls -q)" ''
        "#,
    ),
    (
        "tmpfs",
        r#"
        has "$(run --tmpfs /t:size=64k,mode=700 $I grep ' /t ' /proc/mounts)" 'size=64k,mode=700'
        has "$(run --mount type=tmpfs,dst=/t,tmpfs-size=64k $I grep ' /t ' /proc/mounts)" nosuid
        "#,
    ),
    (
        "files of the network",
        r#"
        has "$($E run --rm --add-host there:10.0.0.1 $I cat /etc/hosts)" there
        has "$($E run --rm --dns 10.0.0.2 $I cat /etc/resolv.conf)" 10.0.0.2
        "#,
    ),
    (
        "cp to and from a running one",
        r#"
        detached
        echo over >/run/file
        $E cp /run/file one:/tmp/file; is "$($E exec one cat /tmp/file)" over
        $E exec one sh -c 'echo back >/tmp/file'
        $E cp one:/tmp/file /run/file; is "$(cat /run/file)" back
        "#,
    ),
    (
        "cp before the start",
        r#"
        $E create --name one --net none $I cat /tmp/file
        echo over >/run/file; $E cp /run/file one:/tmp/file
        is "$($E start -a one)" over
        "#,
    ),
    (
        "diff, commit, export",
        r#"
        detached
        $E exec one touch /tmp/x
        has "$($E diff one)" 'A /tmp/x'
        $E export one | tar -t | grep tmp/x
        $E commit one committed
        is "$(run committed ls /tmp)" x
        $E rmi -f committed
        "#,
    ),
    (
        "files are kept over a restart",
        r#"detached; $E exec one touch /tmp/x; $E restart -t 0 one; is "$($E exec one ls /tmp)" x"#,
    ),
    (
        "environment",
        r#"
        echo C=d >/run/variables
        is "$(run -e A=b --env-file /run/variables $I sh -c 'echo $A $C $HOME $HOSTNAME' | wc -w)" 4
        is "$(run --entrypoint echo $I over)" over
        "#,
    ),
];
