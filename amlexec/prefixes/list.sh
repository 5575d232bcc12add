# List the environments on a machine. A last line that calls one of the functions follows; the script is sent each
# time and not installed.
envs=$HOME/.amlexec/envs

# whole NAME: set `prefix` to the environment's folder. It must have its marker, which is written last.
whole() {
  for prefix in "$envs/$1"/*; do
    [ -r "$prefix/amlexec.json" ] && [ -x "$prefix/bin/python" ] && return
  done
  return 1
}

# get NAME: print its folder, and on the next line its marker; nothing if it does not exist.
get() {
  whole "$1" || return 0
  echo "$prefix"
  cat "$prefix/amlexec.json"
}

# lock NAME LARGEST: print its resolved lock, if it has at most LARGEST bytes.
lock() {
  whole "$1" && [ -f "$prefix/amlexec.lock" ] || return 0
  [ "$(wc -c <"$prefix/amlexec.lock")" -gt "$2" ] || cat "$prefix/amlexec.lock"
}

# all: the same for every environment.
all() {
  for folder in "$envs"/*; do get "${folder##*/}"; done
}
