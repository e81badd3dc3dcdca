export DOCKER_HOST=unix://$D/docker.sock
dockerd --data-root "$D/data" --exec-root "$D/exec" --pidfile "$D/pid" --host "$DOCKER_HOST" --iptables=false \
    --ip6tables=false --bridge=none --storage-driver vfs --exec-opt native.cgroupdriver=systemd \
    --add-runtime "ketch=$KETCH" --default-runtime ketch >"$D/log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
comes docker version
image_root
tar -C "$D/image" -c . | docker import -c 'ENV PATH=/bin' - test
is "$(docker info -f '{{.CgroupDriver}} {{.DefaultRuntime}}')" "systemd ketch"
is "$(docker run --rm --net none test echo hello)" hello

docker run -d --name one --net none --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 50 test sleep 1000
unit=docker-$(docker inspect -f '{{.Id}}' one).scope
is "$(shown "$unit" MemoryMax)" 67108864
is "$(shown "$unit" TasksMax)" 50
is "$(shown "$unit" CPUQuotaPerSecUSec)" 500ms
place=/sys/fs/cgroup$(shown "$unit" ControlGroup)
is "$(cat "$place/memory.max")" 67108864
is "$(docker exec one cat /proc/self/cgroup)" 0::/
docker update --memory 96m --memory-swap 96m --pids-limit 60 one
systemctl daemon-reload
is "$(cat "$place/memory.max")" 100663296
is "$(cat "$place/pids.max")" 60
is "$(cat "$place/cpu.max")" "50000 100000"
docker pause one
is "$(docker inspect -f '{{.State.Status}}' one)" paused
docker unpause one
has "$(docker stats --no-stream --format '{{.MemUsage}}' one)" "96MiB"
has "$(docker top one)" "sleep 1000"
# A device can be opened again after a reload, and one that is not the container's cannot.
docker exec one sh -c 'echo x >/dev/null'
docker kill one
comes gone "$unit"
docker rm one

docker run -d --name two --net none --restart always test sh -c 'sleep 1'
restarted() { [ "$(docker inspect -f '{{.RestartCount}}' two)" -ge 1 ]; }
comes restarted
docker rm -f two
is "$(systemctl list-units --all --plain --no-legend 'docker-*.scope')" ""
