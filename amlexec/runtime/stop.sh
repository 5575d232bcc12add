#!/bin/sh
# Cancel a run: TERM to its whole group, a grace, KILL, and a look whether it is gone. Prints what state.sh prints.
#
# usage: sh stop.sh FOLDER GRACE            GRACE in whole seconds
here=${0%/*}
. "$here/identity.sh"
folder=$1
control=$1/control
grace=$2

[ -e "$control/end" ] || : >"$control/cancel" || exit 125

# A supervisor without a command yet will see `cancel`, or show the command in a moment.
tries=0
while [ ! -e "$control/script" ] && alive "$control/supervisor" && [ "$tries" -lt 100 ]; do
  nap
  tries=$((tries + 1))
done

if [ ! -e "$control/end" ] && [ -r "$control/script" ]; then
  read -r leader _ <"$control/script"
  # The leader may be gone and its group still there; a group that a stranger leads has a living leader.
  if alive "$control/script" || ! identify "$leader"; then
    if members "$leader" && ! is_of "$folder" "$leader"; then
      echo "the process $leader, which control/script names, was not started by this run, and is left alone" >&2
      exit 1
    fi
    kill -TERM "-$leader" 2>/dev/null
    until=$(($(date +%s) + grace + 1)) # whole seconds: rather one too many
    while members "$leader" && [ "$(date +%s)" -lt "$until" ]; do nap; done
    kill -KILL "-$leader" 2>/dev/null
    tries=0
    while members "$leader" && [ "$tries" -lt 50 ]; do
      nap
      tries=$((tries + 1))
    done
  fi
fi

# The supervisor writes the end; without one there is none to wait for.
tries=0
while [ ! -e "$control/end" ] && alive "$control/supervisor" && [ "$tries" -lt 100 ]; do
  nap
  tries=$((tries + 1))
done
exec sh "$here/state.sh" "$folder"
