# What environments a machine keeps. Sent before a last line that calls one of the verbs; nothing of it is
# installed there.
envs=$HOME/.amlexec/envs

# whole NAME: set `prefix` to where the environment is. Only one that has its marker counts: that is written last.
whole() {
  for prefix in "$envs/$1"/*; do
    [ -r "$prefix/amlexec.json" ] && [ -x "$prefix/bin/python" ] && return
  done
  return 1
}

# get NAME: its folder, and on the next line its marker; nothing where it is not there.
get() {
  whole "$1" || return 0
  echo "$prefix"
  cat "$prefix/amlexec.json"
}

# all: the same of every one.
all() {
  for folder in "$envs"/*; do get "${folder##*/}"; done
}
