//! Binds, volumes, tmpfs and the files of a container.

use crate::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
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
        "bind of a missing directory",
        r#"run -v /run/made/deep:/mnt/deep $I touch /mnt/deep/x; is "$(ls /run/made/deep)" x; rm -r /run/made"#,
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
        is "$(docker exec one ls /mnt/below)" later
        "#,
    ),
    (
        "bind: private",
        r#"
        tree
        detached -v /run/tree:/mnt
        mount -t tmpfs none /run/tree/below; touch /run/tree/below/later
        is "$(docker exec one ls /mnt/below)" inside
        "#,
    ),
    (
        "bind: shared",
        r#"
        tree
        detached -v /run/tree:/mnt:rshared --cap-add SYS_ADMIN
        docker exec one sh -c 'mount -t tmpfs none /mnt/below; touch /mnt/below/later'
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
        docker exec one touch /data/x
        is "$(run --volumes-from one $I ls /data)" x
        docker rm -fv one
        is "$(docker volume ls -q)" ''
        "#,
    ),
    (
        "tmpfs",
        r#"
        has "$(run --tmpfs /t:size=64k,mode=700 $I grep ' /t ' /proc/mounts)" 'size=64k,mode=700'
        has "$(run --mount type=tmpfs,dst=/t,tmpfs-size=64k $I grep ' /t ' /proc/mounts)" nosuid
        is "$(run --tmpfs /etc $I ls /etc | grep -c passwd || true)" 0
        "#,
    ),
    ("missing working directory", r#"is "$(run -w /new/place $I pwd)" /new/place"#),
    (
        "files of the network",
        r#"
        has "$(docker run --rm --add-host there:10.0.0.1 $I cat /etc/hosts)" there
        has "$(docker run --rm --dns 10.0.0.2 $I cat /etc/resolv.conf)" 10.0.0.2
        "#,
    ),
    (
        "cp to and from a running one",
        r#"
        detached
        echo over >/run/file
        docker cp /run/file one:/tmp/file; is "$(docker exec one cat /tmp/file)" over
        docker exec one sh -c 'echo back >/tmp/file'
        docker cp one:/tmp/file /run/file; is "$(cat /run/file)" back
        "#,
    ),
    (
        "cp before the start",
        r#"
        docker create --name one --net none $I cat /tmp/file
        echo over >/run/file; docker cp /run/file one:/tmp/file
        is "$(docker start -a one)" over
        "#,
    ),
    (
        "diff, commit, export",
        r#"
        detached
        docker exec one touch /tmp/x
        has "$(docker diff one)" 'A /tmp/x'
        docker export one | tar -t | grep tmp/x
        docker commit one committed
        is "$(run committed ls /tmp)" x
        docker rmi -f committed
        "#,
    ),
    (
        "files are kept over a restart",
        r#"detached; docker exec one touch /tmp/x; docker restart -t 0 one; is "$(docker exec one ls /tmp)" x"#,
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
