# Sourced by supervisor.sh and stop.sh: finds the processes of a run, and stops them.
#
# A process belongs to the run if it is in the session or the group that the script leads, if it was started with the
# run's AMLEXEC_RUN_ID and AMLEXEC_RUN_FOLDER in its environment (inherited from the script), or if such a process is
# its parent. Without /proc, only the group is known.

# carrying NAME FOLDER: set `carriers` to the processes that were started with the run's id as NAME in their environment,
# and its folder as NAME_FOLDER. A copy of a project has runs with the same ids; a moved project has another folder.
# With `first_pid`, only processes with a higher number are looked at.
carrying() {
  carriers=''
  looks=0
  later_environments || all_environments
  # A process that is looked at may have started another one, and ended before it was looked at.
  while [ -n "$environments" ] && [ "$looks" -lt 20 ]; do
    looks=$((looks + 1))
    among "$1" "$2"
    [ -z "$carriers" ] || return 0
    hidden
    [ -z "$environments" ] || blink
    newer_environments || all_environments
  done
}

# among NAME FOLDER: set `carriers` as `carrying` does, of the processes with these `environments`.
among() {
  # shellcheck disable=SC2086 # they are several
  for candidate in $(grep -lsF "$1=${2##*/}" $environments); do
    candidate=${candidate#/proc/}
    candidate=${candidate%/environ}
    told="
$(tr '\0' '\n' 2>/dev/null <"/proc/$candidate/environ")
"
    case $told in *"
$1=${2##*/}
"*) ;; *) continue ;; esac
    case $told in
    *"
${1%_ID}_FOLDER=$2
"*) ;;
    *)
      place=$(printf '%s' "$told" | sed -n "s/^${1%_ID}_FOLDER=//p" | sed 1q)
      [ -n "$place" ] || continue
      [ ! -d "$place" ] || [ "$(cd -P "$place" && pwd)" = "$(cd -P "$2" && pwd)" ] || continue
      ;;
    esac
    carriers="$carriers$candidate "
  done
}

# hidden: set `environments` to those of them that can't be read for now: while a process executes a program, it has no
# environment and no command line, but memory of its own, which threads of the kernel and ended processes have not.
hidden() {
  found=''
  # shellcheck disable=SC2086 # they are several
  for candidate in $(grep -Ls '' $environments); do
    command=''
    line=''
    read -r command 2>/dev/null <"${candidate%environ}cmdline"
    read -r line 2>/dev/null <"${candidate%environ}stat"
    if [ -z "$command" ] && has_memory "${line##*)}"; then found="$found $candidate"; fi
  done
  environments=$found
}

# has_memory FIELDS: whether the state of a process, from its third field on, says so. Source: proc(5), vsize.
has_memory() {
  # shellcheck disable=SC2086 # to be split into fields
  set -- $1
  [ "${21:-0}" != 0 ]
}

# all_environments: set `environments` to those of all processes after `first_pid`, and `seen` to the last of their numbers.
all_environments() {
  read -r _ _ _ _ seen 2>/dev/null </proc/loadavg || seen=
  environments=''
  for candidate in /proc/[0-9]*; do
    [ "${candidate#/proc/}" -le "${first_pid:-0}" ] || environments="$environments $candidate/environ"
  done
}

# later_environments: the same by their numbers, since to list all processes takes longer. Fails if there may be more than a
# few.
later_environments() {
  [ -n "${first_pid-}" ] || return 1
  environments='' seen=$first_pid
  newer_environments
}

# newer_environments: add those of processes with higher numbers than `seen`. Fails as `later_environments` does.
newer_environments() {
  [ -n "$seen" ] || return 0
  candidate=$seen
  # A process that has ended meanwhile may have started another one, with a higher number.
  while read -r _ _ _ _ last 2>/dev/null </proc/loadavg && [ "$candidate" -ne "$last" ]; do
    # Linux begins anew after the highest number.
    [ "$candidate" -lt "$last" ] && [ $((last - seen)) -le 100 ] || return 1
    while [ "$candidate" -lt "$last" ]; do
      candidate=$((candidate + 1))
      [ ! -e "/proc/$candidate/environ" ] || environments="$environments /proc/$candidate/environ"
    done
  done
  seen=$candidate
}

# since PID: set `first_pid` to PID if all processes started since have higher numbers: the time since `stopwatch` is too
# short for 32,768 more, after which Linux may begin anew. To look at every process takes 10 ms: too long for a short run.
since() {
  first_pid=
  [ -n "$started_at" ] || return 0
  passed
  read -r _ _ _ _ last 2>/dev/null </proc/loadavg || return 0
  [ "$last" -lt "$1" ] || [ "$passed" -gt 30 ] || first_pid=$1
}

# belonging FOLDER: set `pids` to the processes of a run, with "-LEADER" in place of those of the script's group.
# A process in control/script alone is not enough: the file is not trusted. It must be started by this run's
# supervisor, or a process of its group must have the run in its environment; otherwise it is in `stranger`.
belonging() {
  pids='' leader='' marked='' stranger=''
  if read -r leader _ 2>/dev/null <"$1/control/script"; then
    # The leader may have ended before its group; a group of another program has a living leader.
    alive "$1/control/script" || ! identify "$leader" || leader=
  fi
  if [ ! -r /proc/self/stat ]; then
    [ -z "$leader" ] || ! members "$leader" || pids=-$leader
    return 0
  fi
  carrying AMLEXEC_RUN_ID "$1"
  marked=$carriers
  # The usual case after a script's end: no process is left.
  [ -n "$marked" ] || { [ -n "$leader" ] && kill -0 "-$leader" 2>/dev/null; } || return 0
  carrying AMLEXEC_SUPERVISED_ID "$1"
  # Leave out the processes of this search itself, if the script started it.
  pids=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v leader="${leader:-none}" -v marked="$marked" -v self="$$" \
    -v supervisors="$carriers" '
    {
      pid = $1
      sub(/^.*\) /, "")
      if ($1 == "Z" || $1 == "X") next
      parent[pid] = $2
      if ($3 == leader) group[pid] = 1
      if ($3 == leader || $4 == leader) around[pid] = 1
    }
    END {
      count = split(marked, names, " ")
      for (i = 1; i <= count; i++) if (names[i] in parent) {
        ours[names[i]] = 1
        if (names[i] in around) known = 1
      }
      count = split(supervisors, names, " ")
      for (i = 1; i <= count; i++) {
        # Before its exec, the script has the environment of its supervisor.
        if (names[i] == leader || leader in parent && parent[leader] == names[i]) known = 1
      }
      if (known) { for (pid in around) ours[pid] = 1 }
      else { for (pid in group) { print "stranger"; exit } }
      for (pid in parent) {
        found = 0
        for (at = pid; at in parent; at = parent[at]) {
          if (at == self) { found = 0; break }
          if (at in ours) found = 1
        }
        if (!found) continue
        if (pid in group) together = 1
        else printf "%s ", pid
      }
      if (together) printf "-%s", leader
    }')
  case $pids in stranger*)
    stranger=$leader
    pids=$marked
    ;;
  esac
}

# gone_within FOLDER SECONDS: wait until no process of a run is left, up to a timeout; fails on a timeout.
gone_within() {
  stopwatch
  while belonging "$1" && [ -n "$pids" ]; do
    passed
    [ "$passed" -lt "$(($2 * 100))" ] || return 1
    if [ "$passed" -lt 20 ]; then blink; else nap; fi
  done
}

# end_all FOLDER GRACE: send TERM to all processes of a run, and after GRACE seconds KILL; fails if any are left, which
# are then in `pids`.
end_all() {
  belonging "$1"
  [ -n "$pids" ] || return 0
  # shellcheck disable=SC2086 # they are several
  # Stopped processes get no TERM before they continue.
  { kill -TERM $pids; kill -CONT $pids; } 2>/dev/null
  gone_within "$1" "$2" && return
  # shellcheck disable=SC2086
  kill -KILL $pids 2>/dev/null
  stopwatch
  while belonging "$1" && [ -n "$pids" ]; do
    passed
    [ "$passed" -lt 500 ] || return 1
    blink
    # Processes that were just starting did not get the first signal.
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null
  done
  return 0 # the last kill fails if they have ended just before
}
