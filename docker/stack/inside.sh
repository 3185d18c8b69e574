#!/bin/bash
# The part of run.sh that runs in name spaces of its own: a private /dev and network, podman's socket, the stack, the check.
set -euo pipefail
umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup    # crun refuses the hybrid layout
D=$(mktemp -d "$WORK/dev.XXXX"); mount -t tmpfs -o mode=755 none "$D"    # crun hands /dev/null to the container's user
for n in null zero full random urandom tty; do cp -a "/dev/$n" "$D/"; done
mkdir "$D/pts" "$D/shm" "$D/mqueue"; ln -s pts/ptmx "$D/ptmx"; ln -s /proc/self/fd "$D/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${n%:*}" "$D/${n#*:}"; done
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$D/pts"; mount -t tmpfs none "$D/shm"
mount --move "$D" /dev; rmdir "$D"
for d in /run/netns /run/containers /run/libpod /run/crun "$WORK/run"; do
  mkdir -p "$d"; mount -t tmpfs -o mode=755 none "$d"
done
ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward
exec < /dev/null
# A copy, so that secrets and .env made for the check do not appear in the checkout.
rm -rf "$WORK/app"; mkdir "$WORK/app"; cd "$WORK/app"
cp -r "$APP/docker-compose.yml" "$APP/.env.example" "$APP/deploy" "$APP/docker" .
docker/prepare.sh
sed -i 's/^COMPOSE_PROFILES=.*/COMPOSE_PROFILES=cpu,monitoring/' .env
printf 'TOUCHSTONE_RESIZE=128\nTOUCHSTONE_CROP=112\n' >> .env
podman rm -af > /dev/null 2>&1 || :
podman volume rm -af > /dev/null 2>&1 || :
podman system service --time=0 "$DOCKER_HOST" > "$WORK/service.log" 2>&1 &
for _ in $(seq 50); do [ -S "${DOCKER_HOST#unix://}" ] && break; sleep .1; done
# Health checks have timers of their own only under systemd.
(while :; do for c in $(podman ps -q); do podman healthcheck run "$c" > /dev/null 2>&1 || :; done; sleep 2; done) &
compose() { "$DOCKER_CONFIG/cli-plugins/docker-compose" "$@"; }
compose config -q
rc=0
timeout 400 "$DOCKER_CONFIG/cli-plugins/docker-compose" up -d --no-build --pull never --wait > "$WORK/up.log" 2>&1 || rc=$?
compose ps -a
if [ "$rc" = 0 ]; then "$PYTHON" "$HERE/check.py" || rc=$?; fi
compose logs > "$WORK/containers.log" 2>&1 || :
[ "$rc" = 0 ] || { tail -20 "$WORK/up.log"; tail -60 "$WORK/containers.log"; }
compose down -v > /dev/null 2>&1 || :
exit "$rc"
