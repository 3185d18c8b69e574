#!/usr/bin/env bash
# Add references and inspect a part with curl: ./detect.sh CATEGORY GOOD_FOLDER PART.png
# Exit code: 0 the part is normal, 1 it is not, 2 an error.
set -euo pipefail
url=${TOUCHSTONE_URL:-http://127.0.0.1:8000}
category=$1 good=$2 part=$3
export no_proxy="${no_proxy:-${NO_PROXY:-}},localhost,127.0.0.1,::1" # a proxy would not reach a service on this machine
auth=()
[ -z "${TOUCHSTONE_KEY:-}" ] || auth=(-H "Authorization: Bearer $TOUCHSTONE_KEY")

request() { # curl with retries of transient failures for two minutes; prints the error and exits when there is one
    local response
    response=$(curl -sS --retry 5 --retry-max-time 120 --retry-connrefused --fail-with-body "${auth[@]}" "$@") || { echo "$response" >&2; exit 2; }
    echo "$response"
}

shopt -s nullglob nocaseglob
images=()
for file in "$good"/*.{png,apng,jpg,jpeg,jpe,jfif,mpo,bmp,dib,tif,tiff,webp}; do images+=(-F "images=@\"$file\""); done
request -F "category=$category" "${images[@]}" "$url/references" >/dev/null || exit 2

# The key makes retries safe: the request is inspected and recorded once.
key=$(cat /proc/sys/kernel/random/uuid)
response=$(request -H "Idempotency-Key: $key" -F "category=$category" -F "images=@\"$part\"" "$url/detect") || exit 2
echo "$response"
case $response in *'"verdict":"normal"'*) exit 0 ;; *) exit 1 ;; esac
