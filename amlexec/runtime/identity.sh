# Sourced by the other scripts: identifies processes.

# Functions return their result in a variable: a subshell would cost a millisecond.

# identify PID: set `identity` to START, which distinguishes this process from others with the same number, later or
# before a reboot. Fails if there is no such process.
identify() {
  identity=
  if [ -r /proc/self/stat ]; then
    # The command's name, in parentheses, may contain anything; the start time is the 20th field after it.
    read -r line 2>/dev/null <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086 # to be split into fields
    set -- "$1" ${line##*)}
    # A zombie (Z) or dead (X) process has ended.
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

# machine: set `machine` to an id of the current boot; empty if there is none. A restarted container keeps the boot id,
# but not the start time of its first process.
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

# alive FILE: whether the process in FILE ("PID START …") is still running.
alive() {
  [ -r "$1" ] || return 1
  read -r pid start _ <"$1" || return 1
  [ -n "$start" ] && identify "$pid" && [ "$identity" = "$start" ]
}

# members PID: whether the process group PID has a member that is not a zombie.
members() {
  kill -0 "-$1" 2>/dev/null || return 1
  # kill counts zombies; ps does not. Without such a ps, kill's result is used.
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

# hundredths: set `hundredths` to a monotonic count of hundredths of a second; fails if there is none.
hundredths() {
  read -r hundredths _ 2>/dev/null </proc/uptime || return 1
  # A leading zero would make it octal.
  hundredths=$((${hundredths%%.*} * 100 + 1${hundredths##*.} - 100))
}

# stopwatch, passed: set `passed` to the hundredths of a second since the last `stopwatch`. Independent of the clock,
# which may be set; without a monotonic count, only naps and blinks are counted.
stopwatch() {
  slept=0
  hundredths || hundredths=
  started_at=$hundredths
}
passed() {
  if [ -n "$started_at" ] && hundredths; then passed=$((hundredths - started_at)); else passed=$slept; fi
}

# nap: sleep a tenth of a second, or a second if `sleep` has no fractions.
nap() {
  if sleep 0.1 2>/dev/null; then slept=$((slept + 10)); else
    sleep 1
    slept=$((slept + 100))
  fi
}

# blink, wink: sleep one or four hundredths of a second; or as long as `nap` without fractions.
blink() {
  if sleep 0.01 2>/dev/null; then slept=$((slept + 1)); else
    sleep 1
    slept=$((slept + 100))
  fi
}
wink() {
  if sleep 0.04 2>/dev/null; then slept=$((slept + 4)); else
    sleep 1
    slept=$((slept + 100))
  fi
}
slept=0

# publish FILE TEXT: write a file atomically.
publish() { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }
