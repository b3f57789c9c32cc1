# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What is released: the version stands in VERSION, and CHANGELOG.md begins with it and its date ("## 2.0.0 (2026-11-30)").

release_version() {
    cat "$ROOT/VERSION"
}

release_heading() {
    grep -m 1 '^## ' "$ROOT/CHANGELOG.md"
}

release_date() {
    release_heading | sed -nE 's/^## [^ ]+ \(([0-9-]+)\)$/\1/p'
}
