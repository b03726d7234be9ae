# shellcheck shell=bash disable=SC1090,SC1091
# To be sourced by bash or zsh, after `make setup`:   . scripts/env.sh
# Then python, rclpy, the node and the tools run from this checkout; edits of Python files hold at once.
if [ -n "${BASH_VERSION:-}" ]; then _flmm_file=${BASH_SOURCE[0]}; _flmm_shell=bash
else eval '_flmm_file=${(%):-%x}'; _flmm_shell=zsh; fi
_flmm_root=$(cd "$(dirname "$_flmm_file")/.." && pwd)

if [ ! -f "$_flmm_root/install/local_setup.$_flmm_shell" ]; then
  echo "env.sh: $_flmm_root is not set up yet; run: make -C $_flmm_root setup" >&2
  unset _flmm_file _flmm_shell _flmm_root
  return 1
fi

case $- in *u*) _flmm_nounset=1; set +u ;; *) _flmm_nounset= ;; esac  # ROS set-up files read unset variables

export VIRTUAL_ENV="$_flmm_root/.venv"
export PATH="$VIRTUAL_ENV/bin:$PATH"
if [ -d "$VIRTUAL_ENV/share/ament_index" ]; then
  # ROS 2 as wheels. The wheels set the library path once per process tree and leave a mark; a mark
  # inherited from another environment would keep them from setting this one's.
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
  export PYTHONNOUSERSITE=1
  . "$_flmm_root/install/local_setup.$_flmm_shell"
  export AMENT_PREFIX_PATH="${AMENT_PREFIX_PATH:+$AMENT_PREFIX_PATH:}$VIRTUAL_ENV"
else
  . "$_flmm_root/install/setup.$_flmm_shell"  # brings the distribution it was built with
fi
# The checkout comes first: its Python files are used, and only the generated messages from install/.
export PYTHONPATH="$_flmm_root${PYTHONPATH:+:$PYTHONPATH}"
# Images of usual cameras are larger than what Fast DDS sets aside for messages; see the file. Every
# process takes 8 MiB then: not where there is little (containers often have 64 MiB in all).
_flmm_shm_kib=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ -z "${FASTDDS_DEFAULT_PROFILES_FILE:-}${FASTRTPS_DEFAULT_PROFILES_FILE:-}" ] &&
  [ -z "${FASTDDS_BUILTIN_TRANSPORTS:-}" ] && [ "${_flmm_shm_kib:-0}" -ge 262144 ]; then
  if [ "${ROS_DISTRO:-}" = humble ]; then
    export FASTRTPS_DEFAULT_PROFILES_FILE="$_flmm_root/config/fastdds.xml"
  else
    export FASTDDS_DEFAULT_PROFILES_FILE="$_flmm_root/config/fastdds.xml"
  fi
fi

if [ -n "$_flmm_nounset" ]; then set -u; fi
unset _flmm_file _flmm_shell _flmm_root _flmm_nounset _flmm_shm_kib
