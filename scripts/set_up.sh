#!/usr/bin/env bash
# Prepares this checkout: picks a Python and hands over to set_up.py. `make setup` calls it.
# PYTHON=/path/to/python3 chooses another one; a sourced ROS distribution decides for its own python3.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

is_usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

# 3.11 and 3.10 come first after the user's own choice: every package we need has wheels for them.
pick_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    if is_usable "$PYTHON"; then echo "$PYTHON"; return; fi
    echo "set-up: PYTHON=$PYTHON is not a Python 3.10 or newer; unset it or name another one" >&2
    return 1
  fi
  if [ -n "${ROS_DISTRO:-}" ] && is_usable python3 && python3 -c 'import rclpy' >/dev/null 2>&1; then
    echo python3; return
  fi
  if is_usable "$here/../.venv/bin/python"; then  # stay with the one chosen before
    readlink -f "$here/../.venv/bin/python"; return
  fi
  if python3 -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 10), (3, 11)})' >/dev/null 2>&1; then
    echo python3; return
  fi
  for candidate in python3.11 python3.10 python3 python3.12 python3.13; do
    if is_usable "$candidate"; then echo "$candidate"; return; fi
  done
  echo "set-up: Python 3.10 or newer is missing; install it with:" \
    "sudo apt-get install -y python3 python3-dev python3-venv" >&2
  return 1
}

python=$(pick_python)
exec "$python" -s "$here/set_up.py" "$@"
