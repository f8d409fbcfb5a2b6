#!/usr/bin/env bash
# Runs a program with certificates of its own: it finds them in the folder TASKHUB_CERTIFICATES.
#
#   with_certificates.sh <program> [argument]...
set -euo pipefail

source=${TASKHUB_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
TASKHUB_CERTIFICATES=$(mktemp -d "${TMPDIR:-/tmp}/taskhub-certificates-XXXXXX")
export TASKHUB_CERTIFICATES
trap 'rm -rf "$TASKHUB_CERTIFICATES"' EXIT
trap 'exit 143' TERM INT

"$source/deploy/certificates.sh" "$TASKHUB_CERTIFICATES"
"$@"
