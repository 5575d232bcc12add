#!/bin/sh
# The first moment of a run's command, in its own session: say who it is, then become it.
#
# usage: sh begin.sh FOLDER UMASK COMMAND [ARGUMENT…]        (from supervisor.sh only)
. "${0%/*}/identity.sh"
folder=$1 mask=$2
shift 2
identify $$
clock
publish "$folder/control/script" "$$ $identity $now" || exit 125
# Whoever cancels writes `cancel` and then looks for `script`; here it is the other way round. One sees the other.
[ ! -e "$folder/control/cancel" ] || exit 143
umask "$mask"
exec "$@"
