#!/usr/bin/env bash
# Teach a product and inspect a part with curl: ./detect.sh CATEGORY GOOD_FOLDER PART.png
# Exit code: 0 the part is normal, 1 it is not, 2 something went wrong.
set -euo pipefail
url=${TOUCHSTONE_URL:-http://127.0.0.1:8000}
category=$1 good=$2 part=$3
export no_proxy="${no_proxy:-${NO_PROXY:-}},localhost,127.0.0.1,::1" # a proxy would not find this machine's service
auth=()
[ -z "${TOUCHSTONE_KEY:-}" ] || auth=(-H "Authorization: Bearer $TOUCHSTONE_KEY")

ask() { # curl that tries passing failures again, for two minutes, and prints the problem and ends when it is refused
    local answer
    answer=$(curl -sS --retry 5 --retry-max-time 120 --retry-connrefused --fail-with-body "${auth[@]}" "$@") || { echo "$answer" >&2; exit 2; }
    echo "$answer"
}

shopt -s nullglob nocaseglob
images=()
for file in "$good"/*.{png,apng,jpg,jpeg,jpe,jfif,mpo,bmp,dib,tif,tiff,webp}; do images+=(-F "images=@\"$file\""); done
ask -F "category=$category" "${images[@]}" "$url/references" >/dev/null || exit 2

# The key makes a second try safe: the same request is inspected and recorded once.
key=$(cat /proc/sys/kernel/random/uuid)
answer=$(ask -H "Idempotency-Key: $key" -F "category=$category" -F "images=@\"$part\"" "$url/detect") || exit 2
echo "$answer"
case $answer in *'"verdict":"normal"'*) exit 0 ;; *) exit 1 ;; esac
