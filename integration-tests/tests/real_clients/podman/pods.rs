//! Pods with their infra containers, and Kubernetes' descriptions of them.

use crate::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "pod",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000; in_pod two sleep 999
        for kind in net ipc uts; do
            is "$(podman exec one readlink /proc/self/ns/$kind)" "$(podman exec two readlink /proc/self/ns/$kind)"
        done
        is "$(podman exec one hostname)" pod
        is "$(podman pod inspect pod --format '{{.State}} {{.NumContainers}}')" 'Running 3'
        "#,
    ),
    (
        "pod: processes are shared",
        r#"
        podman pod create --name pod --share pid
        in_pod one sleep 1000; in_pod two sleep 999
        has "$(podman exec one ps)" 'sleep 999'
        podman kill two; is "$(podman wait two)" 137
        is "$(podman exec one echo on)" on
        "#,
    ),
    (
        "pod: address is shared",
        r#"
        podman pod create --name pod
        echo over >/run/file
        podman run -d --pod pod -v /run/file:/site/file $I httpd -f -h /site
        comes podman run --rm --pod pod $I wget -qO- http://127.0.0.1/file
        "#,
    ),
    (
        "pod: no infra",
        r#"
        podman pod create --name pod --infra=false
        in_pod one sleep 1000
        is "$(podman pod inspect pod --format '{{.NumContainers}}')" 1
        is "$(podman exec one echo on)" on
        "#,
    ),
    (
        "pod: pause, unpause",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000
        podman pod pause pod; is "$(of State.Status)" paused
        podman pod unpause pod; is "$(podman exec one echo on)" on
        "#,
    ),
    (
        "pod: stop, start, restart",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000
        podman pod stop -t 0 pod; is "$(of State.Status)" exited
        podman pod start pod; is "$(podman exec one echo on)" on
        before=$(of State.Pid)
        podman pod restart pod
        [ "$(of State.Pid)" != "$before" ] || fail 'it is the same process'
        "#,
    ),
    (
        "pod: kill",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000
        podman pod kill pod; is "$(podman wait one)" 137
        "#,
    ),
    (
        "pod: top, stats",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000
        has "$(podman pod top pod)" 'sleep 1000'
        has "$(podman pod stats --no-stream pod)" one
        "#,
    ),
    (
        "pod: ids",
        r#"
        podman pod create --name pod --userns auto
        in_pod one sleep 1000
        is "$(podman exec one awk '{ print $1, $3 }' /proc/self/uid_map)" '0 1024'
        has "$(pty podman exec -t one tty)" /dev/pts/
        "#,
    ),
    (
        "pod: containers before the others",
        r#"
        podman pod create --name pod
        podman create --pod pod --init-ctr once --name first -v data:/data $I sh -c 'echo over >/data/x'
        podman create --pod pod --name one -v data:/data $I cat /data/x
        podman pod start pod
        podman wait one
        is "$(podman logs one)" over
        "#,
    ),
    (
        "pod: cgroups are the pod's",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000
        has "$(cat /proc/$(of State.Pid)/cgroup)" "/libpod_parent/$(podman pod inspect pod --format '{{.ID}}')/"
        podman pod rm -f -t 0 pod
        is "$(find /sys/fs/cgroup -type d -name 'libpod-[0-9a-f]*')" ''
        "#,
    ),
    (
        "generate kube, play kube",
        r#"
        podman pod create --name pod
        in_pod one sleep 1000
        podman generate kube pod >/run/kube.yaml
        podman pod rm -f -t 0 pod
        podman play kube /run/kube.yaml
        is "$(podman exec pod-one echo on)" on
        podman play kube --down /run/kube.yaml
        refuses podman container exists pod-one
        "#,
    ),
    (
        "play kube: what a pod may ask for",
        r#"
        printf '%s\n' 'apiVersion: v1' 'kind: Pod' 'metadata: {name: kube}' \
            'spec:' '  hostname: there' '  containers:' "  - {name: one, image: $I, command: [sleep, '1000']," \
            '     env: [{name: A, value: b}], workingDir: /tmp,' \
            '     resources: {limits: {memory: 64Mi, cpu: 500m}},' \
            '     securityContext: {runAsUser: 7, runAsGroup: 8, readOnlyRootFilesystem: true,' \
            '       allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}},' \
            '     volumeMounts: [{name: host, mountPath: /mnt, readOnly: true}]}' \
            '  volumes: [{name: host, hostPath: {path: /run/image}}]' >/run/kube.yaml
        podman play kube /run/kube.yaml
        in_one() { podman exec kube-one sh -c "$1" | xargs; }
        is "$(in_one 'id -u; id -g; pwd; echo $A; hostname')" '7 8 /tmp b there'
        is "$(in_one 'grep NoNewPrivs: /proc/self/status')" 'NoNewPrivs: 1'
        refuses in_one 'touch /x'
        refuses in_one 'touch /mnt/x'
        has "$(in_one 'ls /mnt/etc')" passwd
        podman play kube --down /run/kube.yaml
        "#,
    ),
];
