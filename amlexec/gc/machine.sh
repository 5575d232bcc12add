# What takes disk space in ~/.amlexec on a machine, and its removal. Sent after identity.sh, list.sh and prefix.sh; a
# last line that calls one of the functions follows.

# survey OWNER: print a line "KIND BYTES SECONDS NAME" for everything; SECONDS is the time of the last change. Lines
# "link ENVIRONMENT PACKAGE" tell which cached packages an environment is linked to, and lines "part ARRAY RUN" which runs
# of a job array are left. OWNER is that of the listed runs.
# A line end in NAME, as in the name of a project's folder, is printed as "/".
survey() {
  # The packages first: the inodes of their files tell which package a file of an environment is.
  { files "$base/packages" && files "$envs"; } | awk -v base="$base/" '
    {
      at = index($0, base)
      if (!at || split(substr($0, at + length(base)), part, "/") < 3) next
      if (part[1] == "packages") {
        package[part[2]] += $6
        if ($3 > 1) origin[$1] = part[2]
      } else if ($3 > 1 && ($1 in origin)) {
        link[part[2] " " origin[$1]] = 1
        own[part[2]] += 0
      } else own[part[2]] += $6
    }
    END {
      for (name in package) printf "package %.0f 0 %s\n", package[name], name
      for (name in own) printf "environment %.0f 0 %s\n", own[name], name
      for (names in link) print "link", names
    }'
  for each in "$envs"/*; do
    name=${each##*/}
    [ -d "$each" ] || continue
    if building "$name"; then echo "locked $name"; elif ! whole "$name"; then entry unfinished "$each"; fi
  done
  for each in "$base/archives"/*; do
    case $each in
    *.cluster) in_cluster "$each" ;;
    *.with) ;;
    *) entry archive "$each" ;;
    esac
  done
  for each in "$base/installers"/*; do entry installer "$each"; done
  for each in "$base/projects"/*; do entry mirror "$each"; done
  for each in "$base/runs"/*; do
    read -r whose 2>/dev/null <"$each/control/owner" && [ "$whose" = "$1" ] && entry copy "$each"
  done
  for each in "$base/arrays"/*; do array "$each" "$1"; done
  for each in "$base/arrays"/.gone.*; do withdrawing "$each" || entry withdrawn "$each"; done
  for each in "$incoming"/*; do arriving "${each##*/}" || entry incoming "$each"; done
  for each in "$base/installers"/.*.new; do unpacking "$each" || entry unpacking "$each"; done
  # A killed installation by pip may leave its passwords there; not those of another user.
  for each in /dev/shm/"amlexec-$(id -u)"-*; do kill -0 "${each##*.}" 2>/dev/null || entry secrets "$each"; done
  for each in "$base/runtime"/*; do named "${each##*/}" || entry runtime "$each"; done
  return 0
}

# files FOLDER: list its files with inode, number of links and size.
files() {
  [ ! -d "$1" ] || find "$1" -type f -exec ls -lni {} + 2>/dev/null
  return 0
}

# entry KIND PATH: print the line of a file or folder.
entry() {
  [ -e "$2" ] || return 0
  # du repeats the path, which may have more than one line.
  size=$(du -sk "$2" 2>/dev/null | sed 's/[^0-9].*//;q')
  printf '%s %s %s ' "$1" "$((${size:-0} * 1024))" "$(stat -c %Y "$2" 2>/dev/null || echo 0)"
  name=${2##*/}
  # `discard` takes no name that begins with a dot.
  printf '%s' "${name#.}" | tr '\n' /
  echo
}

# in_cluster MARKER: print the line of an archive in a Spark cluster's file system. For Spark's jars, of the kind "jars",
# lines "uses ENVIRONMENT NAME" tell which environments were used with them.
in_cluster() {
  name=${1##*/} kind=archive
  case $name in spark-*) name=${name%.cluster} kind=jars ;; esac
  size=$(sed -n 4p "$1" 2>/dev/null)
  case $size in '' | *[!0-9]*) size=0 ;; esac
  echo "$kind $size $(stat -c %Y "$1" 2>/dev/null || echo 0) $name"
  [ "$kind" = archive ] || sed -n "s/^[0-9a-z-]*\$/uses & $name/p" "$base/archives/$name.with" 2>/dev/null || :
}

# array FOLDER OWNER: print the lines of what the runs of a job array share. It goes with the last of them. Nothing is
# printed for one that is being made, and for other projects'.
array() {
  [ -r "$1/runs" ] && ! making "$1" || return 0
  parts=''
  while read -r run; do
    for folder in "$base/runs/$run" "$1/made/$run"; do
      [ -d "$folder" ] || continue
      read -r whose 2>/dev/null <"$folder/control/owner" && [ "$whose" = "$2" ] || return 0
      # Before all of them have come, nobody can ask for one.
      [ "$folder" = "$1/made/$run" ] || parts="${parts}part ${1##*/} $run
"
    done
  done <"$1/runs"
  entry array "$1"
  printf '%s' "$parts"
}

# making, withdrawing, arriving, unpacking: whether a process is at work on it. For one of another machine with the same
# home folder that is unknown: then, whether it began less than a day ago.
making() { [ -e "$1/maker" ] && ! over "$1/maker" && young "$1/maker"; }
withdrawing() {
  case $1 in
  *".$(uname -n)."*) kill -0 "${1##*.}" 2>/dev/null ;;
  *) young "$1" ;;
  esac
}
arriving() {
  case $1 in
  gc.*) kill -0 "${1##*.}" 2>/dev/null ;;
  *) building "${1%%.*}" ;;
  esac
}
unpacking() {
  pid=${1%.new}
  kill -0 "${pid##*.}" 2>/dev/null
}
young() { [ -z "$(find "$1" -prune -mtime +0 2>/dev/null)" ]; }

# building NAME: whether a process builds the environment.
building() { [ -d "$envs/$1/turn" ] && ! over "$envs/$1/turn/here"; }

# named RUNTIME: whether a run was started with these runtime files.
named() {
  for run in "$base/runs"/*; do
    read -r digest 2>/dev/null <"$run/control/runtime" && [ "$digest" = "$1" ] && return
  done
  return 1
}

# away PATH: remove a file or folder, in one step for others.
away() {
  mkdir -p "$incoming/gc.$$" && mv "$1" "$incoming/gc.$$/" || return 1
  rm -rf "$incoming/gc.$$"
}

# discard KIND NAME…: remove these; print a line "NAME ANSWER" for each: gone, used, or locked.
discard() {
  kind=$1
  shift
  for name; do
    case $name in '' | */* | .*) continue ;; esac
    echo "$name $("discard_$kind" "$name")"
  done
}

discard_package() {
  # A build may be about to link what no environment is linked to yet.
  for turn in "$envs"/*/turn; do
    if [ -d "$turn" ] && ! over "$turn/here"; then echo locked; return; fi
  done
  linked=$(find "$base/packages/$1" -type f -links +1 2>/dev/null | head -n 1)
  if [ -n "$linked" ]; then echo used; return; fi
  away "$base/packages/$1" && rm -f "$base/packages/$1.lock" && echo gone
}

discard_installer() {
  if used "$base/installers/$1"; then echo used; else away "$base/installers/$1" && echo gone; fi
}

discard_runtime() {
  if named "$1"; then echo used; else away "$base/runtime/$1" && echo gone; fi
}

discard_unfinished() {
  if building "$1"; then echo locked; return; fi
  for left in "$envs/$1"/*; do
    [ -e "$left/amlexec.json" ] || used "$left" || rm -rf "$left"
  done
  rmdir "$envs/$1" 2>/dev/null
  if [ -e "$envs/$1" ]; then echo used; else echo gone; fi
}

discard_array() {
  if making "$base/arrays/$1"; then echo used; return; fi
  # What is withdrawn now still has to be taken out of the queue, by the job that its array names.
  for each in "$base/arrays"/.gone.*; do
    if [ -e "$each" ] && withdrawing "$each"; then echo used; return; fi
  done
  while read -r run; do
    if [ -d "$base/runs/$run" ]; then echo used; return; fi
  done <"$base/arrays/$1/runs"
  away "$base/arrays/$1" && echo gone
}

discard_withdrawn() {
  if withdrawing "$base/arrays/.$1"; then echo used; else away "$base/arrays/.$1" && echo gone; fi
}

discard_incoming() {
  if arriving "$1"; then echo used; else rm -rf "$incoming/$1" && echo gone; fi
}

discard_unpacking() {
  if unpacking "$base/installers/.$1"; then echo used; else rm -rf "$base/installers/.$1" && echo gone; fi
}

discard_secrets() {
  case $1 in "amlexec-$(id -u)-"*) rm -rf "/dev/shm/$1" && echo gone ;; esac
}

discard_jars() {
  for run in "$base/runs"/*; do
    [ -e "$run/control/end" ] || ! grep -qx "$1" "$run/control/archives" 2>/dev/null || { echo used; return; }
  done
  unstore "$1"
  [ -e "$base/archives/$1.cluster" ] || { rm -f "$base/archives/$1.with"; echo gone; }
}

# discard_environment NAME DIGEST OWNER: remove an environment; print why not, or the freed kB. Runs of other projects
# than OWNER may need it, too.
discard_environment() {
  if building "$1"; then echo locked; return; fi
  for run in "$base/runs"/*; do
    whose=
    read -r whose 2>/dev/null <"$run/control/owner"
    [ "$whose" != "$3" ] && grep -q "$2" "$run/run.json" 2>/dev/null && { echo needed; return; }
  done
  remove "$1" ''
}
