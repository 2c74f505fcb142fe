#!/bin/sh
# Builds the archives and the image of a release into dist/, without publishing
# or signing them. All modules are downloaded first; the build itself uses no network.
set -eu
cd "$(dirname "$0")/.."
# Of a checkout without a remote, goreleaser would not even take the commit.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=https://github.com/castai/kubectl-castai
export GOFLAGS=-mod=readonly
goreleaser=$PWD/hack/tools/goreleaser/go.mod
go mod download
go mod download -modfile="$goreleaser"
go mod download -C hack/release
export GOPROXY=off
go tool -modfile="$goreleaser" goreleaser release --snapshot --clean --skip=sign
bin/release image dist LICENSE
