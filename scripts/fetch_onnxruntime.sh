#!/bin/sh
# Fetch the ONNX Runtime shared library (CPU; with --gpu that for CUDA and its providers) into runtime/, pinned by hash.
# Nothing is installed.
# Usage: scripts/fetch_onnxruntime.sh [--gpu] [DIR]      (default: runtime/ of the repository)
# A second run does nothing. Needs python3 with pip; another interpreter: PYTHON=... scripts/fetch_onnxruntime.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
package=onnxruntime
if [ "${1:-}" = --gpu ]; then
    package=onnxruntime-gpu
    shift
fi
requirements=$here/$package.txt
dir=${1:-$here/../runtime}
python=${PYTHON:-python3}

pin=$(sed -n "s/^$package==\([0-9.]*\).*sha256:\([0-9a-f]*\).*/\1 \2/p" "$requirements")
version=${pin% *}
stamp=$dir/.onnxruntime.pin
library=$dir/libonnxruntime.so

if [ -f "$library" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$pin" ]; then
    echo "ONNX Runtime $version is in $dir"
    exit 0
fi

if [ "$(uname -s)-$(uname -m)" != "Linux-x86_64" ]; then
    echo "scripts/$package.txt pins ONNX Runtime for Linux x86-64 and this is $(uname -s) $(uname -m):" \
        "put a libonnxruntime of version 1.17 or newer at $library yourself" >&2
    exit 1
fi
if ! "$python" -m pip --version >/dev/null 2>&1; then
    echo "$python has no pip: apt-get install python3-pip, or name another interpreter with PYTHON=..." >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 \
    --requirement "$requirements" --dest "$work"

mkdir -p "$dir"
# A wheel is a zip file; Python reads it, so that no unzip is needed. A provider is looked for beside the library.
"$python" - "$work" "$library" "$version" <<'PY'
import glob, os, shutil, sys, zipfile
work, library, version = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(work, "*.whl"))
with zipfile.ZipFile(wheel) as z:
    main = f"onnxruntime/capi/libonnxruntime.so.{version}"
    providers = [n for n in z.namelist() if n.startswith("onnxruntime/capi/libonnxruntime_providers_") and "tensorrt" not in n]
    for name in [*providers, main]:
        target = library if name == main else os.path.join(os.path.dirname(library), os.path.basename(name))
        with z.open(name) as source, open(target + ".new", "wb") as out:
            shutil.copyfileobj(source, out)
        os.replace(target + ".new", target)
PY
printf '%s\n' "$pin" > "$stamp"
echo "ONNX Runtime $version fetched into $dir"
