# Shared by the scripts: finding and installing what a fresh Debian or Ubuntu lacks. Sourced, not run.

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# need_packages COMMAND=PACKAGE ...: installs the packages whose command is missing.
need_packages() {
    local missing=() pair command package
    for pair in "$@"; do
        command=${pair%%=*} package=${pair#*=}
        command -v "$command" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null 2>&1 || fail "please install: ${missing[*]}"
    say "installing ${missing[*]}"
    as_root apt-get update -qq >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# find_python: a real Python 3.9 or newer that can make virtual environments.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 9)' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# need_python: sets PYTHON, installing python3-venv where there is none.
need_python() {
    PYTHON=$(find_python) && return 0
    command -v apt-get >/dev/null 2>&1 || fail "please install Python 3.9 or newer with venv"
    say "installing python3-venv"
    as_root apt-get update -qq >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv >/dev/null
    PYTHON=$(find_python) || fail "no usable Python 3 found"
}

# need_rust: cargo on PATH.
need_rust() {
    command -v cargo >/dev/null 2>&1 || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null 2>&1 || fail "Rust is missing; install it from https://rustup.rs"
}

# e2e_venv: the test clients of tests/e2e/requirements.txt in tests/e2e/.venv, made anew when they change.
e2e_venv() {
    local venv=tests/e2e/.venv wanted
    [ -n "${PYTHON:-}" ] || need_python
    wanted=$("$PYTHON" -c 'import sys; print(sys.executable, sys.version)' | cat - tests/e2e/requirements*.txt | sha256sum)
    [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$wanted" ] && return 0
    say "== installing the test clients into $venv"
    "$PYTHON" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/e2e/requirements.txt
    printf '%s\n' "$wanted" >"$venv/.stamp"
}
