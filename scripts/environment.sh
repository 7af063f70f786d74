# Sourced by ./demo, ./test and .ci/run: makes .venv with the locked versions of one requirements file, and .peers/NAME
# with those of another system that tests/peers runs.
# uv is used where it is there, else python3 -m venv and pip; both install the same, hash by hash.

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or later is needed and was not found; install it (Debian: apt install python3 python3-venv)."
}

# Whether the environment in folder $1 works, and holds pip where uv is not there to install into it.
can_install() {
    [ -x "$1/bin/python" ] || return 1
    if command -v uv >/dev/null 2>&1; then "$1/bin/python" -c '' 2>/dev/null; else "$1/bin/python" -c 'import pip' 2>/dev/null; fi
}

make_venv() {
    if can_install "$1"; then return; fi
    rm -rf "$1"
    python=$(find_python) || exit 1
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$python" "$1"
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python has no venv module. On Debian and Ubuntu it is a package of its own: apt install python3-venv"
        "$python" -m venv "$1"
    fi
}

# install_locked FOLDER LOCK [OPTION ...]: the lock is complete, so nothing is resolved: --no-deps. What it misses or
# contradicts is told by `pip check`. The options name what else is installed.
install_locked() {
    into=$1 lock=$2
    shift 2
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$into/bin/python" --no-deps --require-hashes -r "$lock"
        if [ $# -gt 0 ]; then uv pip install --quiet --python "$into/bin/python" --no-deps "$@"; fi
        complaints=$(uv pip check --python "$into/bin/python" 2>&1) || contradicted "$lock"
    else
        export PIP_DISABLE_PIP_VERSION_CHECK=1
        "$into/bin/python" -m pip install --quiet --no-deps --require-hashes -r "$lock"
        if [ $# -gt 0 ]; then "$into/bin/python" -m pip install --quiet --no-deps "$@"; fi
        complaints=$("$into/bin/python" -m pip check 2>&1) || contradicted "$lock"
    fi
}

contradicted() {
    say "$complaints"
    fail "$1 and pyproject.toml contradict each other (see above); write the lock anew with scripts/lock."
}

# What an installation was made from.
source_of() { cat "requirements/$1.txt" pyproject.toml; }

# Whether .venv holds a lock that is no longer the present one: it may hold packages that no lock names.
is_outdated() {
    for stamp in .venv/.installed-*; do
        [ -e "$stamp" ] || continue
        source_of "${stamp##*-}" | cmp -s - "$stamp" || return 0
    done
    return 1
}

# ensure_environment NAME: installs requirements/NAME.txt and the project, unless that very lock is installed already.
ensure_environment() {
    export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    lock=requirements/$1.txt
    stamp=.venv/.installed-$1
    if [ -x .venv/bin/auxip ] && source_of "$1" | cmp -s - "$stamp"; then return; fi
    say "Installing the locked versions of $lock into .venv (once; a minute without uv) ..."
    if is_outdated; then rm -rf .venv; fi
    make_venv .venv
    install_locked .venv "$lock" --editable .
    source_of "$1" >".venv/.installed-$1"
}

# ensure_peer NAME: installs requirements/peer-NAME.txt into .peers/NAME, unless that very lock is installed there already.
ensure_peer() {
    export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    room=.peers/$1 lock=requirements/peer-$1.txt
    if cmp -s "$lock" "$room/.installed"; then return; fi
    say "Installing the locked versions of $lock into $room (once; a minute without uv) ..."
    rm -rf "$room"
    mkdir -p .peers
    make_venv "$room"
    install_locked "$room" "$lock"
    cp "$lock" "$room/.installed"
}

# Where Debian has PostgreSQL with PostGIS, which tests/peers needs.
has_postgresql() {
    [ -x /usr/lib/postgresql/15/bin/postgres ] && [ -e /usr/share/postgresql/15/extension/postgis.control ]
}
