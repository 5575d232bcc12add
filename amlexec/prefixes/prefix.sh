# Build and remove environments on a machine. Sent after identity.sh and list.sh; a last line that calls one of the
# functions follows. envs/NAME contains the environment, in a folder with a unique name, so that an unfinished build is
# harmless; and, during a build, the lock `turn`.

umask 077
base=$HOME/.amlexec
incoming=$base/incoming
# Ignore the user's options for tar.
tar() { TAR_OPTIONS='' command tar "$@"; }

# hold NAME WHO: lock an environment until standard input ends. Prints "wait WHO" with the holder, "." while waiting,
# then "yours". The input is a line every few seconds: a holder that sent none for a minute has lost its connection.
# If it still runs, it only writes to its own folder.
hold() {
  turn=$envs/$1/turn
  heard='' silent=0 told='' tries=0
  until mkdir "$turn" 2>/dev/null; do
    if [ ! -d "$turn" ]; then
      # The last holder has just removed the folder; or it can't be created.
      mkdir -p "$envs/$1" || exit 2
      tries=$((tries + 1))
      [ "$tries" -lt 20 ] || { mkdir "$turn"; exit 2; }
      [ "$tries" -gt 1 ] || continue
      nap
      continue
    fi
    now=$(cat "$turn/beat" 2>/dev/null)
    if [ "$now" = "$heard" ]; then silent=$((silent + 1)); else silent=0; fi
    heard=$now
    if [ "$silent" -ge 60 ] || over "$turn/here"; then
      rm -rf "$turn"
      continue
    fi
    who=$(cat "$turn/who" 2>/dev/null)
    if [ "$who" = "$told" ]; then echo .; else echo "wait $who"; fi
    told=$who
    sleep 1
  done
  trap 'rm -rf "$turn"; rmdir "$envs/$name" 2>/dev/null' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  name=$1
  # Only now: to look whether a former holder has ended sets `identity`, too.
  identify $$
  publish "$turn/here" "$$ $identity $(uname -n)" && publish "$turn/who" "$2" || exit 2
  echo yours
  beat=0
  while read -r _; do
    beat=$((beat + 1))
    echo "$beat" >"$turn/beat"
  done
  exit 0
}

# over FILE: whether FILE ("PID START MACHINE") names a process of this machine that has ended.
over() {
  read -r _ _ machine 2>/dev/null <"$1" || return 1
  [ "$machine" = "$(uname -n)" ] && ! alive "$1"
}

# begin NAME FOLDER INSTALLER: print facts about the machine, a line "KEY VALUE" each, and create the empty folder.
begin() {
  echo "system $(uname -s)"
  echo "machine $(uname -m)"
  echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null)"
  echo "home $HOME"
  mkdir -p "$envs/$1" "$base/installers" "$incoming" || exit 2
  # Remove what builds of this environment left that were killed or lost the connection.
  for left in "$envs/$1"/*; do
    case $left in */turn | */'*') continue ;; esac
    [ -e "$left/amlexec.json" ] && [ -x "$left/bin/python" ] || used "$left" || rm -rf "$left"
  done
  rm -rf "$incoming/$1."*
  # The same for other environments, which may never be built again, unless a build holds the lock.
  for other in "$envs"/* "$incoming"/*; do
    name=${other##*/}
    [ "${other%/*}" = "$envs" ] || name=${name%%.*}
    [ -e "$other" ] && [ "$name" != "$1" ] || continue
    [ ! -d "$envs/$name/turn" ] || over "$envs/$name/turn/here" || continue
    if [ "${other%/*}" = "$incoming" ]; then
      rm -rf "$other"
      continue
    fi
    for left in "$other"/*; do
      case $left in */turn | */'*') continue ;; esac
      [ -e "$left/amlexec.json" ] || rm -rf "$left"
    done
    rmdir "$other" 2>/dev/null
  done
  for left in "$base/installers"/.*.new /dev/shm/"amlexec-$(id -u)"-*; do
    pid=${left%.new}
    [ ! -d "$left" ] || kill -0 "${pid##*.}" 2>/dev/null || rm -rf "$left"
  done
  mkdir "$envs/$1/$2" "$incoming/$1.$2" || exit 2
  probe=$incoming/$1.$2/probe
  printf '#!/bin/sh\nexit 0\n' >"$probe" && chmod 700 "$probe" || exit 2
  "$probe" </dev/null >/dev/null 2>&1 && echo "programs yes"
  rm -f "$probe"
  for program in gzip tar; do command -v "$program" >/dev/null 2>&1 && echo "$program yes"; done
  [ -x "$base/installers/$3/bin/python" ] && echo "installer yes"
  return 0
}

# take NAME: unpack the bootstrap Python of that name from an archive on standard input.
take() {
  into=$base/installers/.$1.$$.new
  trap 'rm -rf "$into"' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  rm -rf "$into"
  mkdir "$into" || exit 2
  gzip -dc | (cd "$into" && tar -xf -) || exit 2
  # Not every tar reports an archive that was cut off between two files.
  "$into/$1/bin/python" -I -B -c 'import rattler' </dev/null || exit 2
  [ -d "$base/installers/$1" ] || mv "$into/$1" "$base/installers/$1" || exit 2
}

# put FOLDER: unpack a compressed archive from standard input; its last file is `~whole`.
put() {
  mkdir -p "$1" || exit 2
  gzip -dc | (cd "$1" && tar -xf -) || exit 2
  [ -e "$1/~whole" ] || { echo "the connection ended before everything was sent" >&2; exit 2; }
  rm -f "$1/~whole"
}

# run INSTALLER ARGUMENT…: run the bootstrap Python.
run() {
  python=$base/installers/$1/bin/python
  shift
  exec "$python" "$@"
}

# private NAME: set `private` to a new folder for secrets: in memory if possible.
private() {
  for private in /dev/shm "${XDG_RUNTIME_DIR-}" "$incoming"; do
    [ -n "$private" ] && [ -d "$private" ] && [ -w "$private" ] || continue
    private=$private/amlexec-$(id -u)-$1.$$
    mkdir "$private" 2>/dev/null && return
  done
  return 1
}

# pip NAME FOLDER ARGUMENT…: run the environment's pip. Standard input is an archive with requirements.txt,
# constraints.txt and, optionally, variables.sh, ca.pem and .netrc.
pip() {
  prefix=$envs/$1/$2 TMPDIR=$incoming/$1.$2/tmp
  private "$2" && mkdir -p "$TMPDIR" || exit 2
  trap 'rm -rf "$private"' EXIT
  trap 'exit 1' HUP INT TERM PIPE
  shift 2
  (cd "$private" && tar -xf -) && [ -e "$private/requirements.txt" ] || exit 2
  # The machine's own pip settings must not change what is installed.
  for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
  export TMPDIR PIP_CONFIG_FILE=/dev/null PIP_NO_INPUT=1
  if [ -e "$private/variables.sh" ]; then . "$private/variables.sh"; fi
  if [ -e "$private/ca.pem" ]; then
    export PIP_CERT="$private/ca.pem" SSL_CERT_FILE="$private/ca.pem" REQUESTS_CA_BUNDLE="$private/ca.pem"
  fi
  if [ -e "$private/.netrc" ]; then export HOME="$private"; fi
  cd / && "$prefix/bin/python" -m pip install "$@" -r "$private/requirements.txt" -c "$private/constraints.txt" </dev/null 2>&1
}

# list NAME FOLDER PROGRAM PATH…: compile the installed modules; PROGRAM removes the paths and lists the packages.
list() {
  prefix=$envs/$1/$2 program=$3
  shift 3
  "$prefix/bin/python" -I -m compileall -qq "$prefix"/lib/python3*/site-packages </dev/null >/dev/null 2>&1
  "$prefix/bin/python" -I -B -c "$program" "$@" </dev/null
}

# finish NAME FOLDER LENGTH: write the marker, LENGTH bytes from standard input, which makes the environment valid.
finish() {
  at=$envs/$1/$2/amlexec.json
  cat >"$at.new" && [ "$(($(wc -c <"$at.new")))" -eq "$3" ] || exit 2
  sync -f "$at.new" 2>/dev/null
  mv -f "$at.new" "$at" || exit 2
  # After a rebuild, remove the old folder. If runs still use it, the next rebuild removes it.
  for other in "$envs/$1"/*; do
    case $other in "$envs/$1/$2" | */turn | */'*') continue ;; esac
    rm -f "$other/amlexec.json"
    unstore "$1"
    used "$other" || rm -rf "$other"
  done
  rm -rf "$incoming/$1.$2"
}

# unstore NAME: remove the environment's archives for a Spark cluster, here and in the cluster's file system: a marker
# has their address there, and the words of the program that can remove them.
unstore() {
  rm -f "$base/archives/$1"*.tar.gz
  for stored in "$base/archives/$1"*.cluster; do
    [ -r "$stored" ] || continue
    address=$(sed -n 1p "$stored") program=$(sed -n 2p "$stored")
    case $address in
    *"/.amlexec/archives/$1"*)
      "$program" "$(sed -n 3p "$stored")" -rm -f -skipTrash "$address" </dev/null >/dev/null 2>&1 && rm -f "$stored"
      ;;
    esac
  done
}

# drop NAME FOLDER: remove an unfinished build.
drop() {
  rm -rf "$incoming/$1.$2" "$envs/$1/$2"
  rmdir "$envs/$1" 2>/dev/null
  return 0
}

# used PREFIX: whether a process runs a program from this folder.
used() {
  for program in /proc/[0-9]*/exe; do
    case $(readlink "$program" 2>/dev/null) in "$1"/*) return ;; esac
  done
  return 1
}

# own FOLDER LINKS: size in kB of the files with that many hard links: most files are links to the cache in `packages`.
own() {
  find "$1" -type f -links "$2" -exec ls -ln {} + 2>/dev/null | awk '{ size += $5 } END { print int(size / 1024) }'
}

# remove NAME KEEP: remove an environment; print the freed kB, or "used". With KEEP, only print. With the last
# environment, remove the cached packages too.
remove() {
  whole "$1" || return 0
  if used "$prefix"; then echo used; return; fi
  last=yes
  for other in "$envs"/*; do [ "$other" = "$envs/$1" ] || last=; done
  size=$(own "$envs/$1" 1)
  [ -z "$last" ] || size=$((size + $(own "$base/packages" +0)))
  if [ -z "$2" ]; then
    # The marker first, so that an interrupted removal leaves no valid environment.
    rm -f "$prefix/amlexec.json" && rm -rf "$envs/$1" || exit 2
    unstore "$1"
    [ -z "$last" ] || rm -rf "$base/packages" || exit 2
  fi
  echo "$size"
}
