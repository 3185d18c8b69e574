#!/bin/bash
# Builds the Dockerfile's cpu target and runs the whole compose stack, with no engine and no image registry: Debian
# stand-ins for the published images, buildah for the Dockerfile, podman behind `docker compose`, in name spaces of its own.
# Then check.py onboards and detects through the TLS proxy, kills containers under load and looks for what was lost.
# Needs root, and podman buildah crun netavark aardvark-dns debootstrap iptables from Debian.
# usage: run.sh PYTHON    environment: WORK (scratch, kept between runs), ROUNDS (kills)
set -euo pipefail
PYTHON=$(realpath -s "$1") HERE=$(cd "$(dirname "$0")" && pwd) WORK=${WORK:-/tmp/touchstone-stack}
APP=$(cd "$HERE/../.." && pwd)
export PYTHON HERE WORK APP
step() { echo "[$SECONDS s, $(du -sm "$WORK" 2> /dev/null | cut -f1) MB] $*"; }
mkdir -p "$WORK/conf" "$WORK/run" "$WORK/docker/cli-plugins"
cat > "$WORK/conf/containers.conf" << C
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
compat_api_enforce_docker_hub = false
[network]
network_backend = "netavark"
network_config_dir = "$WORK/conf/networks"
C
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/storage"\nrunroot = "%s/run"\n' "$WORK" "$WORK" > "$WORK/conf/storage.conf"
printf 'unqualified-search-registries = []\nshort-name-mode = "permissive"\n' > "$WORK/conf/registries.conf"
export CONTAINERS_CONF=$WORK/conf/containers.conf CONTAINERS_STORAGE_CONF=$WORK/conf/storage.conf
export CONTAINERS_REGISTRIES_CONF=$WORK/conf/registries.conf
MIRROR=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources)

if [ ! -x "$WORK/docker/cli-plugins/docker-compose" ]; then
  step "docker compose, from Debian's next release, unpacked and not installed"
  A=$WORK/apt; mkdir -p "$A/lists/partial" "$A/cache/archives/partial"; chmod 755 "$A"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR trixie main" > "$A/sources.list"
  O="-o Dir::Etc::sourcelist=$A/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$A/lists
     -o Dir::Cache=$A/cache -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086
  (apt-get $O -qq update; cd "$A"; apt-get $O -qq download docker-compose; dpkg -x docker-compose_*.deb x)
  cp "$A/x/usr/libexec/docker/cli-plugins/docker-compose" "$WORK/docker/cli-plugins/"; rm -rf "$A"
fi

build() { # TAG LOG ARGUMENTS…
  local tag=$1 log=$WORK/build-$2.log; shift 2
  buildah bud --layers --pull-never --isolation chroot --network host --format docker -t "localhost/$tag" "$@" > "$log" 2>&1 \
    || { tail -30 "$log"; exit 1; }
}
if ! buildah inspect --type image localhost/debian:bookworm-slim > /dev/null 2>&1; then
  step "base system"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$WORK/rootfs" "$MIRROR" > "$WORK/debootstrap.log"
  tar -C "$WORK/rootfs" -c . | podman import -q -c 'CMD ["bash"]' - localhost/debian:bookworm-slim; rm -rf "$WORK/rootfs"
fi
step "stand-ins under the names that the Dockerfile and docker-compose.yml use"
image() { sed -n "s|^ *image: \($1:[^ ]*\).*|\1|p" "$APP/docker-compose.yml"; }
build "$(sed -n 's/^ARG BASE=//p' "$APP/docker/Dockerfile")" python "$HERE/standins/python"
for name in postgres caddy prom/prometheus grafana/grafana; do
  build "$(image $name)" "${name#*/}" "$HERE/standins/${name#*/}"
done
step "the Dockerfile's cpu target"
# pip inside the build sees what pip here is configured to see: its options, and the folders and certificates they name.
"$PYTHON" "$HERE/pip_mounts.py" "$WORK/conf/pip.conf" > "$WORK/conf/mounts"
mapfile -t MOUNTS < "$WORK/conf/mounts"
build "$(image touchstone | head -1 | sed 's/${[^}]*:-\([^}]*\)}/\1/')" touchstone "${MOUNTS[@]}" --target cpu -f "$APP/docker/Dockerfile" "$APP"
podman images --format '{{.Repository}}:{{.Tag}} {{.Size}}'

step "the stack"
export DOCKER_CONFIG=$WORK/docker DOCKER_HOST=unix://$WORK/run/podman.sock
exec unshare -m -n -p -f --kill-child --mount-proc --propagation private "$HERE/inside.sh"
