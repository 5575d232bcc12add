# The verbs for runs that are the elements of one job array. Sent after slurm_many.sh.
#
# arrays/NAME has what they share: `tree`, the copy of the project, from which each element copies its own when it begins;
# `runs`, the ids of the runs by their element, a line each; `log`, Slurm's messages; `maker`, the process that makes it; and
# the files of the job.

# limit: print the most elements of an array; nothing if Slurm does not say.
limit() { ask scontrol show config 2>/dev/null | sed -n 's/^MaxArraySize *= *\([0-9]*\).*/\1/p'; }

# stage_array NAME RUNTIME PROJECT OLD NEW OWNER: as `stage`; in the place of run.json, the archive has runs.tgz: `runs`, and
# the folder of each run in made/.
stage_array() {
  mirrored "$@"
  mkdir "$copy" && mkdir "$copy/log" && cp -R "$project/tree" "$copy/tree" || exit 2
  [ "$sealed" = "$(seal)" ] || exit 75
  rm -f "$reader"
  gzip -dc "$incoming/runs.tgz" | tar -xf - -C "$copy" && [ -r "$copy/runs" ] || exit 2
  mkdir -p "$base/arrays" || exit 2
  for each in "$copy/made"/*; do
    [ ! -e "$base/runs/${each##*/}" ] || { echo "there is a run ${each##*/} already" >&2; exit 2; }
  done
  publish "$copy/maker" "$self" || exit 2
  # Its runs can't be asked for before they have all come.
  [ ! -e "$base/arrays/$run" ] && mv "$copy" "$base/arrays/$run" || exit 2
  mv "$base/arrays/$run/made"/* "$base/runs/" && rmdir "$base/arrays/$run/made" || exit 2
  rm -f "$base/arrays/$run/maker"
  case $project in *.once) rm -rf "$project" ;; esac
}

# begin_array NAME OPTION…: as `begin`, without `record`.
begin_array() {
  array=$1 folder=$base/arrays/$1
  shift
  script='' requeue=0
  eval "$(cat)" || exit 2
  [ -n "$script" ] || { echo "the connection ended before all of it had come" >&2; exit 2; }
  [ -d "$folder/tree" ] && [ ! -e "$folder/withdrawn" ] || { echo "the array $array was withdrawn" >&2; exit 2; }
  submit "$folder" "$array" "$@"
  if [ -e "$folder/withdrawn" ]; then
    # shellcheck disable=SC2046 # nothing, or one option
    ask scancel $(cluster_of "$job") "${job%%;*}" 2>/dev/null
    echo "the array $array was withdrawn" >&2
    exit 2
  fi
  echo "${job%%;*}"
}

# withdraw OWNER: standard input has lines "RUN". Remove those whose script has not begun; it can't begin afterwards.
# Print "RUN ANSWER": gone, begun, or others.
#
# An element and this verb both make the folder control/taken, before anything else: who makes it has the run.
withdraw() {
  whose=$1 queued='' away=''
  trap '[ -z "$away" ] || rm -rf "$away"' EXIT
  mkdir -p "$base/arrays" && away=$base/arrays/.gone.$node.$$ && mkdir "$away" || exit 2
  while read -r run _; do
    folder=$base/runs/$run
    [ -d "$folder/control" ] || { echo "$run gone"; continue; }
    (must_own "$run" "$whose") || { echo "$run others"; continue; }
    placed "$folder"
    if [ -n "$element" ]; then
      # An answer that is still on its way must not submit it.
      [ -e "$place/job" ] || : >"$place/withdrawn"
      mkdir "$folder/control/taken" 2>/dev/null || { echo "$run begun"; continue; }
    elif [ -e "$place/submitted" ] || [ -e "$place/job" ]; then
      echo "$run begun"
      continue
    fi
    queued="$queued$place $name $element
"
    mv "$folder" "$away/" || exit 2
    echo "$run gone"
  done
  printf '%s' "$queued" | sort -u | awk '
    NF == 3 { if (!($1 in list)) list[$1] = $3; else list[$1] = list[$1] "," $3; name[$1] = $2 }
    END { for (place in list) print place, name[place], list[place] }' |
    while read -r place name elements; do
      job=''
      read -r job 2>/dev/null <"$place/job" || { [ ! -e "$place/submitted" ] || job=$(named "$name"); }
      # shellcheck disable=SC2046 # nothing, or one option
      [ -z "$job" ] || ask scancel $(cluster_of "$job") -t PENDING "${job%%;*}_[$elements]" 2>/dev/null
      unused "$place"
    done
}

# unused PLACE: remove what the runs of an array share, if none of them is left.
unused() {
  while read -r each; do
    [ ! -d "$base/runs/$each" ] || return 0
  done <"$1/runs"
  rm -rf "$1"
}

# cluster_of JOB: print the option that names its cluster; nothing for the login node's own.
cluster_of() { case $1 in *';'*) echo "-M${1#*;}" ;; esac; }

# throttle NAME NUMBER: set how many elements of an array may run at once.
throttle() {
  read -r job 2>/dev/null <"$base/arrays/$1/job" || return 0
  # shellcheck disable=SC2046 # nothing, or one option
  ask scontrol $(cluster_of "$job") update "jobid=${job%%;*}" "arraytaskthrottle=$2" 2>/dev/null
  return 0
}

# remove RUN OWNER: as in host.sh; with the last run of an array, what they share.
remove() {
  [ -d "$base/runs/$1" ] || return 0
  must_own "$1" "$2"
  placed "$base/runs/$1"
  echo removed
  if ! rm -rf "$base/runs/$1" 2>/dev/null; then
    # A script may have removed its owner's permissions.
    find "$base/runs/$1" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
    rm -rf "$base/runs/$1"
  fi
  [ -z "$element" ] || [ ! -r "$place/runs" ] || unused "$place"
}
