#!/bin/sh
# Builds the release that is in dist/ once more, in another folder, and compares.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
git clone --quiet . "$tmp/elsewhere"
git diff --binary HEAD >"$tmp/changes"
cd "$tmp/elsewhere"
if [ -s "$tmp/changes" ]; then git apply "$tmp/changes"; fi
hack/snapshot.sh >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
diff "$OLDPWD/dist/checksums.txt" dist/checksums.txt
diff "$OLDPWD/dist/image/index.json" dist/image/index.json
echo "two builds in two folders have the same checksums, and the same image"
