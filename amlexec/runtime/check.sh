#!/bin/sh
# Print facts about a machine, as lines of KEY VALUE; a key without a value has no line.
#
# usage: sh check.sh ENGINE [PYTHON [SPARK]]    ENGINE: `engine` to ask for the Docker engine too, else empty;
#                                               PYTHON and SPARK as pythonLocation and sparkSubmitLocation have
#                                               them
#
# Leaves no files on the machine. Commands that may hang are limited to ten seconds if there is a `timeout`, and no
# command reads our standard input, which may contain this script.
engine=$1
python=${2-}
spark=${3-}
LC_ALL=C
export LC_ALL

say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$(printf '%s' "$2" | tr '\n\r\t' '   ')"; }
there() { command -v "$1" >/dev/null 2>&1; }
# Old versions of busybox have a `timeout` with another order of arguments.
if timeout 5 true </dev/null >/dev/null 2>&1; then
  limited() { timeout 10 "$@" </dev/null; }
else
  limited() { "$@" </dev/null; }
fi
# free FOLDER: free kB, the number before the percentage; the names on both sides may contain blanks.
free() { limited df -Pk "$1" 2>/dev/null | sed -n '$s/.* \([0-9][0-9]*\)  *[0-9][0-9]*%.*/\1/p'; }
# expand PATH: with the home folder in place of `~/`.
expand() {
  case $1 in
    '~/'*) printf '%s' "${HOME-}/${1#'~/'}" ;;
    *) printf '%s' "$1" ;;
  esac
}

say CLOCK "$(date +%s)"
say SYSTEM "$(uname -s)"
say MACHINE "$(uname -m)"
if [ -r /etc/os-release ]; then
  # shellcheck disable=SC1091 # a file of the machine
  say RELEASE "$(. /etc/os-release >/dev/null 2>&1 && printf '%s' "${PRETTY_NAME-}")"
fi
say USER "$(id -un 2>/dev/null || id -u)"
say LOGIN_SHELL "${SHELL-}"
say LIBC "$(getconf GNU_LIBC_VERSION 2>/dev/null)"

missing=
for each in cat chmod cp date df id kill ln ls mkdir mv rm sed sleep tail tr; do
  there "$each" || missing="$missing $each"
done
# A run has its own session, which one of these programs creates.
there setsid || there perl || there python3 || missing="$missing setsid"
say MISSING "${missing# }"
! there tar || say TAR yes
! there gzip || say GZIP yes

if [ -z "${HOME-}" ]; then
  say HOME_ERROR "HOME is not set"
elif [ ! -d "$HOME" ]; then
  say HOME "$HOME"
  say HOME_ERROR "there is no such folder"
else
  say HOME "$HOME"
  folder=$HOME
  [ ! -d "$HOME/.amlexec" ] || folder=$HOME/.amlexec
  probe=$folder/.amlexec-check.$$
  trap 'rm -f "$probe"' 0
  trap 'exit 1' HUP INT TERM
  if error=$( (umask 077 && printf '#!/bin/sh\nexit 0\n' >"$probe" && chmod 700 "$probe") 2>&1); then
    # On a full disk, the file may be incomplete.
    if [ "$(cat "$probe" 2>/dev/null)" = "$(printf '#!/bin/sh\nexit 0')" ]; then
      say HOME_WRITABLE yes
      if "$probe" </dev/null >/dev/null 2>&1; then say HOME_PROGRAMS yes; fi
    else
      say HOME_ERROR "No space left on device"
    fi
  else
    say HOME_ERROR "$error"
  fi
  rm -f "$probe" 2>/dev/null
  say HOME_FREE "$(free "$folder")"
fi

if [ -n "$python" ]; then
  python=$(expand "$python")
  path=$(command -v "$python" 2>/dev/null)
  # As for a run: many Linux machines only have `python3`.
  [ -n "$path" ] || [ "$python" != python ] || path=$(command -v python3 2>/dev/null)
  if [ -n "$path" ] && [ -x "$path" ]; then
    if version=$(limited "$path" -E -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>&1); then
      say PYTHON "$version $path"
    else
      say PYTHON_ERROR "$path ${version:-gave no answer}"
    fi
  fi
  for each in python3 python; do
    path=$(command -v "$each" 2>/dev/null)
    case $path in /*) say OTHER_PYTHON "$path" ;; esac
  done
fi

if [ -n "$spark" ]; then
  path=$(command -v "$(expand "$spark")" 2>/dev/null)
  case $path in */*) [ ! -x "$path" ] || say SPARK "$path" ;; esac
fi

if [ -n "$engine" ]; then
  # The same search for an engine as for prepare and submit: engine.sh, as a function if this text was sent, else as
  # the file beside this one.
  if there ask_engine; then ask_engine; elif [ -r "${0%/*}/engine.sh" ]; then . "${0%/*}/engine.sh"; fi
  if [ -S "${socket-}" ]; then
    if [ ! -w "$socket" ] && there docker && there sudo; then
      say DOCKER_SUDO "$(limited sudo -n docker version --format '{{.Server.Version}}' 2>/dev/null)"
    fi
    [ ! -d /var/lib/docker ] || say DOCKER_FREE "$(free /var/lib/docker)"
  fi
fi

if there nvidia-smi; then
  if list=$(limited nvidia-smi -L 2>&1); then
    printf '%s\n' "$list" | sed -n 's/ *(UUID:.*//; s/^GPU [0-9]*: /GPU /p'
  else
    say GPU_ERROR "${list:-nvidia-smi gave no answer}"
  fi
elif [ -e /dev/nvidiactl ]; then
  say GPU_ERROR "there is a driver, and no nvidia-smi"
fi
say END yes
