export HOME=$D XDG_RUNTIME_DIR=/run/user/$(id -u)
export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
USER_UNITS=--user
podman() {
    command podman --root "$D/root" --runroot "$D/runroot" --tmpdir "$D/tmp" --storage-driver vfs \
        --cgroup-manager systemd --events-backend file --runtime "$KETCH" "$@"
}
cleanup() {
    podman rm -af -t 0 >/dev/null 2>&1 || true
    # What belongs to other ids of the user is for a process that has them.
    podman unshare rm -rf "$D/root" "$D/runroot" || true
}
trap cleanup EXIT
image_root
tar -C "$D/image" -c . | podman import -c 'ENV PATH=/bin' - test
is "$(podman info --format '{{.Host.CgroupManager}} {{.Host.Security.Rootless}}')" "systemd true"
is "$(podman run --rm --net none test echo hello)" hello
is "$(podman run --rm --net none test id -u)" 0
is "$(podman run --rm --net none --userns keep-id test id -u)" "$(id -u)"
is "$(podman run --rm --net none --user 7:8 test id -g)" 8
is "$(podman run --rm --net none --read-only test sh -c 'echo x >/x || echo refused' 2>/dev/null)" refused
mkdir "$D/shown"
echo mine >"$D/shown/file"
is "$(podman run --rm --net none -v "$D/shown:/shown:ro" test cat /shown/file)" mine

id=$(podman run -d --name one --net none --memory 64m --pids-limit 50 test sleep 1000)
unit=libpod-$id.scope
is "$(shown "$unit" MemoryMax)" 67108864
place=/sys/fs/cgroup$(shown "$unit" ControlGroup)
is "$(cat "$place/memory.max")" 67108864
is "$(cat "$place/pids.max")" 50
is "$(podman exec one echo again)" again
is "$(podman exec one id -u)" 0
podman update --memory 96m one
is "$(cat "$place/memory.max")" 100663296
podman pause one
is "$(podman inspect -f '{{.State.Status}}' one)" paused
podman unpause one
podman stop -t 0 one
comes gone "$unit"
podman rm one
is "$(systemctl --user list-units --all --plain --no-legend 'libpod-*.scope')" ""
