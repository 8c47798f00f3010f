#!/usr/bin/env bash
# What stands in monitoring/, by the distribution's promtool, exporter and Prometheus: monitoring.sh [ARGS…]
# CHARTS is where the pictures of docs/monitoring.md are drawn, if anywhere.
source "$(dirname "$0")/../setup/env.sh"

"$ROOT/tests/setup/monitoring.sh"
[ -z "${CHARTS:-}" ] || CHARTS=$(realpath -m "$CHARTS") && export CHARTS
exec "$(dirname "$0")/python.sh" dev -m pytest monitoring "$@"
