#!/bin/sh
# Cancel a run: TERM to all it started, a grace, KILL, and a look whether it is gone. Prints what state.sh prints.
#
# usage: sh stop.sh FOLDER GRACE            GRACE in whole seconds
here=${0%/*}
. "$here/identity.sh"
. "$here/belonging.sh"
folder=$1
control=$1/control
grace=$2
# A script may have asked for its own end: what is started for that is not what it has left.
unset AMLEXEC_RUN_ID

[ -e "$control/end" ] || : >"$control/cancel" || exit 125

# wake: let the supervisor go on, where somebody has stopped it. Fails where there is none.
wake() {
  alive "$control/supervisor" || return 1
  supervisor=$pid
  case " ${supervisors=$(carrying AMLEXEC_SUPERVISED_ID "$folder")}" in
  *" $supervisor "*) kill -CONT "$supervisor" 2>/dev/null ;;
  esac
  return 0
}

# A supervisor without a command yet will see `cancel`, or show the command in a moment.
stopwatch
while [ ! -e "$control/script" ] && [ ! -e "$control/end" ] && wake; do
  passed
  [ "$passed" -lt 1000 ] || break
  blink
done

if [ ! -e "$control/end" ] && [ -r "$control/script" ]; then
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

# The supervisor writes the end; without one there is none to wait for.
stopwatch
while [ ! -e "$control/end" ] && wake; do
  passed
  [ "$passed" -lt 1000 ] || break
  blink
done
exec sh "$here/state.sh" "$folder"
