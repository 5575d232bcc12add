#!/bin/sh
# Cancel a run: TERM to all its processes, KILL after a grace, and a check that they ended. Prints the line of state.sh.
#
# usage: sh stop.sh FOLDER GRACE            GRACE in whole seconds
here=${0%/*}
. "$here/identity.sh"
. "$here/belonging.sh"
folder=$1
control=$1/control
grace=$2
# A script may cancel its own run: the processes of this command don't belong to the run.
unset AMLEXEC_RUN_ID

[ -e "$control/end" ] || : >"$control/cancel" || exit 125

# wake: continue the supervisor if it was stopped. Fails if there is none.
wake() {
  alive "$control/supervisor" || return 1
  supervisor=$pid
  [ -n "${supervisors+found}" ] || { carrying AMLEXEC_SUPERVISED_ID "$folder"; supervisors=$carriers; }
  case " $supervisors" in
  *" $supervisor "*) kill -CONT "$supervisor" 2>/dev/null ;;
  esac
  return 0
}

# A supervisor without a command will see `cancel`, or write the command's process soon.
stopwatch
while [ ! -s "$control/script" ] && [ ! -e "$control/end" ] && wake; do
  passed
  [ "$passed" -lt 1000 ] || break
  blink
done

if [ ! -e "$control/end" ] && [ -s "$control/script" ]; then
  belonging "$folder"
  if [ -n "$stranger" ]; then
    echo "the process $stranger, which control/script names, was not started by this run, and is left alone" >&2
    exit 1
  fi
  end_all "$folder" "$grace" || {
    echo "these processes of the run do not end: $pids" >&2
    exit 3
  }
fi

# The supervisor writes the end; without one, don't wait.
stopwatch
while [ ! -e "$control/end" ] && wake; do
  passed
  [ "$passed" -lt 1000 ] || break
  blink
done
exec sh "$here/state.sh" "$folder"
