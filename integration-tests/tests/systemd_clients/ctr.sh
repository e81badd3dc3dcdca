mkdir "$D/containerd"
cat >"$D/config.toml" <<END
version = 2
root = "$D/containerd/root"
state = "$D/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$D/containerd.sock"
[ttrpc]
  address = "$D/containerd.sock.ttrpc"
END
containerd --config "$D/config.toml" >"$D/log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
ctr() { command ctr --address "$D/containerd.sock" "$@"; }
comes ctr version
image_root
run() {
    local name=$1
    shift
    ctr run --runc-binary "$KETCH" --runc-systemd-cgroup --cgroup "system.slice:ketch-test:$name" \
        --rootfs "$@"
}
is "$(run first --rm "$D/image" first /bin/echo hello)" hello
run second --detach --memory-limit 67108864 "$D/image" second /bin/sleep 1000
unit=ketch-test-second.scope
is "$(shown "$unit" MemoryMax)" 67108864
is "$(ctr tasks exec --exec-id more second /bin/echo again)" again
ctr tasks pause second
has "$(ctr tasks list)" PAUSED
ctr tasks resume second
has "$(ctr tasks metrics second)" memory
ctr tasks kill --signal SIGKILL second
stopped() { ctr tasks list | grep -q STOPPED; }
comes stopped
ctr tasks delete second
ctr containers delete second
comes gone "$unit"
