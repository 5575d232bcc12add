# Sourced by supervisor.sh and stop.sh: which processes are of a run, and how they are ended.
#
# A process is of the run if it is in the session or the group that the script leads, if it has been started with the
# run's AMLEXEC_RUN_ID and AMLEXEC_RUN_FOLDER in its environment, which all that the script starts inherits, or if such
# a process has started it. Where there is no /proc, only the group is known.

# carrying NAME FOLDER: print the processes that were started with the run's id as NAME in their environment, and with
# its folder as NAME_FOLDER. A copy of a project has runs of the same ids; one that was moved has another folder now.
carrying() {
  for candidate in $(grep -lsF "$1=${2##*/}" /proc/[0-9]*/environ); do
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
    printf '%s ' "$candidate"
  done
}

# belonging FOLDER: set `pids` to the processes of a run, and to "-LEADER" in place of those of the script's group.
# That control/script names one is not enough: a stranger's files may name anybody. It has to have been started by this
# run's supervisor, or one of its group has to have the run in its environment; else it is in `stranger`.
belonging() {
  pids='' leader='' marked='' stranger=''
  if read -r leader _ 2>/dev/null <"$1/control/script"; then
    # The leader may be gone and its group still there; a group that a stranger leads has a living leader.
    alive "$1/control/script" || ! identify "$leader" || leader=
  fi
  if [ ! -r /proc/self/stat ]; then
    [ -z "$leader" ] || ! members "$leader" || pids=-$leader
    return 0
  fi
  marked=$(carrying AMLEXEC_RUN_ID "$1")
  # So it is nearly always when a script has ended: nothing is left, and no more has to be asked.
  [ -n "$marked" ] || { [ -n "$leader" ] && kill -0 "-$leader" 2>/dev/null; } || return 0
  # What we have started for this ourselves is not meant, should the script itself have asked for it.
  pids=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v leader="${leader:-none}" -v marked="$marked" -v self="$$" \
    -v supervisors="$(carrying AMLEXEC_SUPERVISED_ID "$1")" '
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
        # Until it has become the script, it has the environment of its supervisor.
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

# gone_within FOLDER SECONDS: wait until nothing of a run is left, for so long at most; whether nothing is.
gone_within() {
  stopwatch
  while belonging "$1" && [ -n "$pids" ]; do
    passed
    [ "$passed" -lt "$(($2 * 100))" ] || return 1
    if [ "$passed" -lt 20 ]; then blink; else nap; fi
  done
}

# end_all FOLDER GRACE: TERM to all that is of a run, GRACE seconds, KILL; fails where something is left even then,
# which is in `pids`.
end_all() {
  belonging "$1"
  [ -n "$pids" ] || return 0
  # shellcheck disable=SC2086 # they are several
  # What was stopped gets neither signal before it goes on.
  { kill -TERM $pids; kill -CONT $pids; } 2>/dev/null
  gone_within "$1" "$2" && return
  # shellcheck disable=SC2086
  kill -KILL $pids 2>/dev/null
  stopwatch
  while belonging "$1" && [ -n "$pids" ]; do
    passed
    [ "$passed" -lt 500 ] || return 1
    blink
    # What was just being started has not got the first one.
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null
  done
}
