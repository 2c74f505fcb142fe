#!/bin/sh
# Builds the archives and the image of a release into dist/, without publishing
# or signing them, from what is in the module cache.
set -eu
cd "$(dirname "$0")/.."
# Of a checkout without a remote, goreleaser would not even take the commit.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=https://github.com/castai/kubectl-castai
export GOPROXY=off GOFLAGS=-mod=readonly
go tool -modfile="$PWD/hack/tools/goreleaser/go.mod" goreleaser release --snapshot --clean --skip=sign
bin/release image dist LICENSE
