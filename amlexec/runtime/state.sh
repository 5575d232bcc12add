#!/bin/sh
# Print the state of a run in one line:
#
#   ended STATUS BEGAN ENDED CANCELED    BEGAN and ENDED in seconds since 1970, BEGAN is - if it never began;
#                                        CANCELED is 1 if the run was canceled before the end
#   running BEGAN NOW                    the command is running; NOW is this machine's time
#   starting                             the supervisor is running, the command not yet
#   lost BEGAN CANCELED [restarted]      both have ended without a written end; the machine was restarted since
#   new                                  there was no supervisor
#
# usage: sh state.sh FOLDER
. "${0%/*}/identity.sh"
control=$1/control

# What a run has by now is read after what it is: it goes on meanwhile.
facts() {
  read -r _ _ began 2>/dev/null <"$control/script" || began=-
  [ -e "$control/cancel" ] && canceled=1 || canceled=0
}

ended() {
  read -r status at 2>/dev/null <"$control/end" || return 1
  facts
  echo "ended $status $began $at $canceled"
}

if ended; then
  :
elif alive "$control/script"; then
  clock
  facts
  echo "running $began $now"
elif alive "$control/supervisor"; then
  # After the command's end, its remaining processes are stopped before the end is written.
  clock
  facts
  [ "$began" = - ] && echo "starting" || echo "running $began $now"
elif [ ! -s "$control/supervisor" ]; then
  echo "new"
else
  # It may have ended between the first check and the second.
  ended || {
    then=
    read -r _ _ then <"$control/supervisor"
    machine
    facts
    [ -z "$then" ] || [ -z "$machine" ] || [ "$then" = "$machine" ] || canceled="$canceled restarted"
    echo "lost $began $canceled"
  }
fi
