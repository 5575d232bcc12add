# The verbs of runs that are jobs of Slurm, on the login node. Sent after identity.sh and host.sh: they replace those of
# the same names.
#
# HOME is the shared folder, which the compute nodes have too; `login_home` is the user's home if it is another one.
login_home=${login_home:-$HOME}

# ask COMMAND…: run a command of Slurm, which may hang, for at most 30 seconds.
if timeout 5 true </dev/null >/dev/null 2>&1; then
  ask() { timeout 30 "$@" </dev/null; }
else
  ask() { "$@" </dev/null; }
fi

# outside: leave the job that this shell may be in, and the user's settings: variables would replace our options.
outside() {
  # Most times there are none, and no program has to be started.
  case $(export -p) in
  *SLURM_* | *SBATCH_* | *SQUEUE_* | *SCANCEL_* | *SACCT_*)
    for each in $(env | sed -n 's/^\(S[A-Z]*_[A-Za-z0-9_]*\)=.*/\1/p'); do
      case $each in
      SLURM_CONF) ;;
      SLURM_* | SBATCH_* | SQUEUE_* | SCANCEL_* | SACCT_*) unset "$each" ;;
      esac
    done
    ;;
  esac
  # Seconds since 1970.
  SLURM_TIME_FORMAT=%s
  export SLURM_TIME_FORMAT
}
outside

# begin RUN OPTION…: submit the run's job, with these options of sbatch. Standard input is shell text, which exports the
# variables for begin.sh, and sets `record` to the text of run.json and `script` to that of the job.
begin() {
  run=$1 folder=$base/runs/$1
  shift
  record='' script='' requeue=0
  eval "$(cat)" || exit 2
  [ -n "$record" ] || { echo "the connection ended before all of it had come" >&2; exit 2; }
  publish "$folder/run.json" "$record" || exit 2
  submit "$folder/control" "$run" "$@"
}

# submit PLACE NAME OPTION…: submit a job of that name with the script `script`, whose files are in PLACE.
submit() {
  place=$1 name=$2
  shift 2
  command -v sbatch >/dev/null 2>&1 || { echo "there is no sbatch on the login node's PATH" >&2; exit 2; }
  publish "$place/job.sh" "$script" || exit 2
  clock
  # Should the answer be lost, the job is found by its name.
  publish "$place/submitted" "${now%.*} $requeue" || exit 2
  HOME=$login_home
  # Only for our own commands.
  unset SLURM_TIME_FORMAT
  answer=$(umask "$mask" && ask sbatch --parsable "--job-name=$name" "$@" "$place/job.sh" 2>"$place/begin.err")
  # A login may print more lines.
  job=$(printf '%s\n' "$answer" | grep -E '^[0-9]+(;[^ ]+)?$' | tail -n 1)
  outside
  [ -n "$job" ] || job=$(named "$name")
  if [ -z "$job" ]; then
    case $(cat "$place/begin.err") in
    *'submission failed: Socket timed out'* | '')
      # It may have been submitted, and Slurm can't be asked.
      squeue_answers || { echo "Slurm gave no answer to the submission" >&2; exit 76; }
      job=$(named "$name")
      ;;
    esac
  fi
  if [ -z "$job" ]; then
    # Known: nothing was submitted.
    rm -f "$place/submitted"
    why=$(sed -n 's/^sbatch: error: //p' "$place/begin.err" | tr '\n' ';' | sed 's/;$//; s/;/; /g')
    [ -n "$why" ] || why=$(tail -n 1 "$place/begin.err")
    echo "sbatch: ${why:-it gave no answer}" >&2
    exit 2
  fi
  publish "$place/job" "$job" || exit 2
  rm -f "$place/begin.err"
}

squeue_answers() { ask squeue -h -t all -u "$(id -un)" -o %i >/dev/null 2>&1; }

# named NAME: print the number of the job or array with that name, of this user.
named() { ask squeue -h -t all -u "$(id -un)" -n "$1" -o %F 2>/dev/null | grep -E '^[0-9]+$' | tail -n 1; }

# placed FOLDER: set `place` to the folder with the files of a run's job, and `name` to the job's name. A run may be an
# element of an array: then `element` is its number, else "".
placed() {
  place=$1/control name=${1##*/} element=''
  if read -r array element 2>/dev/null <"$1/control/array"; then
    case $array$element in */* | .*) element='' ;; *) place=$base/arrays/$array name=$array ;; esac
  fi
}

# job_of FOLDER: set `job` to the number of a run's job and `cluster` to the options that name its cluster; empty if
# nothing was submitted.
job_of() {
  job='' cluster=''
  placed "$1"
  read -r job 2>/dev/null <"$place/job" || read -r job _ 2>/dev/null <"$1/control/node" ||
    { [ -e "$place/submitted" ] && job=$(named "$name"); }
  case $job in *';'*) cluster=-M${job#*;} job=${job%%;*} ;; esac
  case $job in '' | *[!0-9]*) job='' ;; *) job=$job${element:+_$element} ;; esac
}

# row: set `row` to "STATE|NODES|START|REASON" of `job`, to `gone` if Slurm has no such job, or to "" and `failure` to what
# squeue said.
row() {
  row='' failure=''
  [ -n "$job" ] || { row=gone; return; }
  # shellcheck disable=SC2086 # nothing, or one option
  if row=$(ask squeue $cluster -r -h -t all -j "$job" -o '%T|%N|%S|%r' 2>&1); then
    row=$(printf '%s\n' "$row" | grep '|' | tail -n 1)
    row=${row:-gone}
  else
    case $row in
    *'Invalid job id'*) row=gone ;;
    *) failure=${row:-squeue gave no answer} row='' ;;
    esac
  fi
}

# is_over: whether `row` is the state of a job that has ended, unless it is requeued.
is_over() {
  case $row in
  COMPLETED* | CANCELLED* | FAILED* | TIMEOUT* | NODE_FAIL* | BOOT_FAIL* | DEADLINE* | OUT_OF_MEMORY* | PREEMPTED* | gone) ;;
  *) return 1 ;;
  esac
}

# facts FOLDER: print all that is known of a run in one line, its fields separated by tabs: see slurm_state.py.
facts() {
  control=$1/control
  # Let a network file system look again.
  ls "$control" >/dev/null 2>&1
  began='' status='' at='' since='' requeue='' details='' accounted='' row='' failure='' job='' cluster='' ahead=''
  placed "$1"
  read -r since requeue 2>/dev/null <"$place/submitted"
  ended_there
  if [ "$status" != 0 ] || [ "$requeue" = 1 ]; then
    job_of "$1"
    row
    stopwatch
    # How Slurm ended it shows shortly after it has ended.
    while [ -n "$status" ]; do
      case $row in RUNNING* | COMPLETING*) ;; *) break ;; esac
      passed
      [ "$passed" -lt 1000 ] || break
      nap
      row
    done
    [ -n "$status" ] || ended_there
    if is_over; then
      if [ "$row" != gone ]; then
        # shellcheck disable=SC2086 # nothing, or one option
        details=$(ask scontrol $cluster -o show job "$job" 2>/dev/null | tr ' ' '\n' |
          grep -E '^(JobState|Reason|ExitCode|FailedNode|NodeList|BatchHost|Restarts|EndTime|StartTime)=' | tr '\n' ' ')
      elif [ -n "$job" ]; then
        accounts "@$((${since:-86400} - 86400))" "$job" State,ExitCode,NodeList,Start,End
        accounted=$(printf '%s\n' "$found" | tail -n 1)
        # It is not known that it is gone.
        [ -z "$failure" ] || row=''
      fi
    fi
  fi
  read -r _ _ began 2>/dev/null <"$control/script"
  [ -e "$control/cancel" ] && canceled=1 || canceled=0
  submitted=0
  [ ! -e "$place/submitted" ] && [ -z "$job" ] || submitted=1
  clock
  for each in slurm "$status" "$at" "$began" "$canceled" "$now" "$submitted" "${requeue:-0}" "$job" "$row" "$ahead" \
    "$details" "$accounted" "$failure"; do
    case $each in
    *["$tab$line_end$return"]*) each=$(printf '%s' "$each" | tr '\t\n\r' '   ') ;;
    esac
    [ ${#each} -le 900 ] || each=$(printf '%s' "$each" | cut -c 1-900)
    printf '%s\t' "$each"
  done
  echo
}
line_end='
'
tab=$(printf '\t') return=$(printf '\r')
# accounts SINCE JOBS FIELDS: set `found` to sacct's rows of these jobs, empty if there is no accounting; and `failure` if
# sacct does not answer, so that they may have ended in any way.
accounts() {
  found='' failure=''
  if [ -z "${accounting-}" ]; then
    accounting=no
    # shellcheck disable=SC2086 # nothing, or one option
    if ! command -v sacct >/dev/null 2>&1; then :; elif said=$(ask sacct $cluster -X -n -S now 2>&1); then
      accounting=yes
    else
      unanswered $? "$said"
    fi
  fi
  if [ "$accounting" = yes ]; then
    # Without a start, sacct shows only today's jobs.
    # shellcheck disable=SC2086
    if said=$(ask sacct $cluster -X -P -n -D -S "$(date -d "$1" +%Y-%m-%dT%H:%M:%S 2>/dev/null)" -j "$2" -o "$3" 2>&1); then
      found=$(printf '%s\n' "$said" | grep '|')
    else
      unanswered $? "$said"
    fi
  fi
  [ "$accounting" != silent ] || failure="sacct does not answer: $silence"
}

# unanswered CODE TEXT: remember why sacct fails, unless it would never tell.
unanswered() {
  case $2 in
  *'storage is disabled'* | *enied*) accounting=no ;;
  *)
    accounting=silent silence=${2:-"it ended with $1"}
    [ "$1" != 124 ] || silence='it took too long'
    ;;
  esac
}

ended_there() { read -r status at 2>/dev/null <"$control/end"; }

# state RUN FROM: print the facts, and of a running run the metrics after FROM bytes.
state() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  facts "$base/runs/$1"
  [ -n "$status" ] || [ -z "$began" ] || metrics "$1" "$2"
}

# follow RUN OUT ERR: as in host.sh, with frames "Q FACTS" when the job's state has changed. The ends of both are facts.
follow() {
  folder=$base/runs/$1 out=$2 err=$3
  cd "$folder" 2>/dev/null || { echo "S gone"; return; }
  idle=0 busy=0 due=0 shown=''
  hundredths || hundredths=0
  begun=$hundredths
  while :; do
    over=
    control=$folder/control
    [ ! -e "$control/end" ] || over=1
    hundredths || hundredths=$((begun + slept))
    if [ -z "$over" ] && [ $((hundredths - begun)) -ge "$due" ]; then
      job_of "$folder"
      row
      ! is_over || over=1
      # Ask less and less often: the files tell most of it.
      due=$(((hundredths - begun) / 10))
      [ "$due" -ge 50 ] || due=50
      [ "$due" -le 3000 ] || due=3000
      due=$((hundredths - begun + due))
      if [ "$row$failure" != "$shown" ] && [ -z "$over" ]; then
        shown=$row$failure
        waiting_before
        echo "Q $row	$ahead	$failure"
      fi
    fi
    before=$out/$err
    if [ -n "$over" ]; then
      pieces
      printf 'S '
      facts "$folder"
      return
    fi
    unchanged || pieces
    await_output "$before" || return
  done
}

# waiting_before: set `ahead` to the number of pending jobs of the same partition that are before this one; empty if it
# isn't pending.
waiting_before() {
  ahead=
  case $row in PENDING*) ;; *) return ;; esac
  # shellcheck disable=SC2086
  partition=$(ask squeue $cluster -h -j "$job" -o %P 2>/dev/null)
  # shellcheck disable=SC2086
  ahead=$(ask squeue $cluster -r -h -t PENDING -p "$partition" -S '-p,i' -o %i 2>/dev/null | grep -nx "$job" | cut -d : -f 1)
  [ -z "$ahead" ] || ahead=$((ahead - 1))
}

# stop RUN GRACE OWNER
stop() {
  [ -d "$base/runs/$1" ] || { echo "gone"; return; }
  must_own "$1" "$3"
  folder=$base/runs/$1 control=$base/runs/$1/control
  if [ ! -e "$control/end" ]; then
    publish "$control/grace" "$2" && : >"$control/cancel" || exit 125
    job_of "$folder"
    asked='' tried=''
    stopwatch
    while [ -n "$job" ] && [ ! -e "$control/end" ]; do
      row
      passed
      ! is_over || break
      # shellcheck disable=SC2086
      case $row in
      RUNNING* | COMPLETING*)
        # The job's own shell stops the script, as on any machine; Slurm ends what does not end.
        if [ -z "$asked" ] && [ -e "$control/node" ]; then
          ask scancel $cluster --batch --signal=USR2 "$job" 2>/dev/null
          asked=$passed
        elif [ -z "$tried" ] && [ "$passed" -gt $((${asked:-0} + ($2 + 4) * 100)) ]; then
          ask scancel $cluster "$job" 2>/dev/null
          tried=1
        fi
        ;;
      '') [ "$passed" -lt 3000 ] || { echo "$failure" >&2; exit 3; } ;;
      *)
        [ -n "$tried" ] || ask scancel $cluster "$job" 2>/dev/null
        tried=1
        ;;
      esac
      [ "$passed" -lt $((($2 + 45) * 100)) ] || { echo "the job $job does not end" >&2; exit 3; }
      [ -e "$control/end" ] || nap
    done
  fi
  facts "$folder"
}
