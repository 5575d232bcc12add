#!/bin/sh
# Print one line, what is known of a run:
#
#   ended STATUS BEGAN ENDED CANCELED    BEGAN and ENDED in seconds since 1970, BEGAN is - if it never began;
#                                        CANCELED is 1 if a cancel was asked for before the end
#   running BEGAN NOW                    the command is running; NOW is what this machine's clock says
#   starting                             the supervisor is there, the command not yet
#   lost BEGAN CANCELED [restarted]      both are gone and no end was written; its machine was restarted since
#   new                                  there has been no supervisor
#
# usage: sh state.sh FOLDER
. "${0%/*}/identity.sh"
control=$1/control

[ -e "$control/cancel" ] && canceled=1 || canceled=0

ended() {
  read -r status at 2>/dev/null <"$control/end" || return 1
  echo "ended $status $began $at $canceled"
}

began=-
if [ -r "$control/script" ]; then
  read -r _ _ began <"$control/script"
fi
if ended; then
  :
elif alive "$control/script"; then
  clock
  echo "running $began $now"
elif alive "$control/supervisor"; then
  # Between the command's end and the writing of it, what it left running is being stopped.
  clock
  [ "$began" = - ] && echo "starting" || echo "running $began $now"
elif [ ! -e "$control/supervisor" ]; then
  echo "new"
else
  # It may have ended between the first look and the second.
  ended || {
    then=
    read -r _ _ then <"$control/supervisor"
    machine
    [ -z "$then" ] || [ -z "$machine" ] || [ "$then" = "$machine" ] || canceled="$canceled restarted"
    echo "lost $began $canceled"
  }
fi
