# The operations of a registry of models in a folder of a machine. Sent before a last line that calls one of them.
# ROOT is its folder; NAME is relative to it.

# The user's settings for tar.
unset TAR_OPTIONS

# enter ROOT: go to the folder of the registry; `~/` is the home. Exits with 44 if it does not exist.
enter() {
  case $1 in
  '~') root=$HOME ;;
  '~/'*) root=$HOME/${1#'~/'} ;;
  *) root=$1 ;;
  esac
  cd "$root" 2>/dev/null && return
  [ -e "$root" ] || exit 44
  echo "$root can't be entered" >&2
  exit 2
}

# made ROOT: the same; makes it if it is missing.
made() {
  case $1 in
  '~/'*) mkdir -p "$HOME/${1#'~/'}" ;;
  *) mkdir -p "$1" ;;
  esac || exit 2
  enter "$1"
}

# entries ROOT NAME: the names in a folder.
entries() {
  enter "$1"
  [ -d "$2" ] || exit 44
  ls -1 "$2"
}

# tree ROOT NAME: a folder as a tar archive. Other processes may remove files meanwhile.
tree() {
  enter "$1"
  [ -d "$2" ] || exit 44
  command -v tar >/dev/null || exit 2
  tar -cf - -C "$2" . 2>/dev/null || exit 0
}

# copy ROOT NAME: a file on standard output.
copy() {
  enter "$1"
  [ -e "$2" ] || exit 44
  cat "$2" || exit 2
}

# take ROOT NAME BYTES: make a file from standard input unless it exists; then the exit code is 45.
take() {
  made "$1"
  beside "$2" "$3"
  # A rename would replace another writer's file; a hard link fails instead.
  if ln "$new" "$2" 2>/dev/null; then
    rm -f "$new"
    return
  fi
  if [ ! -e "$2" ] && [ ! -h "$2" ]; then
    # The file system has no hard links. Only one process can make the file, but readers may see a part of it.
    (set -C && cat "$new" >"$2") 2>/dev/null && rm -f "$new" && return
  fi
  # After a lost answer, what exists may be what this writer has written itself.
  if [ "$(cat "$new")" = "$(cat "$2")" ]; then code=0; else code=45; fi
  rm -f "$new"
  [ -e "$2" ] || code=2
  exit "$code"
}

# put ROOT NAME BYTES: write a file from standard input, atomically.
put() {
  made "$1"
  beside "$2" "$3"
  mv -f "$new" "$2" || exit 2
}

# beside NAME BYTES: standard input as a complete new file beside another one, in $new.
beside() {
  mkdir -p "${1%/*}" || exit 2
  new=${1%/*}/.new.$(uname -n).$$
  cat >"$new" || exit 2
  [ "$(wc -c <"$new")" -eq "$2" ] || {
    rm -f "$new"
    echo "the connection was lost" >&2
    exit 2
  }
  sync "$new" 2>/dev/null || :
}

# drop ROOT NAME: remove a file.
drop() {
  enter "$1"
  rm -f "$2"
}

# holds ROOT NAME: the exit code is 44 if a folder does not exist.
holds() {
  enter "$1"
  [ -d "$2" ] || exit 44
}

# receive ROOT DIGEST: the files of a model from a tar archive on standard input, which has also `sums`, as
# sha256sum has them. The exit code is 46 if they are not those.
receive() {
  made "$1"
  mkdir -p contents || exit 2
  # Of killed processes.
  find contents -name '.new.*' -prune -mmin +1440 -exec rm -rf {} + 2>/dev/null
  new=contents/.new.$(uname -n).$$
  rm -rf "$new"
  mkdir "$new" || exit 2
  trap 'rm -rf "$new"' 0
  tar -xf - -C "$new" || exit 2
  (cd "$new/files" && sha256sum -c ../sums) >/dev/null 2>&1 || exit 46
  find "$new/files" -type f -exec chmod a-w {} +
  if [ -d "contents/$2" ]; then
    (cd "contents/$2" && sha256sum -c "../../$new/sums") >/dev/null 2>&1 && exit 0
    mv "contents/$2" "$new/old" || exit 2
  fi
  mv "$new/files" "contents/$2" || exit 2
  # Another process may have made the folder at this moment: then this one is in it.
  rm -rf "contents/$2/files"
}

# send ROOT DIGEST: the files of a model as a tar archive.
send() {
  enter "$1"
  [ -d "contents/$2" ] || exit 44
  tar -cf - -C "contents/$2" .
}

# aside ROOT DIGEST MARK: put the files of a model aside.
aside() {
  enter "$1"
  [ -d "contents/$2" ] || exit 44
  mv "contents/$2" "contents/.new.$3"
}

# back ROOT DIGEST MARK: put them back, unless there are others now.
back() {
  enter "$1"
  [ -d "contents/$2" ] || mv "contents/.new.$3" "contents/$2"
  rm -rf "contents/.new.$3"
}

# gone ROOT MARK: remove files that were put aside.
gone() {
  enter "$1"
  chmod -R u+w "contents/.new.$2" 2>/dev/null
  rm -rf "contents/.new.$2"
}
