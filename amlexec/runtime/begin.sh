#!/bin/sh
# Start of a run's command, in its own session: write its identity, set its environment, then exec it.
#
# usage: sh begin.sh FOLDER UMASK COMMAND [ARGUMENT…]        (from supervisor.sh only)
#
# AMLEXEC_SET_0, AMLEXEC_SET_1, … are pieces of shell text that exports the command's environment. It is set only now,
# so that it does not affect the programs before: PATH, LD_PRELOAD and BASH_ENV are the script's.
. "${0%/*}/identity.sh"
folder=$1 mask=$2
shift 2
identify $$
read -r now
exec </dev/null
case $now in *N* | '') clock ;; esac
printf '%s\n' "$$ $identity $now" >"$folder/control/script" || exit 125
# A cancel writes `cancel` and then checks for `script`; here the order is reversed, so one of the two sees the other.
[ ! -e "$folder/control/cancel" ] || exit 143
umask "$mask"
text='' number=0
while eval "piece=\${AMLEXEC_SET_$number-}" && [ -n "$piece" ]; do
  text=$text$piece
  unset "AMLEXEC_SET_$number"
  number=$((number + 1))
done
unset AMLEXEC_SUPERVISED_ID AMLEXEC_SUPERVISED_FOLDER AMLEXEC_SUPERVISED_MASK
# After this, the environment is the script's: don't start or read anything of ours.
eval "$text"
exec "$@"
