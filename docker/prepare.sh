#!/bin/sh
# Makes what docker-compose.yml expects beside it: .env, folders, and a random password in each secret file.
# Safe to repeat: what is there stays.
set -eu
cd "$(dirname "$0")/.."
[ -e .env ] || cp .env.example .env
mkdir -p encoders images secrets/tls
chmod 700 secrets  # containers get single files of it, which their own users must be able to read
for name in database_password grafana_password; do
  [ -e "secrets/$name" ] || LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 40 > "secrets/$name"
done
printf 'postgresql://touchstone:%s@database/touchstone' "$(cat secrets/database_password)" > secrets/touchstone_database_url
chmod 644 secrets/*_password secrets/touchstone_database_url
