#!/usr/bin/env bash
# The one way to build and test. Works with bash 3.2, the one that macOS has. Steps longer than a few lines live in web/build/.
set -euo pipefail
cd "$(dirname "$0")"
VENV=.venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK=1 npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false

usage() {
  cat <<'TEXT'
./build.sh COMMAND
  setup   virtual environment, locked dependencies, Chromium, the wheel; seconds when nothing changed
  check   ruff, mypy --strict, tsc, eslint
  test    check, then every test: CPython 3.11-3.14, web, Pyodide in Node and in Chromium, end to end
  wheel   dist/cra_wasm-*.whl, and install it into .venv
  blake3  dist/blake3-*.whl, the native BLAKE3 for Pyodide (native/blake3); its compiler is 100 MB, fetched once
  site    dist/site: Pyodide, the wheels, the bundle and the page
  demo    one governed decision in Node, verified, then the page (--once: do not serve)
  serve   dist/site on a local port (--port 8420)
  chaos   break workers, pages and the browser, and look for losses: --seconds 120, --seed 1, --faults A,B; report: .build/chaos.json
  bench   measure against the budgets: CPython, Node, Chromium, into docs/benchmarks; ARGS as of cra-wasm bench
  clean   remove everything that this script made
TEXT
}

stop() { printf '%s\n%s\n' "build.sh: $1" "  what to do: $2" >&2; exit 1; }

# step NAME COMMAND...: run a step, say its name and how long it took; on failure say which one it was.
step() {
  local name=$1 started=$SECONDS; shift
  echo "== $name"
  "$@" || stop "step '$name' failed" "see the lines above, mend it, then run ./build.sh $command again"
  [ $((SECONDS - started)) -lt 2 ] || echo "   $((SECONDS - started)) s"
}

find_python() {
  local candidate found
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; then
      PYTHON=$candidate; return
    fi
  done
  found=$(python3 -V 2>&1) || found="no python3"
  stop "Python 3.11 to 3.14 is needed, found $found" "install one (Debian: apt-get install python3 python3-venv; macOS: brew install python)"
}

check_node() {
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
    2>/dev/null || stop "Node 20.19 or newer is needed, found $(node -v 2>/dev/null || echo none)" "install one (macOS: brew install node; Debian 13: apt-get install nodejs npm)"
  npm -v >/dev/null 2>&1 || stop "npm is needed, found none" "install it (Debian: apt-get install npm); other installs of Node have it"
}

# A step that ran with the same inputs before is not run again. (`set -e` is off inside a step: hence the `|| return`.)
fresh() { [ -f ".build/stamps/$1" ] && [ "$(cat ".build/stamps/$1")" = "$2" ]; }
stamp() { mkdir -p .build/stamps; printf %s "$2" > ".build/stamps/$1"; }

make_venv() {
  local key; key="$(cksum < requirements/dev.txt) $("$PYTHON" -V 2>&1)"
  if fresh venv "$key" && [ -x $VENV/python ]; then return; fi
  echo "  making .venv with $("$PYTHON" -V) and the packages of requirements/dev.txt (a minute)"
  rm -rf .venv .build/stamps/venv .build/stamps/installed
  "$PYTHON" -m venv .venv || stop "$PYTHON cannot make a virtual environment" "Debian: apt-get install python3-venv"
  $VENV/python -m pip install --quiet --require-hashes -r requirements/dev.txt || return 1
  stamp venv "$key"
}

install_npm() {
  local key; key="$(cksum < web/package-lock.json) $(node --version)"
  if fresh npm "$key" && [ -d web/node_modules ]; then return; fi
  echo "  npm ci in web/"
  rm -f .build/stamps/npm
  (cd web && npm ci --loglevel=error) || return 1
  stamp npm "$key"
}

setup() {
  find_python; check_node
  step "Python packages" make_venv
  step "npm packages" install_npm
  step "Chromium" $VENV/python web/build/chromium.py
  step "wheel" $VENV/python web/build/wheel.py
}
blake3() { setup; step "BLAKE3 wheel" $VENV/python web/build/blake3_wheel.py; }
site() { blake3; step "site" $VENV/python web/build/site.py; }

demo() {
  local known=no
  case "$#:${1:-}" in 0: | 1:--once) known=yes ;; 2:--port) case "$2" in *[!0-9]* | "") ;; *) known=yes ;; esac ;; esac
  [ $known = yes ] || stop "demo does not know '$*'" "say --once, or --port NUMBER, or nothing"
  site
  step "demo in Node" node examples/node/demo.mjs demo.trace.jsonl
  step "verify what it wrote" $VENV/cra-wasm verify demo.trace.jsonl
  [ "${1:-}" = --once ] || exec $VENV/cra-wasm serve --dir dist/site "$@"
}

chaos() {
  local seconds=120 seed=1 faults="" known="say --seconds NUMBER, --seed NUMBER, --faults A,B or nothing"
  while [ $# -gt 0 ]; do
    case "$1:${2:-}" in
      --faults:?*) faults=$2 ;;
      *:*[!0-9]* | *:) stop "chaos does not know '$*'" "$known" ;;
      --seconds:*) seconds=$2 ;;
      --seed:*) seed=$2 ;;
      *) stop "chaos does not know '$1'" "$known" ;;
    esac
    shift 2
  done
  site
  CHAOS_SECONDS=$seconds CHAOS_SEED=$seed CHAOS_FAULTS=$faults exec $VENV/pytest --installed -q -s tests/e2e/chaos --timeout=0
}

# Arguments are those of `cra-wasm bench`; every runtime is measured, also when one misses a budget.
bench() {
  local runtime out="--out docs/benchmarks" baseline="" worst=0 status
  case " $* " in
    *" -h "* | *" --help "*) setup; $VENV/cra-wasm bench --help; return ;;
    *" --runtime"*) stop "bench measures in all runtimes, got '$*'" "for one of them: .venv/bin/cra-wasm bench $*" ;;
    *" --quick "*) out="" ;; # hints are not written down, nor compared
  esac
  [ -z "$out" ] || [ ! -f docs/benchmarks/baseline.json ] || baseline="--baseline docs/benchmarks/baseline.json"
  site
  [ -n "${CHROMIUM:-}" ] || [ ! -f .build/chromium ] || export CHROMIUM="$(cat .build/chromium)"
  for runtime in cpython node chromium; do
    echo "== bench in $runtime"
    status=0; $VENV/cra-wasm bench --runtime $runtime $out $baseline "$@" || status=$?
    [ $status -le $worst ] || worst=$status
  done
  return $worst
}

command=${1:-}; [ $# -eq 0 ] || shift
case "$command" in
  setup | wheel | blake3 | site | check | clean) [ $# -eq 0 ] || stop "$command takes no arguments, got '$*'" "leave them out" ;;
esac
case "$command" in
  setup) setup ;;
  wheel) setup; ls -l dist/*.whl ;;
  blake3) blake3; ls -l dist/blake3-*.whl ;;
  site) site ;;
  check) setup; step "check" $VENV/python web/build/check.py ;;
  test) site; exec $VENV/python web/build/test.py "$@" ;;
  demo) demo "$@" ;;
  serve) site; exec $VENV/cra-wasm serve --dir dist/site "$@" ;;
  chaos) chaos "$@" ;;
  bench) bench "$@" ;;
  clean) rm -rf demo.trace.jsonl demo.checkpoints.jsonl .build .venv dist web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis ;;
  "" | help | -h | --help) usage ;;
  *) stop "no such command: $command" "./build.sh lists the commands" ;;
esac
