#!/bin/sh
# The first moment of a run's command, in its own session: say who it is, take its environment, then become it.
#
# usage: sh begin.sh FOLDER UMASK COMMAND [ARGUMENT…]        (from supervisor.sh only)
#
# AMLEXEC_SET_0, AMLEXEC_SET_1, … are pieces of shell text that exports what the command shall have in its environment.
# Only now, so that nothing of it decides what is started until here: PATH, LD_PRELOAD and BASH_ENV are the script's.
. "${0%/*}/identity.sh"
folder=$1 mask=$2
shift 2
identify $$
clock
publish "$folder/control/script" "$$ $identity $now" || exit 125
# Whoever cancels writes `cancel` and then looks for `script`; here it is the other way round. One sees the other.
[ ! -e "$folder/control/cancel" ] || exit 143
umask "$mask"
text='' number=0
while eval "piece=\${AMLEXEC_SET_$number-}" && [ -n "$piece" ]; do
  text=$text$piece
  unset "AMLEXEC_SET_$number"
  number=$((number + 1))
done
unset AMLEXEC_SUPERVISED_ID AMLEXEC_SUPERVISED_FOLDER
# After this, nothing of ours may be looked for or read.
eval "$text"
exec "$@"
