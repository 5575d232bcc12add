#!/bin/sh
# Run a command to its end and write down how it ended, whoever is still there to see it.
#
# usage: sh supervisor.sh FOLDER COMMAND [ARGUMENT…]
#
# The working directory is the command's; of its environment, see begin.sh. FOLDER is the run's folder; into it go
#   stdout.log, stderr.log    what the command prints
#   control/supervisor        "PID START MACHINE" of this process, before anything else happens
#   control/script            "PID START EPOCH" of the command, the leader of a session and group of its own
#   control/end               "STATUS EPOCH", last of all; STATUS as a shell has it
# each by rename. A file control/cancel that is there before the command begins keeps it from beginning.
# Standard output is, last of all, the line of state.sh, for whoever waits for it.
here=${0%/*}
. "$here/identity.sh"
. "$here/belonging.sh"
folder=$1
shift
# What the run keeps is for its owner. The command has the umask of whoever started it.
mask=$(umask)
umask 077

# Handlers, not "ignore": what is ignored here would be ignored by the command too.
trap : HUP INT TERM
identify $$
machine
publish "$folder/control/supervisor" "$$ $identity $machine" || exit 125
# Our standard input was the run's lock: until now, nobody could see that the run has begun.
exec </dev/null
# The end's place on the disk, taken while there is one: a script that fills the disk has an end too.
printf '%-80s\n' '' >"$folder/control/end.new" || exit 125

# The command leads a session of its own, so that it and all it starts can be stopped together.
if command -v setsid >/dev/null 2>&1; then
  set -- setsid sh "$here/begin.sh" "$folder" "$mask" "$@"
elif command -v perl >/dev/null 2>&1; then # macOS has no setsid command
  set -- perl -e 'use POSIX; POSIX::setsid(); exec @ARGV or exit 127' sh "$here/begin.sh" "$folder" "$mask" "$@"
else
  set -- python3 -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' \
    sh "$here/begin.sh" "$folder" "$mask" "$@"
fi
# In the foreground: a background child would have SIGINT ignored.
"$@" </dev/null >>"$folder/stdout.log" 2>>"$folder/stderr.log"
status=$?
clock

# What the command left running is part of the run, and ends with it, also in a session of its own.
belonging "$folder"
if [ -n "$pids" ]; then
  echo "stopping what the script left running" >>"$folder/control.log"
  end_all "$folder" 2 || echo "these processes do not end: $pids" >>"$folder/control.log"
fi
printf '%-80s\n' "$status $now" 1<>"$folder/control/end.new"
mv -f "$folder/control/end.new" "$folder/control/end"
# Whoever waits for this process need not ask. If nobody does, writing it fails, and nothing is lost.
set -- "$folder"
. "$here/state.sh"
