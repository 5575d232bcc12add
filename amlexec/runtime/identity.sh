# Sourced by the other scripts: who a process is.

# Functions leave what they found in a variable: a process to print it into would cost a run a millisecond.

# identify PID: set `identity` to START, which tells this process from a later one with the same number
# and from one before the machine was started again. Fails where there is no such process.
identify() {
  identity=
  if [ -r "/proc/$1/stat" ]; then
    # The command's name, in brackets, may hold anything; the start time is the 20th field after it.
    read -r line 2>/dev/null <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086 # to be split into fields
    set -- "$1" ${line##*)}
    # A zombie (Z) or dead (X) process has ended: it only waits to be read.
    case $2 in Z | X) return 1 ;; esac
    shift 20
    read -r boot </proc/sys/kernel/random/boot_id || return 1
    identity=$1/$boot
  else
    started=$(LC_ALL=C ps -o lstart= -o stat= -p "$1" 2>/dev/null) || return 1
    case $started in '' | *Z*) return 1 ;; esac
    identity=$(printf '%s' "${started% *}" | tr -d ' \n')
  fi
}

# machine: set `machine` to what tells this start of the machine from its last one; empty where nothing tells.
# A container that is started again keeps the boot id, but not the start of its first process.
machine() {
  machine=
  boot=
  read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || return 0
  machine=$boot
  read -r line 2>/dev/null </proc/1/stat || return 0
  # shellcheck disable=SC2086 # to be split into fields
  set -- ${line##*)}
  shift 19
  machine=$boot/$1
}

# alive FILE: whether the process that FILE ("PID START …") names is still that process, still running.
alive() {
  [ -r "$1" ] || return 1
  read -r pid start _ <"$1" || return 1
  [ -n "$start" ] && identify "$pid" && [ "$identity" = "$start" ]
}

# members PID: whether the process group PID has any member left that is not a zombie.
members() {
  kill -0 "-$1" 2>/dev/null || return 1
  # kill counts a zombie as a member; ps can tell. Where there is no such ps, kill is believed.
  list=$(ps -A -o pgid= -o stat= 2>/dev/null) || return 0
  printf '%s\n' "$list" | {
    while read -r group state; do
      [ "$group" = "$1" ] || continue
      case $state in Z* | X*) ;; *) exit 0 ;; esac
    done
    exit 1
  }
}

# is_of FOLDER LEADER: whether the process group LEADER is of the run in FOLDER: one of its processes, or the one that
# has started its leader, has the run in its environment. What a stranger's files name is not ended. Without /proc
# nothing tells, and the files are believed.
is_of() {
  [ -r /proc/self/environ ] || return 0
  parent=
  if read -r line 2>/dev/null <"/proc/$2/stat"; then
    # shellcheck disable=SC2086 # to be split into fields
    set -- "$1" "$2" ${line##*)}
    parent=$4
  fi
  for candidate in $(grep -lsF "AMLEXEC_RUN_ID=${1##*/}" /proc/[0-9]*/environ 2>/dev/null); do
    candidate=${candidate#/proc/}
    candidate=${candidate%/environ}
    told=$(tr '\0' '\n' 2>/dev/null <"/proc/$candidate/environ")
    case "
$told
" in *"
AMLEXEC_RUN_ID=${1##*/}
"*) ;; *) continue ;; esac
    # A copy of a project has runs of the same names. One that was moved has another place than it was begun in.
    place=$(printf '%s\n' "$told" | sed -n 's/^AMLEXEC_RUN_FOLDER=//p')
    [ ! -d "$place" ] || [ "$(cd -P "$place" && pwd)" = "$(cd -P "$1" && pwd)" ] || continue
    [ "$candidate" != "$parent" ] || return 0
    read -r line 2>/dev/null <"/proc/$candidate/stat" || continue
    # shellcheck disable=SC2086 # to be split into fields
    set -- "$1" "$2" ${line##*)}
    [ "$5" != "$2" ] || return 0
  done
  return 1
}

# clock: set `now` to the seconds since 1970, with a fraction where `date` can.
clock() {
  now=$(date +%s.%N 2>/dev/null)
  case $now in *N* | '') now=$(date +%s) ;; esac
}

# nap: a tenth of a second, or a second where `sleep` has no fractions.
nap() { sleep 0.1 2>/dev/null || sleep 1; }

# blink: a hundredth of a second, for what is as good as there; or as long as `nap` where that can't be.
blink() { sleep 0.01 2>/dev/null || sleep 1; }

# publish FILE TEXT: write a file whole, by rename.
publish() { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }
