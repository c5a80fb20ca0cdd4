#!/usr/bin/env bash
# Installs what building, the demonstration and the tests need: a C compiler, ONNX Runtime (CPU, pinned by hash) and,
# with --tests, a Python environment with the clients that the tests use, and a browser. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

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
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup: need ${packages[*]}; install them as root and run this again" >&2; exit 1; }
        sudo=sudo
    fi
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
command -v cargo >/dev/null || { echo "setup: cargo not found; install Rust (https://rustup.rs) and run this again" >&2; exit 1; }

scripts/fetch_onnxruntime.sh

if [ "${1:-}" = --tests ]; then
    stamp=.venv/requirements.sha256
    want=$(sha256sum tests/requirements.txt | cut -d' ' -f1)
    if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        echo "installing the tests' Python environment into .venv"
        python3 -m venv .venv
        .venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
        echo "$want" >"$stamp"
    fi
fi
