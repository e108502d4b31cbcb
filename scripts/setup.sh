#!/usr/bin/env bash
# Make .venv ready to run the stack; with --dev also what the tests need, from the system and in it.
# Doing it twice does nothing twice.
#
#   PYTHON                 the interpreter to use (default python3); 3.11 or newer
#   FINEPROOF_TORCH_INDEX  a package index with CPU builds of torch, if pip does not find one itself
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
STAMP=.venv/.fineproof-setup # with --dev appended, of what --dev adds

say() { printf 'setup: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

apt_install() { # PACKAGE…: install as root on Debian, else fail
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $* with apt-get"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

need_python() {
    if ! command -v "$PYTHON" >/dev/null; then
        apt_install python3 python3-venv || fail "$PYTHON is missing; install Python 3.11 or newer."
    fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$PYTHON" --version) is too old; set PYTHON to an interpreter of 3.11 or newer."
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install python3-venv || fail "$PYTHON cannot make virtual environments; install python3-venv."
    fi
}

need_system() { # what the tests run besides Python
    local missing=() names=()
    command -v chromium >/dev/null || { missing+=(chromium); names+=(chromium); }
    command -v docker-compose >/dev/null || { missing+=(docker-compose); names+=(docker-compose); }
    command -v kubectl >/dev/null || { missing+=(kubernetes-client); names+=(kubectl); }
    command -v g++ >/dev/null || { missing+=(g++); names+=(g++); }
    "$PYTHON" -c 'import os, sysconfig; open(os.path.join(sysconfig.get_paths()["include"], "Python.h"))' 2>/dev/null ||
        { missing+=(python3-dev); names+=("Python's headers"); }
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}" ||
        fail "the tests need ${names[*]}; install the Debian packages ${missing[*]}."
}

fingerprint() {
    { pwd; cat requirements/*.lock requirements/compat/*.lock pyproject.toml scripts/setup.sh scripts/install.py; } | sha256sum
}

install_packages() { # [--dev]
    # Its programs name its folder in their first line: a .venv that was moved is made anew.
    if ! grep -qsF "$PWD/.venv/bin/python" .venv/bin/pip || ! .venv/bin/pip --version >/dev/null; then
        say "making .venv"
        "$PYTHON" -m venv --clear .venv
    fi
    say "installing packages: about 2 GB to fetch, some minutes the first time"
    .venv/bin/python scripts/install.py "$@" || fail "see above; the same command goes on from here."
    local told
    told=$(.venv/bin/python -c 'import torch, transformers, peft' 2>&1) ||
        fail "$told
setup: the installed packages do not work together; remove .venv and run this again."
}

case "${1:-}" in
"" | --dev) ;;
*) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
need_python
if [ "${1:-}" = --dev ]; then need_system; fi
now=$(fingerprint)
if [ "$(cat "$STAMP${1:-}" 2>/dev/null)" != "$now" ]; then
    install_packages "$@"
    printf '%s\n' "$now" | tee "$STAMP" "$STAMP${1:-}" >/dev/null
    say "done"
fi
