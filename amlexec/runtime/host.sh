# The verbs of a run on another machine. Sent after identity.sh, and before a last line that calls one of them;
# nothing of it is installed there but what lies under ~/.amlexec.

mask=$(umask)
umask 077
base=$HOME/.amlexec

# look PYTHON RUNTIME PROJECT [ENVIRONMENT]: what a submission has to know, a line "KEY VALUE" each.
look() {
  echo "home $HOME"
  echo "path $PATH"
  echo "system $(uname -s) $(uname -m)"
  [ -d "$base/runtime/$2" ] && echo "runtime there"
  [ -r "$base/projects/$3/id" ] && echo "tree $(cat "$base/projects/$3/id")"
  if [ -n "${4-}" ]; then
    for prefix in "$base/envs/$4"/*; do
      [ -r "$prefix/amlexec.json" ] && [ -x "$prefix/bin/python" ] || continue
      echo "environment $prefix"
      echo "marker $(cat "$prefix/amlexec.json")"
      break
    done
    return 0
  fi
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

# stage RUN RUNTIME PROJECT OLD NEW: make a run's folder from what is there and what comes as a tar archive.
# The archive has runtime/ (if it was not there), gone.sh, tree/, run.json, and last of all `whole`.
stage() {
  run=$1 runtime=$2 project=$base/projects/$3 old=$4 new=$5
  mkdir -p "$base/runtime" "$base/runs" "$project" || exit 2
  lock "$project" || exit 2
  trap 'rm -rf "$project/incoming" "$project/run" "$project/lock"' EXIT
  now=
  [ -r "$project/id" ] && now=$(cat "$project/id")
  if [ "$now" != "$old" ]; then
    # Somebody else sent another snapshot in between: the sender has to look again.
    exit 75
  fi
  # What somebody left who was killed here.
  rm -rf "$project/incoming" "$project/run"
  # Not before: whoever has the lock may be putting another one in its place.
  mkdir -p "$project/tree" || exit 2
  mkdir "$project/incoming" && tar -xf - -C "$project/incoming" || exit 2
  # A connection that ends between two files is no end of an archive, though tar may take it for one.
  [ -e "$project/incoming/whole" ] || { echo "the connection ended before all of it had come" >&2; exit 2; }
  if [ -d "$project/incoming/runtime" ] && [ ! -d "$base/runtime/$runtime" ]; then
    mv "$project/incoming/runtime" "$base/runtime/$runtime" 2>/dev/null || [ -d "$base/runtime/$runtime" ] || exit 2
  fi
  if [ "$old" != "$new" ]; then
    # From here on the mirror is neither one nor the other.
    rm -f "$project/id"
    if [ -z "$old" ]; then rm -rf "$project/tree" && mkdir "$project/tree" || exit 2; fi
    (cd "$project/tree" && . "$project/incoming/gone.sh") || exit 2
    if [ -z "$old" ] && [ -d "$project/incoming/tree" ]; then
      # All of it has come: it need not be copied.
      rmdir "$project/tree" && mv "$project/incoming/tree" "$project/tree" || exit 2
    elif [ -d "$project/incoming/tree" ]; then
      (cd "$project/incoming/tree" && tar -cf - .) | (cd "$project/tree" && tar -xf -) || exit 2
    fi
    echo "$new" >"$project/id.new" && mv -f "$project/id.new" "$project/id" || exit 2
  fi
  mkdir "$project/run" && mkdir "$project/run/control" || exit 2
  cp -R "$project/tree" "$project/run/project" || exit 2
  # Every script finds it, unless the snapshot has something else of that name.
  mkdir "$project/run/project/outputs" 2>/dev/null || [ -e "$project/run/project/outputs" ] ||
    [ -h "$project/run/project/outputs" ] || exit 2
  echo "$runtime" >"$project/run/control/runtime" && mv "$project/incoming/run.json" "$project/run/run.json" || exit 2
  [ ! -e "$base/runs/$run" ] && mv "$project/run" "$base/runs/$run"
}

# lock FOLDER: wait until nobody else has it, for a minute at most. A mirror is changed in place: one at a time.
lock() {
  # Said first and shown by one rename, so that there is no lock without a name in it.
  rm -rf "$1/lock.$$"
  identify $$ && mkdir "$1/lock.$$" && echo "$$ $identity" >"$1/lock.$$/pid" || return 1
  tries=0
  until mkdir "$1/lock" 2>/dev/null && mv "$1/lock.$$/pid" "$1/lock/pid"; do
    tries=$((tries + 1))
    if [ -e "$1/lock/pid" ]; then
      # Who has it may have been killed, or its machine restarted. Of all who see that one takes it away, and
      # gives it back if somebody else has got it in between.
      if ! alive "$1/lock/pid" && mv "$1/lock/pid" "$1/lock.$$/old" 2>/dev/null; then
        if alive "$1/lock.$$/old"; then mv "$1/lock.$$/old" "$1/lock/pid"; else rmdir "$1/lock" 2>/dev/null; fi
      fi
    elif [ $((tries % 50)) -eq 0 ]; then
      # Killed between two commands.
      rmdir "$1/lock" 2>/dev/null
    fi
    if [ "$tries" -ge 600 ]; then
      rm -rf "$1/lock.$$"
      echo "another submission has held $1/lock for a minute" >&2
      return 1
    fi
    nap
  done
  rm -rf "$1/lock.$$"
}

# begin RUN RUNTIME PYTHON ARGUMENT…: start the supervisor, detached. Standard input is shell text, which exports the
# environment and sets `record` to the text of run.json.
begin() {
  folder=$base/runs/$1 runtime=$base/runtime/$2 python=$3
  shift 3
  record=
  eval "$(cat)" || exit 2
  [ -n "$record" ] || { echo "the connection ended before all of it had come" >&2; exit 2; }
  publish "$folder/run.json" "$record" || exit 2
  cd "$folder/project" || exit 2
  # The script has the umask that its user has there.
  umask "$mask"
  # What a shell starts in the background has SIGINT ignored, and no shell can undo that: the run's Python can.
  nohup "$python" -I -S -c 'import os, signal, sys
for one in (signal.SIGINT, signal.SIGQUIT): signal.signal(one, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' sh "$runtime/supervisor.sh" "$folder" "$@" </dev/null >/dev/null 2>&1 &
  tries=0
  until [ -e "$folder/control/supervisor" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 400 ] || { echo "the supervisor has not begun within 30 s" >&2; exit 2; }
    if [ "$tries" -lt 100 ]; then blink; else nap; fi
  done
}

# size FILE: set `size` to its bytes, 0 where there is none.
size() {
  size=0
  if [ -r "$1" ]; then size=$(($(wc -c <"$1"))); fi
}

# follow RUN OUT ERR: what the logs have after these many bytes, framed, until the run is over.
#   "1 LENGTH" or "2 LENGTH" on a line, then that many bytes; last of all "S " and the line of state.sh.
follow() {
  folder=$base/runs/$1 out=$2 err=$3
  [ -d "$folder" ] || { echo "S gone"; return; }
  started_with "$folder"
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
      # What has just printed may print again or end, and what waits in a pipe is lost in a cut.
      if [ "$idle" -lt 20 ]; then blink; else nap; fi
    else
      idle=0
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

# started_with FOLDER: set `runtime` to what a run was started with: a newer amlexec asks about it in the old way.
started_with() {
  read -r runtime 2>/dev/null <"$1/control/runtime" || { echo "$1/control/runtime can't be read" >&2; exit 2; }
  runtime=$base/runtime/$runtime
}

# state RUN, stop RUN GRACE
state() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  started_with "$base/runs/$1"
  sh "$runtime/state.sh" "$base/runs/$1"
}
stop() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  started_with "$base/runs/$1"
  sh "$runtime/stop.sh" "$base/runs/$1" "$2"
}

# records START: of every run whose id begins so, its id, the line of state.sh, and its record, a line each.
records() {
  for folder in "$base/runs/$1"*; do
    [ -d "$folder/control" ] || continue
    echo "${folder##*/}"
    (started_with "$folder" && sh "$runtime/state.sh" "$folder") 2>/dev/null || echo
    # A line end in JSON is no more than a blank.
    tr '\n' ' ' 2>/dev/null <"$folder/run.json" || :
    echo
  done
}

# fetch RUN [PATH…]: what a run brings home, or these paths of its copy of the project instead:
#   "=PATH" for each absolute path that the copy has, "TYPE PATH" for all that is there (f file, d folder, l link,
#   p FIFO, s socket, o something else), "x PATH" for what may not be read (of a path that is too long for such a
#   question, nobody knows), each ended by a NUL; one NUL more;
#   a tar archive; lines of sha256sum; and after a NUL "tar STATUS".
# Nothing is written: the disk may be full. What a script has taken from its owner is given back, to be read.
fetch() {
  cd "$base/runs/$1" || exit 2
  shift
  LC_ALL=C
  export LC_ALL
  if [ $# -eq 0 ]; then
    for name in run.json metrics.jsonl python.json executors.jsonl outputs project/outputs control/came.tar; do
      if [ -e "$name" ] || [ -h "$name" ]; then set -- "$@" "$name"; fi
    done
  else
    count=$#
    while [ "$count" -gt 0 ]; do
      count=$((count - 1))
      reach "$1"
      shift
      if [ -e "$reached" ] || [ -h "$reached" ]; then set -- "$@" "$reached"; fi
    done
  fi
  printf '=%s\0' "$(pwd -P)/project" "$base/runs/${PWD##*/}/project"
  if [ $# -gt 0 ]; then
    find "$@" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
    find "$@" -type f ! -perm -600 -exec chmod u+rw {} + 2>/dev/null
    find "$@" \( -type f -exec printf 'f %s\0' {} + \) -o \( -type d -exec printf 'd %s\0' {} + \) \
      -o \( -type l -exec printf 'l %s\0' {} + \) -o \( -type p -exec printf 'p %s\0' {} + \) \
      -o \( -type s -exec printf 's %s\0' {} + \) -o -exec printf 'o %s\0' {} + 2>/dev/null
    find "$@" \( -type f -o -type d \) -exec sh -c \
      'for one; do [ ${#one} -gt 4000 ] || [ -r "$one" ] || printf "x %s\0" "$one"; done' sh {} + 2>/dev/null
  fi
  printf '\0'
  if [ $# -gt 0 ]; then
    tar -cf - "$@"
    status=$?
    find "$@" -type f -exec sha256sum {} + 2>/dev/null
  else
    # An archive with nothing in it.
    head -c 1024 /dev/zero
    status=$?
  fi
  printf '\0tar %s\n' "$status"
}

# reach PATH: set `reached` to the first name on the way that is a link, which is not followed, or else to PATH.
reach() {
  reached= rest=$1
  while :; do
    reached=$reached${rest%%/*}
    case $rest in */*) ;; *) return ;; esac
    [ ! -h "$reached" ] || return
    reached=$reached/ rest=${rest#*/}
  done
}

# forget PROJECT: the mirror is of no use any more.
forget() { rm -f "$base/projects/$1/id"; }

# remove RUN: says so where there was something to remove
remove() {
  [ -d "$base/runs/$1" ] || return 0
  echo removed
  rm -rf "$base/runs/$1" 2>/dev/null && return
  # A script may have taken the owner's rights away.
  find "$base/runs/$1" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
  rm -rf "$base/runs/$1"
}
