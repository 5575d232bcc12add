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

# clock: set `now` to the seconds since 1970, with a fraction where `date` can.
clock() {
  now=$(date +%s.%N 2>/dev/null)
  case $now in *N* | '') now=$(date +%s) ;; esac
}

# hundredths: set `hundredths` to a count of hundredths of a second that nobody can set; fails where there is none.
hundredths() {
  read -r hundredths _ 2>/dev/null </proc/uptime || return 1
  # A zero in front would make it octal.
  hundredths=$((${hundredths%%.*} * 100 + 1${hundredths##*.} - 100))
}

# stopwatch, passed: set `passed` to the hundredths of a second since the last `stopwatch`. The clock may be set
# meanwhile; where the machine counts nothing else, only naps and blinks are counted.
stopwatch() {
  slept=0
  hundredths || hundredths=
  started_at=$hundredths
}
passed() {
  if [ -n "$started_at" ] && hundredths; then passed=$((hundredths - started_at)); else passed=$slept; fi
}

# nap: a tenth of a second, or a second where `sleep` has no fractions.
nap() {
  if sleep 0.1 2>/dev/null; then slept=$((slept + 10)); else
    sleep 1
    slept=$((slept + 100))
  fi
}

# blink: a hundredth of a second, for what is as good as there; or as long as `nap` where that can't be.
blink() {
  if sleep 0.01 2>/dev/null; then slept=$((slept + 1)); else
    sleep 1
    slept=$((slept + 100))
  fi
}
slept=0

# publish FILE TEXT: write a file whole, by rename.
publish() { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }
