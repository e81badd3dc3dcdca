podman() {
    command podman --root "$D/root" --runroot "$D/runroot" --tmpdir "$D/tmp" --storage-driver vfs \
        --cgroup-manager systemd --events-backend file --runtime "$KETCH" "$@"
}
trap 'podman rm -af -t 0 >/dev/null 2>&1 || true' EXIT
image_root
tar -C "$D/image" -c . | podman import -c 'ENV PATH=/bin' - test
is "$(podman info --format '{{.Host.CgroupManager}} {{.Host.CgroupsVersion}}')" "systemd v2"
is "$(podman run --rm --net none test echo hello)" hello

id=$(podman run -d --name one --net none --memory 64m --cpus 0.5 --pids-limit 50 test sleep 1000)
unit=libpod-$id.scope
is "$(shown "$unit" MemoryMax)" 67108864
is "$(shown "$unit" TasksMax)" 50
is "$(shown "$unit" Slice)" machine.slice
is "$(podman exec one echo again)" again
has "$(podman exec one cat /proc/self/cgroup)" 0::/
podman update --memory 96m one
systemctl daemon-reload
place=/sys/fs/cgroup$(shown "$unit" ControlGroup)
# Podman has the payload in a cgroup of its own below the unit, or in the unit itself.
is "$(cat "$place/memory.max")" 100663296
podman pause one
is "$(podman inspect -f '{{.State.Status}}' one)" paused
podman unpause one
has "$(podman top one args)" "sleep 1000"
podman stop -t 0 one
comes gone "$unit"
podman rm one

# A container that runs a systemd is stopped by a signal of real time.
podman run -d --name two --net none --systemd=always test sh -c 'trap "exit 9" 37; echo up; while :; do sleep 0.1; done'
up() { podman logs two | grep -q up; }
comes up
podman stop -t 100 two
is "$(podman inspect -f '{{.State.ExitCode}}' two)" 9
podman rm two

podman pod create --name pod --network none
podman run -d --pod pod --name three test sleep 1000
slice=$(basename "$(podman pod inspect pod | sed -nE 's/ *"CgroupPath": "(.*)",?/\1/p')")
has "$(shown "libpod-$(podman inspect -f '{{.Id}}' three).scope" Slice)" "${slice%.slice}"
podman pod pause pod
podman pod unpause pod
podman pod rm -f -t 0 pod
is "$(systemctl list-units --all --plain --no-legend 'libpod-*.scope')" ""
