# The verbs of a run on another machine. Sent after identity.sh, and before a last line that calls one of them.
# All files that they install are in ~/.amlexec.

mask=$(umask)
umask 077
base=$HOME/.amlexec

# Ignore the user's settings for tar.
tar() { TAR_OPTIONS='' command tar "$@"; }

# look PYTHON RUNTIME PROJECT [ENVIRONMENT]: facts for a submission, a line "KEY VALUE" each.
look() {
  echo "home $HOME"
  echo "path $PATH"
  # While it is compared, Python starts.
  (whole "$base/runtime/$2" "$2" && echo "runtime there") &
  echo "system $(uname -sm)"
  tree=
  read -r tree 2>/dev/null <"$base/projects/$3/id"
  [ -z "$tree" ] || echo "tree $tree"
  found "$1" "${4-}"
  code=$?
  wait
  return "$code"
}

# found PYTHON ENVIRONMENT: the facts about the environment of that name, or else about the Python.
found() {
  if [ -n "$2" ]; then
    for prefix in "$base/envs/$2"/*; do
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

# whole FOLDER RUNTIME: whether the runtime files are complete and unchanged. RUNTIME is the beginning of their digest.
whole() {
  [ -d "$1" ] || return 1
  # Without a program for digests, they are trusted.
  command -v sha256sum >/dev/null 2>&1 || return 0
  digest=$(cd "$1" && parts | LC_ALL=C sort | xargs cat 2>/dev/null | sha256sum)
  [ "${digest%"${digest#????????????????}"}" = "$2" ]
}
parts() { find . -type f \( -name '*.sh' -o -name '*.py' \); }

# stage RUN RUNTIME PROJECT OLD NEW OWNER: make a run's folder from the mirror and a tar archive on standard input.
# The archive has runtime/ (if it was missing), gone.sh, tree/, perhaps models/, run.json, and finally `whole`.
#
# Only the process with its lock changes the mirror in projects/PROJECT. Readers that copy it release the lock, and a
# writer waits for them. Lines "wait …" tell what is waited for.
stage() {
  mirrored "$@"
  mkdir "$copy" "$copy/control" && cp -R "$project/tree" "$copy/project" || exit 2
  [ "$sealed" = "$(seal)" ] || exit 75
  rm -f "$reader"
  # For every script, unless the snapshot has another entry of that name.
  mkdir "$copy/project/outputs" 2>/dev/null || [ -e "$copy/project/outputs" ] ||
    [ -h "$copy/project/outputs" ] || exit 2
  echo "$runtime" >"$copy/control/runtime" && echo "$6" >"$copy/control/owner" || exit 2
  # Registered models that the script reads.
  [ ! -d "$incoming/models" ] || mv "$incoming/models" "$copy/models" || exit 2
  mv "$incoming/run.json" "$copy/run.json" || exit 2
  [ ! -e "$base/runs/$run" ] && mv "$copy" "$base/runs/$run" || exit 2
  case $project in *.once) rm -rf "$project" ;; esac
}

# mirrored RUN RUNTIME PROJECT OLD NEW …: receive the archive, bring the mirror up to date, and begin to read it; sets
# `copy` to a folder that does not exist yet, and `reader`, to be removed when it was read.
mirrored() {
  run=$1 runtime=$2 project=$base/projects/$3 old=$4 new=$5
  mine=$node.$$
  incoming=$project/incoming.$mine copy=$project/run.$mine reader=$project/reader.$mine
  [ -d "$base/runtime" ] && [ -d "$base/runs" ] && [ -d "$project" ] ||
    mkdir -p "$base/runtime" "$base/runs" "$project" || exit 2
  identify $$ || exit 2
  self="$$ $identity $node"
  trap 'rm_all "$incoming" "$copy" "$project/lock.$mine" "$reader"; unlock' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  # Check the mirror only now, with the lock: it may have changed.
  [ "$old" != "$new" ] || receive
  lock "$project" || exit 2
  tidy
  now='' sealed=''
  # shellcheck disable=SC2162 # there are none
  if [ -r "$project/id" ]; then { read now; read sealed; } <"$project/id"; fi
  # Another snapshot was sent in between: the sender must call `look` again.
  [ "$now" = "$old" ] || exit 75
  [ -d "$project/tree" ] || mkdir "$project/tree" || exit 2
  if [ -n "$now" ] && [ "$sealed" != "$(seal)" ]; then
    # The mirror was edited: it is no longer a snapshot, and must be sent again.
    rm -f "$project/id"
    exit 75
  fi
  if [ "$old" != "$new" ]; then
    receive
    update
  fi
  publish "$reader" "$self" || exit 2
  unlock
}

# rm_all PATH…: remove those that exist: in most calls none, and a program takes a millisecond.
rm_all() {
  for each; do
    if [ -e "$each" ] || [ -h "$each" ]; then rm -rf "$each"; fi
  done
}

# tidy: remove files of killed processes; those of another machine with the same home folder after a day.
tidy() {
  rm_all "$project/incoming" "$project/run"
  for left in "$base/projects"/*.once; do
    [ ! -e "$left" ] || [ "$left" = "$project" ] || [ -z "$(find "$left" -prune -mtime +0 2>/dev/null)" ] || rm -rf "$left"
  done
  for left in "$project"/incoming.* "$project"/run.* "$project"/lock.* "$project"/reader.*; do
    [ -e "$left" ] || continue
    case $left in
    *".$mine") ;;
    *".$node."*) kill -0 "${left##*.}" 2>/dev/null || rm -rf "$left" ;;
    *) [ -z "$(find "$left" -prune -mtime +0 2>/dev/null)" ] || rm -rf "$left" ;;
    esac
  done
}

# receive: unpack standard input into `incoming`, and move the runtime files into place.
receive() {
  mkdir "$incoming" && tar -xf - -C "$incoming" || exit 2
  # tar may take a connection that breaks between two files for the end of the archive.
  [ -e "$incoming/whole" ] || { echo "the connection ended before all of it had come" >&2; exit 2; }
  [ -d "$incoming/runtime" ] || return 0
  whole "$base/runtime/$runtime" "$runtime" && return
  if [ ! -d "$base/runtime/$runtime" ]; then
    mv "$incoming/runtime" "$base/runtime/$runtime" 2>/dev/null || [ -d "$base/runtime/$runtime" ] || exit 2
    return
  fi
  # A file is missing or was changed. Runs may be using the folder, so it is repaired file by file.
  (
    cd "$base/runtime/$runtime" || exit 2
    parts | while read -r each; do [ -e "$incoming/runtime/$each" ] || rm -f "$each"; done
    cd "$incoming/runtime" || exit 2
    parts | while read -r each; do
      mkdir -p "$base/runtime/$runtime/${each%/*}" && mv -f "$each" "$base/runtime/$runtime/$each" || exit 2
    done
  )
  whole "$base/runtime/$runtime" "$runtime" && return
  echo "$base/runtime/$runtime is damaged and can't be mended" >&2
  exit 2
}

# update: apply the received snapshot to the mirror. Called with the lock.
update() {
  # Another process may have taken the lock, if this one made no progress for long.
  owned || exit 75
  : >"$project/lock/busy"
  stopwatch
  said=
  for each in "$project"/reader.*; do
    while at_work "$each"; do waiting "another submission copies the project"; nap; done
    rm -f "$each"
  done
  # From here on, the mirror is neither the old nor the new snapshot.
  rm -f "$project/id"
  if [ -z "$old" ]; then rm -rf "$project/tree" && mkdir "$project/tree" || exit 2; fi
  (cd "$project/tree" && . "$incoming/gone.sh") || exit 2
  if [ -z "$old" ] && [ -d "$incoming/tree" ]; then
    # All files were sent: no need to copy.
    rmdir "$project/tree" && mv "$incoming/tree" "$project/tree" || exit 2
  elif [ -d "$incoming/tree" ]; then
    (cd "$incoming/tree" && tar -cf - .) | (cd "$project/tree" && tar -xf -) || exit 2
  fi
  sealed=$(seal) && publish "$project/id" "$new
$sealed" || exit 2
  rm -f "$project/lock/busy"
}

# seal: print properties that change with every edit of the mirror: names, sizes, modes, and the change times that the
# kernel writes.
seal() {
  cd "$project/tree" || exit 2
  if command -v sha256sum >/dev/null 2>&1; then sum=sha256sum; else sum=cksum; fi
  # Not every `find` has -printf.
  { find . -printf '%p %i %s %m %T@ %C@ %l\n' 2>/dev/null || find . -exec stat -c '%n %i %s %a %Y %Z' {} +; } |
    LC_ALL=C sort | "$sum"
}

# at_work FILE: whether the process in FILE ("PID START NODE") is still alive. For another machine with the same home
# folder that is unknown: then, whether FILE is less than an hour old.
at_work() {
  [ -r "$1" ] || return 1
  read -r _ _ there 2>/dev/null <"$1"
  case $there in
  '' | "$node") alive "$1" ;;
  *) [ -z "$(find "$1" -mmin +60 2>/dev/null)" ] ;;
  esac
}
read -r node 2>/dev/null </proc/sys/kernel/hostname || node=$(uname -n)

# waiting WHY: print this every five seconds, which also detects a closed connection.
waiting() {
  passed
  [ "$passed" -lt "${said:-200}" ] && return
  echo "wait $1" || exit 1
  said=$((passed + 500))
}

# lock FOLDER: wait for the lock and take it. Its holder may be killed or lose its connection: an ended process loses
# the lock, and so does one without progress for a minute.
lock() {
  # Written first and published by one rename, so that every lock names its holder.
  rm_all "$1/lock.$mine"
  mkdir "$1/lock.$mine" && echo "$self" >"$1/lock.$mine/pid" || return 1
  tries=0 came='' since=0 said=''
  stopwatch
  until mkdir "$1/lock" 2>/dev/null && mv "$1/lock.$mine/pid" "$1/lock/pid"; do
    tries=$((tries + 1))
    [ -d "$1/lock.$mine" ] || return 1
    if [ -e "$1/lock/pid" ]; then
      if [ $((tries % 50)) -eq 0 ]; then
        heard=$(du -sk "$1"/incoming.* 2>/dev/null)
        if [ "$heard" != "$came" ] || [ -e "$1/lock/busy" ]; then came=$heard since=$tries; fi
      fi
      # Of all processes that see an ended holder, one removes the lock, and restores it if another process has taken it
      # in between.
      if { ! at_work "$1/lock/pid" || [ $((tries - since)) -gt 600 ]; } && mv "$1/lock/pid" "$1/lock.$mine/old" 2>/dev/null; then
        if [ $((tries - since)) -le 600 ] && at_work "$1/lock.$mine/old"; then
          mv "$1/lock.$mine/old" "$1/lock/pid"
        else
          rm -f "$1/lock/busy"
          # Remove only this: another process may have the lock by now.
          rmdir "$1/lock" 2>/dev/null
        fi
        since=$tries
      fi
    elif [ $((tries % 50)) -eq 0 ]; then
      # The holder was killed between two commands.
      rmdir "$1/lock" 2>/dev/null
    fi
    waiting "another submission sends the project"
    nap
  done
  rm -rf "$1/lock.$mine"
}

# owned, unlock: whether the lock is ours, and release it if it is.
owned() { read -r holder _ 2>/dev/null <"$project/lock/pid" && [ "$holder" = "$$" ]; }
unlock() { owned && rm -rf "$project/lock"; }

# begin RUN RUNTIME PYTHON ARGUMENT…: start the supervisor, detached. Standard input is shell text, which exports the
# variables for begin.sh, and sets `record` to the text of run.json.
begin() {
  folder=$base/runs/$1 runtime=$base/runtime/$2 python=$3
  shift 3
  record=
  eval "$(cat)" || exit 2
  [ -n "$record" ] || { echo "the connection ended before all of it had come" >&2; exit 2; }
  publish "$folder/run.json" "$record" || exit 2
  cd "$folder/project" || exit 2
  # The script gets the user's own umask.
  umask "$mask"
  utf8
  # A background process of a shell ignores SIGINT, and no shell can undo that: GNU's env can, or the run's Python.
  set -- /bin/sh "$runtime/supervisor.sh" "$folder" "$@"
  if env --default-signal=INT,QUIT true 2>/dev/null; then
    set -- env --default-signal=INT,QUIT "$@"
  else
    set -- "$python" -I -S -c 'import os, signal, sys
for one in (signal.SIGINT, signal.SIGQUIT): signal.signal(one, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' "$@"
  fi
  # The supervisor's standard input is the other end of what is read here. It closes it when it has begun; or it has
  # ended.
  : "$(nohup "$@" <&1 >/dev/null 2>"$folder/control/begin.err" &)"
  if [ ! -s "$folder/control/supervisor" ]; then
    why=$(tail -n 1 "$folder/control/begin.err" 2>/dev/null)
    echo "its supervisor ended at once: ${why:-it said nothing}" >&2
    exit 2
  fi
  rm -f "$folder/control/begin.err" &
}

# utf8: where no locale is set, name one for UTF-8, as Python does for itself (PEP 538). Java and other programs of a run
# could not find files whose names are not ASCII.
utf8() {
  case ${LC_ALL:-${LC_CTYPE:-${LANG:-C}}} in C | POSIX) ;; *) return ;; esac
  [ -z "${LC_ALL-}" ] || return 0
  if [ -d /usr/lib/locale/C.utf8 ] || [ -d /usr/lib/locale/C.UTF-8 ]; then
    LC_CTYPE=C.UTF-8
    export LC_CTYPE
  fi
}

# launch RUN RUNTIME PYTHON ARGUMENT…: `begin`, a line "begun", and `follow` from the beginning, with the results.
launch() {
  # In a shell of its own, whose variables and folder are the run's.
  (begin "$@") || exit
  echo begun
  follow "$1" 0 0 results
}

# size FILE: set `size` to its size in bytes, 0 if it does not exist.
size() {
  size=0
  if [ -r "$1" ]; then size=$(($(wc -c <"$1"))); fi
}

# follow RUN OUT ERR [results]: print the logs after these offsets in frames, until the run has ended:
#   "1 LENGTH" or "2 LENGTH" on a line, then that many bytes; finally "S " and the line of state.sh. With `results`,
#   then what `fetch` prints: it takes no call of its own.
follow() {
  folder=$base/runs/$1 out=$2 err=$3
  cd "$folder" 2>/dev/null || { echo "S gone"; return; }
  started_with "$folder"
  idle=0 busy=0 turn=0
  while :; do
    # An end is a file. A run that was killed writes none: for that the state is asked about once a second.
    if [ -e control/end ] || [ $((turn % 10)) -eq 0 ]; then
      state=$(sh "$runtime/state.sh" "$folder")
    fi
    turn=$((turn + 1)) before=$out/$err
    case $state in running* | starting*) unchanged || pieces ;; *)
      # The logs are read after the state, so they are complete.
      pieces
      echo "S $state"
      [ -z "${4-}" ] || fetch "$1"
      return
      ;;
    esac
    await_output "$before" 45 || return
  done
}

# unchanged: whether both logs end at the offsets `out` and `err`. It starts one process, `pieces` several.
unchanged() {
  # shellcheck disable=SC2046 # to be split into fields
  set -- $(wc -c stdout.log stderr.log 2>/dev/null)
  [ "$1/$3" = "$out/$err" ]
}

# pieces: print frames with the content of the logs after the offsets `out` and `err`, and advance these.
pieces() {
  piece 1 "$folder/stdout.log" "$out"
  out=$((out + sent))
  piece 2 "$folder/stderr.log" "$err"
  err=$((err + sent))
}

# await_output BEFORE [TURNS]: wait a moment, a shorter one for so many turns without output, unless output has just begun
# to come since the offsets BEFORE; fails if the connection is lost.
await_output() {
  if [ "$1" != "$out/$err" ]; then
    # Each turn starts processes, and the machine is for the script: who prints on and on gets fewer of them.
    idle=0 busy=$((busy + 1))
    [ "$busy" -lt 3 ] || wink
    return 0
  fi
  busy=0
  # Print something regularly, to notice a lost connection.
  idle=$((idle + 1))
  [ $((idle % 50)) -ne 0 ] || echo "- 0" || return
  # More output or the end may follow soon, and data in a pipe is lost when the connection breaks.
  if [ "$idle" -lt 20 ]; then blink; elif [ "$idle" -lt "${2-0}" ]; then wink; else nap; fi
  return 0
}

# piece NUMBER FILE FROM: print a frame with the file's content after FROM bytes; sets `sent`.
# The file is opened once: another computer may collect the run, and remove the file, after its size was read.
piece() {
  sent=0
  if [ ! -s "$2" ] || [ ! -r "$2" ]; then return 0; fi
  {
    opened=/dev/fd/3
    [ -r "$opened" ] || opened=$2
    size "$opened"
    sent=$((size - $3))
    if [ "$sent" -gt 0 ]; then
      echo "$1 $sent"
      if [ "$3" -eq 0 ]; then head -c "$sent" "$opened"; else tail -c "+$(($3 + 1))" "$opened" | head -c "$sent"; fi
    else
      sent=0
    fi
  } 3<"$2" || sent=0
}

# started_with FOLDER: set `runtime` to the runtime folder of a run's start, which newer versions must use, too.
started_with() {
  read -r runtime 2>/dev/null <"$1/control/runtime" || { echo "$1/control/runtime can't be read" >&2; exit 2; }
  runtime=$base/runtime/$runtime
  [ -r "$runtime/state.sh" ] || { echo "$runtime/state.sh is gone, with which the run is asked how it is" >&2; exit 2; }
}

# must_own RUN OWNER: exit unless the run belongs to the project OWNER, or OWNER is "" for any project. Runs of earlier
# versions have no owner.
must_own() {
  [ -n "$2" ] && read -r whose 2>/dev/null <"$base/runs/$1/control/owner" || return 0
  [ "$whose" = "$2" ] || exit 94
}

# state RUN FROM: print the line of state.sh, and of a running run the metrics after FROM bytes.
state() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  started_with "$base/runs/$1"
  state=$(sh "$runtime/state.sh" "$base/runs/$1")
  printf '%s\n' "$state"
  case $state in running*) metrics "$1" "$2" ;; esac
}

# metrics RUN FROM: print "M SENT SIZE" on a line, and SENT of the metrics' SIZE bytes, those after FROM.
metrics() {
  file=$base/runs/$1/metrics.jsonl
  [ -r "$file" ] || file=/dev/null
  {
    opened=/dev/fd/3
    [ -r "$opened" ] || opened=$file
    size "$opened"
    sent=$((size - $2))
    [ "$sent" -gt 0 ] || sent=0
    [ "$sent" -le 16777216 ] || sent=16777216
    echo "M $sent $size"
    [ "$sent" -eq 0 ] || tail -c "+$(($2 + 1))" "$opened" | head -c "$sent"
  } 3<"$file"
}

# stop RUN GRACE OWNER
stop() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  must_own "$1" "$3"
  started_with "$base/runs/$1"
  sh "$runtime/stop.sh" "$base/runs/$1" "$2"
}

# records START: for every run whose id begins with START, its id, the line of state.sh, and its record, a line each.
records() {
  for folder in "$base/runs/$1"*; do
    [ -d "$folder/control" ] || continue
    echo "${folder##*/}"
    (started_with "$folder" && sh "$runtime/state.sh" "$folder") 2>/dev/null || echo
    # Between JSON's tokens, a line end is the same as a blank.
    tr '\n' ' ' 2>/dev/null <"$folder/run.json" || :
    echo
  done
}

# fetch RUN [PATH…]: send a run's results, or these paths of its copy of the project:
#   "=PATH" for each absolute path of the copy, "TYPE PATH" for all entries (f file, d folder, l link, p FIFO,
#   s socket, o another type), "x PATH" for unreadable entries (unknown for very long paths), each ended by a NUL;
#   another NUL;
#   a tar archive; lines of sha256sum; and after a NUL "tar STATUS".
# Writes nothing, since the disk may be full. Read permissions that a script removed are restored.
fetch() {
  cd "$base/runs/$1" || exit 2
  shift
  LC_ALL=C
  export LC_ALL
  if [ $# -eq 0 ]; then
    for name in run.json metrics.jsonl tags.jsonl models.jsonl python.json executors.jsonl packages.txt outputs project/outputs control/came.tar control/application.json; do
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
    listed "$@"
  fi
  printf '\0'
  if [ $# -gt 0 ]; then
    tar -cf - "$@"
    status=$?
    find "$@" -type f -exec sha256sum {} + 2>/dev/null
  else
    # An empty archive.
    head -c 1024 /dev/zero
    status=$?
  fi
  printf '\0tar %s\n' "$status"
}

# listed PATH…: give the user the permissions to read, and print the list of `fetch`. A `find` that knows all this does
# it alone; if that fails, some entries are printed a second time.
listed() {
  find "$@" \( -type d ! -perm -700 -exec chmod u+rwx {} \; , -type f ! -perm -600 -exec chmod u+rw {} + , \
    \( \( -type f -o -type d -o -type l -o -type p -o -type s \) -printf '%y %p\0' -o -printf 'o %p\0' \) \
    \( -type f -o -type d \) ! -readable -printf 'x %p\0' \) 2>/dev/null && return
  find "$@" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
  find "$@" -type f ! -perm -600 -exec chmod u+rw {} + 2>/dev/null
  find "$@" \( -type f -exec printf 'f %s\0' {} + \) -o \( -type d -exec printf 'd %s\0' {} + \) \
    -o \( -type l -exec printf 'l %s\0' {} + \) -o \( -type p -exec printf 'p %s\0' {} + \) \
    -o \( -type s -exec printf 's %s\0' {} + \) -o -exec printf 'o %s\0' {} + 2>/dev/null
  find "$@" \( -type f -o -type d \) -exec sh -c \
    'for one; do [ ${#one} -gt 4000 ] || [ -r "$one" ] || printf "x %s\0" "$one"; done' sh {} + 2>/dev/null
}

# reach PATH: set `reached` to the first part of PATH that is a link, which is not followed, or else to PATH.
reach() {
  reached= rest=$1
  while :; do
    reached=$reached${rest%%/*}
    case $rest in */*) ;; *) return ;; esac
    [ ! -h "$reached" ] || return
    reached=$reached/ rest=${rest#*/}
  done
}

# forget PROJECT: remove the mirror.
forget() { rm -f "$base/projects/$1/id"; }

# discard PROJECT: remove a mirror, unless a submission uses it: it is sent again when it is needed. Prints gone or used.
discard() {
  project=$base/projects/$1 mine=$node.$$
  [ -d "$project" ] || { echo gone; return; }
  identify $$ || exit 2
  self="$$ $identity $node"
  [ ! -e "$project/lock" ] || { echo used; return; }
  trap 'rm -rf "$project/lock.$mine"; unlock; rmdir "$project" 2>/dev/null' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  lock "$project" || exit 2
  for each in "$project"/reader.*; do
    if at_work "$each"; then echo used; return; fi
  done
  # First the name of the snapshot: without it, the rest is no mirror.
  rm -f "$project/id" && rm -rf "$project/tree" "$project"/reader.* || exit 2
  echo gone
}

# remove_all OWNER RUN…: remove the folders of these runs; prints a line "RUN ANSWER" for each: gone or others.
remove_all() {
  whose=$1
  shift
  for run; do
    if (remove "$run" "$whose") >/dev/null; then echo "$run gone"; else echo "$run others"; fi
  done
}

# remove RUN OWNER: remove a run's folder; prints a line if it existed.
remove() {
  [ -d "$base/runs/$1" ] || return 0
  must_own "$1" "$2"
  echo removed
  rm -rf "$base/runs/$1" 2>/dev/null && return
  # A script may have removed its owner's permissions.
  find "$base/runs/$1" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
  rm -rf "$base/runs/$1"
}
