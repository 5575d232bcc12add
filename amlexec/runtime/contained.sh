#!/bin/sh
# Run a command in a container of podman, and end with its exit code, also if podman was ended before it.
#
# usage: sh contained.sh outer FOLDER PODMAN…        on the node; PODMAN ends with `sh contained.sh inner FOLDER COMMAND…`
#        sh contained.sh inner FOLDER COMMAND…       in the container
#
# conmon, which holds the container, must not be stopped with the script: it does not have the run's id in its
# environment.
place=$1 code=$2/control/code.${RANK:-0}
shift 2
if [ "$place" = inner ]; then
  [ -z "${AMLEXEC_CONTAINED_ID-}" ] || export AMLEXEC_RUN_ID="$AMLEXEC_CONTAINED_ID"
  [ -z "${AMLEXEC_CONTAINED_FOLDER-}" ] || export AMLEXEC_RUN_FOLDER="$AMLEXEC_CONTAINED_FOLDER"
  unset AMLEXEC_CONTAINED_ID AMLEXEC_CONTAINED_FOLDER
  # The container's first process passes signals on to this one alone.
  "$@" &
  child=$!
  for signal in HUP INT TERM USR1 USR2; do
    # shellcheck disable=SC2064 # as it is now
    trap "kill -$signal $child 2>/dev/null" "$signal"
  done
  while :; do
    wait "$child"
    status=$?
    # The wait ends with every signal.
    [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null || break
  done
  echo "$status" >"$code.new" && mv -f "$code.new" "$code"
  exit "$status"
fi
export AMLEXEC_CONTAINED_ID="${AMLEXEC_RUN_ID-}" AMLEXEC_CONTAINED_FOLDER="${AMLEXEC_RUN_FOLDER-}"
unset AMLEXEC_RUN_ID AMLEXEC_RUN_FOLDER
rm -f "$code"
# passed_on: end the command. podman does not pass signals on everywhere, and the command is not a child of this process.
passed_on() {
  for each in $(grep -lsF "AMLEXEC_RUN_ID=$AMLEXEC_CONTAINED_ID" /proc/[0-9]*/environ); do
    each=${each#/proc/}
    [ "${each%/environ}" = "$$" ] || kill -TERM "${each%/environ}" 2>/dev/null
  done
}
"$@" &
podman=$!
trap passed_on TERM
trap : HUP INT
while :; do
  wait "$podman"
  status=$?
  [ "$status" -gt 128 ] && kill -0 "$podman" 2>/dev/null || break
done
tries=0
while [ ! -e "$code" ] && [ "$status" = 0 ] && [ "$tries" -lt 35 ]; do
  # podman was ended, and the command has not ended yet.
  sleep 1
  tries=$((tries + 1))
done
read -r said 2>/dev/null <"$code" && exit "$said"
# No exit code of the command: it was killed.
[ "$status" != 0 ] || status=137
exit "$status"
