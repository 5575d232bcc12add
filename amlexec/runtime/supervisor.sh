#!/bin/sh
# Run a command to its end, and write how it ended. Independent of the process that started it.
#
# usage: sh supervisor.sh FOLDER COMMAND [ARGUMENT…]
#
# The working directory is the command's; for its environment, see begin.sh. In FOLDER, the run's folder, it writes
#   stdout.log, stderr.log    the command's output
#   control/supervisor        "PID START MACHINE" of this process, first of all
#   control/script            "PID START EPOCH" of the command, the leader of its own session and group
#   control/end               "STATUS EPOCH", last of all; STATUS as in a shell
# the last by rename. The others count as missing while they are empty: a rename takes a process.
# If control/cancel exists before the command starts, it is not started.
# Finally, it prints the line of state.sh, for a waiting parent.
here=${0%/*}
. "$here/identity.sh"
. "$here/belonging.sh"
folder=$1
shift
# The run's files are private. The command gets the caller's umask.
mask=${AMLEXEC_SUPERVISED_MASK:-$(umask)}
umask 077

# Handlers, not "ignore": the command would inherit ignored signals.
trap : HUP INT TERM
stopwatch
identify $$
machine
printf '%s\n' "$$ $identity $machine" >"$folder/control/supervisor" || exit 125
# Our standard input is the run's lock, released now that the state shows the start.
exec </dev/null
# Reserve disk space for the end: it must be written even if the script fills the disk.
printf '%-80s\n' '' >"$folder/control/end.new" || exit 125

# The command gets its own session, so that it and all its processes can be stopped together.
if command -v setsid >/dev/null 2>&1; then
  set -- setsid sh "$here/begin.sh" "$folder" "$mask" "$@"
elif command -v perl >/dev/null 2>&1; then # macOS has no setsid command
  set -- perl -e 'use POSIX; POSIX::setsid(); exec @ARGV or exit 127' sh "$here/begin.sh" "$folder" "$mask" "$@"
else
  set -- python3 -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' \
    sh "$here/begin.sh" "$folder" "$mask" "$@"
fi
# In the foreground: a background child would have SIGINT ignored. `date` works while the shell of begin.sh starts.
date +%s.%N 2>/dev/null </dev/null | "$@" >>"$folder/stdout.log" 2>>"$folder/stderr.log"
status=$?
clock

# Processes that the command left running end with the run, even in another session.
since $$
belonging "$folder"
first_pid=
if [ -n "$pids" ]; then
  echo "stopping what the script left running" >>"$folder/control.log"
  end_all "$folder" 2 || echo "these processes do not end: $pids" >>"$folder/control.log"
fi
printf '%-80s\n' "$status $now" 1<>"$folder/control/end.new"
mv -f "$folder/control/end.new" "$folder/control/end"
# For a waiting parent. Without one, the write fails, which is harmless.
set -- "$folder"
. "$here/state.sh"
