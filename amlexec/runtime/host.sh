# The verbs of a run on another machine. Sent together with a last line that calls one of them; nothing of it
# is installed there but what lies under ~/.amlexec.

umask 077
base=$HOME/.amlexec

# look PYTHON RUNTIME PROJECT: what a submission has to know, a line "KEY VALUE" each.
look() {
  echo "home $HOME"
  echo "system $(uname -s) $(uname -m)"
  [ -d "$base/runtime/$2" ] && echo "runtime there"
  [ -r "$base/projects/$3/id" ] && echo "tree $(cat "$base/projects/$3/id")"
  case $1 in
  '~/'*) python=$HOME/${1#'~/'} ;;
  */*) python=$1 ;;
  *)
    python=$(command -v "$1") || python=
    if [ -z "$python" ] && [ "$1" = python ]; then python=$(command -v python3) || python=; fi
    ;;
  esac
  [ -n "$python" ] && [ -x "$python" ] || return 0
  echo "python $python"
  "$python" -I -S -c 'import sys; sys.stdout.write("version %d.%d.%d\n" % sys.version_info[:3])' </dev/null
}

# stage RUN RUNTIME PROJECT OLD NEW DELETIONS: make a run's folder from what is there and what comes as a tar archive.
# The archive has runtime/ (if it was not there), gone.sh and tree/.
stage() {
  run=$1 runtime=$2 project=$base/projects/$3 old=$4 new=$5
  mkdir -p "$base/runtime" "$base/runs" "$project/tree" || exit 2
  # One at a time: a mirror is changed in place. mkdir is the lock that every file system has.
  tries=0
  until mkdir "$project/lock" 2>/dev/null; do
    read -r holder 2>/dev/null <"$project/lock/pid" && ! kill -0 "$holder" 2>/dev/null && rm -rf "$project/lock"
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { echo "another submission has held $project/lock for a minute" >&2; exit 2; }
    sleep 0.1 2>/dev/null || sleep 1
  done
  trap 'rm -rf "$project/lock" "$project/incoming"' EXIT
  echo $$ >"$project/lock/pid"
  now=
  [ -r "$project/id" ] && now=$(cat "$project/id")
  if [ "$now" != "$old" ]; then
    # Somebody else sent another snapshot in between: the sender has to look again.
    exit 75
  fi
  rm -rf "$project/incoming"
  mkdir "$project/incoming" && tar -xf - -C "$project/incoming" || exit 2
  if [ -d "$project/incoming/runtime" ] && [ ! -d "$base/runtime/$runtime" ]; then
    mv "$project/incoming/runtime" "$base/runtime/$runtime" 2>/dev/null || [ -d "$base/runtime/$runtime" ] || exit 2
  fi
  if [ "$old" != "$new" ]; then
    # From here on the mirror is neither one nor the other.
    rm -f "$project/id"
    if [ -z "$old" ]; then rm -rf "$project/tree" && mkdir "$project/tree" || exit 2; fi
    (cd "$project/tree" && . "$project/incoming/gone.sh") || exit 2
    if [ -d "$project/incoming/tree" ]; then
      (cd "$project/incoming/tree" && tar -cf - .) | (cd "$project/tree" && tar -xf -) || exit 2
    fi
    echo "$new" >"$project/id.new" && mv -f "$project/id.new" "$project/id" || exit 2
  fi
  mkdir "$base/runs/.$run.new" && mkdir "$base/runs/.$run.new/control" || exit 2
  cp -R "$project/tree" "$base/runs/.$run.new/project" || exit 2
  mv "$base/runs/.$run.new" "$base/runs/$run"
}

# begin RUN RUNTIME PYTHON ARGUMENT…: start the supervisor, detached. Standard input is the environment, as shell text.
begin() {
  folder=$base/runs/$1 runtime=$base/runtime/$2 python=$3
  shift 3
  eval "$(cat)" || exit 2
  cd "$folder/project" || exit 2
  umask 022
  # What a shell starts in the background has SIGINT ignored, and no shell can undo that: the run's Python can.
  nohup "$python" -I -S -c 'import os, signal, sys
for one in (signal.SIGINT, signal.SIGQUIT): signal.signal(one, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' sh "$runtime/supervisor.sh" "$folder" "$@" </dev/null >/dev/null 2>&1 &
  tries=0
  until [ -e "$folder/control/supervisor" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "the supervisor has not begun within 30 s" >&2; exit 2; }
    sleep 0.1 2>/dev/null || sleep 1
  done
}

# size FILE: set `size` to its bytes, 0 where there is none.
size() {
  size=0
  if [ -r "$1" ]; then size=$(($(wc -c <"$1"))); fi
}

# follow RUN RUNTIME OUT ERR: what the logs have after these many bytes, framed, until the run is over.
#   "1 LENGTH" or "2 LENGTH" on a line, then that many bytes; last of all "S " and the line of state.sh.
follow() {
  folder=$base/runs/$1 runtime=$base/runtime/$2 out=$3 err=$4
  [ -d "$folder" ] || { echo "S gone"; return; }
  idle=0
  while :; do
    state=$(sh "$runtime/state.sh" "$folder")
    before=$out/$err
    piece 1 "$folder/stdout.log" "$out"
    out=$((out + sent))
    piece 2 "$folder/stderr.log" "$err"
    err=$((err + sent))
    case $state in running* | starting*) ;; *)
      # What came between the look at the state and the reading of the logs has been read.
      echo "S $state"
      return
      ;;
    esac
    if [ "$before" = "$out/$err" ]; then
      # Something has to be said now and then, or a lost connection would not be noticed.
      idle=$((idle + 1))
      [ $((idle % 50)) -ne 0 ] || echo "- 0" || return
      sleep 0.1 2>/dev/null || sleep 1
    fi
  done
}

# piece NUMBER FILE FROM: hand on what a file has after FROM bytes; sets `sent`.
piece() {
  size "$2"
  sent=$((size - $3))
  [ "$sent" -gt 0 ] || { sent=0; return; }
  echo "$1 $sent"
  tail -c "+$(($3 + 1))" "$2" | head -c "$sent"
}

# state RUN RUNTIME, stop RUN RUNTIME GRACE
state() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  sh "$base/runtime/$2/state.sh" "$base/runs/$1"
}
stop() { sh "$base/runtime/$2/stop.sh" "$base/runs/$1" "$3"; }

# fetch RUN: what a run brings home, as a tar archive: metrics, control log, outputs, and their lengths and digests.
fetch() {
  cd "$base/runs/$1" || exit 2
  mkdir -p control
  {
    find outputs project/outputs -type f -exec sha256sum {} + 2>/dev/null || true
  } >control/digests
  set --
  for name in control/digests metrics.jsonl control.log outputs; do [ ! -e "$name" ] || set -- "$@" "$name"; done
  [ ! -d project/outputs ] || [ -h project/outputs ] || set -- "$@" project/outputs
  tar -cf - "$@"
}

# forget PROJECT: the mirror is of no use any more.
forget() { rm -f "$base/projects/$1/id"; }

# remove RUN
remove() {
  [ -d "$base/runs/$1" ] || return 0
  rm -rf "$base/runs/$1" 2>/dev/null && return
  # A script may have taken the owner's rights away.
  chmod -R u+rwX "$base/runs/$1"
  rm -rf "$base/runs/$1"
}
