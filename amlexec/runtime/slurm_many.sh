# The verbs for many runs of a Slurm cluster in one call. Sent after slurm.sh.

# look_up MODE: read the control files of many runs with one program. Standard input has lines
#   "I RUN" a run, "R JOB|STATE|NODES|START|REASON" a row of squeue, "F TEXT" why there are none,
#   "A JOB|…" a row of sacct, "S RUN FACTS" the facts of a run that was looked at alone
# MODE is what is printed:
#   need    a line if Slurm has to be asked
#   ask     "slow RUN" for each run that has to be looked at alone, "account JOB" for each that only sacct may know
#   facts   the run and its facts as of `facts`, a line each
#   both    facts, and "! " and a line as of `ask` before some of them
#   records also the text of its record, on a third line
look_up() {
  LC_ALL=C awk -v base="$base/" -v now="$now" -v mode="$1" '
    function first(path, line) {
      line = ""
      if ((getline line < path) < 0) return "-"
      close(path)
      return line
    }
    function clean(text) {
      gsub(/[\t\r]/, " ", text)
      return substr(text, 1, 900)
    }
    function word(text, number, part) {
      if (split(text, part, " ") < number) return ""
      return part[number]
    }
    function is_over(row) {
      return row ~ /^(COMPLETED|CANCELLED|FAILED|TIMEOUT|NODE_FAIL|BOOT_FAIL|DEADLINE|OUT_OF_MEMORY|PREEMPTED)/
    }
    function look(run, control, place, end, array, since, job, status, at, script, began, row, is_known, why, line) {
      control = base "runs/" run "/control/"
      place = control
      array = first(control "array")
      if (array != "-" && array !~ /\/|^\./) place = base "arrays/" word(array, 1) "/"
      else array = "-"
      end = first(control "end")
      status = at = ""
      if (end != "-") { status = word(end, 1); at = word(end, 2) }
      since = first(place "submitted")
      script = first(control "script")
      began = script == "-" ? "" : word(script, 3)
      job = ""
      row = why = ""
      if (status != "0" || word(since, 2) == "1") {
        if (mode == "need") { print "need"; exit }
        job = first(place "job")
        if (job == "-") job = word(first(control "node"), 1)
        is_known = job ~ /^[0-9]+$/
        if (is_known && array != "-") job = job "_" word(array, 2)
        if (!is_known) {
          # Another cluster behind the login node, or a job that has to be found by its name.
          if (asks && (job != "-" || since != "-")) print mark "slow", run
          if (mode == "ask") return
          job = ""
        }
        row = failure == "" ? "gone" : ""
        why = failure
        if (job in rows) { row = rows[job]; why = "" }
        if (asks && failure == "") {
          # What ended a job shows a little later, and only scontrol tells all of it.
          if (status != "" && row ~ /^(RUNNING|COMPLETING)/) print mark "slow", run
          else if (status == "" && is_over(row) && !(row ~ /^CANCELLED/ && began == "")) print mark "slow", run
          else if (row == "gone" && job != "") print mark "account", job, (status == "" ? run : "")
        }
      }
      if (mode == "need" || mode == "ask") return
      print run
      if (run in alone) print alone[run]
      else {
        line = "slurm\t" clean(status) "\t" clean(at) "\t" clean(began) "\t" (first(control "cancel") == "-" ? 0 : 1)
        line = line "\t" now "\t" (since == "-" && job == "" ? 0 : 1) "\t" (word(since, 2) == "1" ? 1 : 0) "\t" job
        print line "\t" clean(row) "\t\t\t" (row == "gone" ? clean(accounted[job]) : "") "\t" clean(why) "\t"
      }
      if (mode != "records") return
      while ((getline line < (base "runs/" run "/run.json")) > 0) printf "%s ", line
      close(base "runs/" run "/run.json")
      print ""
    }
    BEGIN { asks = mode == "ask" || mode == "both"; mark = mode == "both" ? "! " : "" }
    { text = substr($0, 3) }
    /^R / { at = index(text, "|"); rows[substr(text, 1, at - 1)] = substr(text, at + 1) }
    /^F / { failure = text }
    /^A / { at = index(text, "|"); accounted[substr(text, 1, at - 1)] = substr(text, at + 1) }
    /^S / { at = index(text, " "); alone[substr(text, 1, at - 1)] = substr(text, at + 1) }
    /^I / { look(text) }
  '
}

# of_many MODE: print the facts of the runs `ids`, one a line: with one call of squeue and one of sacct at most, and
# none of squeue if all have ended well. The caller sets `unended` if it knows of one that has not ended.
of_many() {
  clock
  ids=$(printf '%s\n' "$ids" | sed -n 's/^\(.\)/I \1/p')
  [ -n "$ids" ] || return 0
  rows=''
  if [ -n "$unended" ] || [ -n "$(printf '%s\n' "$ids" | look_up need)" ]; then
    # -r: a row for each element of an array.
    if rows=$(ask squeue -r -h -t all -u "$(id -un)" -o '%i|%T|%N|%S|%r' 2>&1); then
      rows=$(printf '%s\n' "$rows" | sed -n '/|/s/^/R /p')
    else
      rows="F $(printf '%s' "${rows:-squeue gave no answer}" | tr '\n' ' ')"
    fi
  fi
  if [ "$1" = facts ]; then
    # Most times, that is all.
    look=$(printf '%s\n%s\n' "$rows" "$ids" | look_up both)
    case "$line_end$look" in
    *"$line_end! "*) look=$(printf '%s\n' "$look" | sed -n 's/^! //p') ;;
    *)
      printf '%s\n' "$look"
      return
      ;;
    esac
  else
    look=$(printf '%s\n%s\n' "$rows" "$ids" | look_up ask)
  fi
  more=''
  jobs=$(printf '%s\n' "$look" | sed -n 's/^account \([^ ]*\).*/\1/p')
  if [ -n "$jobs" ]; then
    cluster=''
    accounts '30 days ago' "$(printf '%s\n' "$jobs" | paste -s -d , -)" JobID,State,ExitCode,NodeList,Start,End
    if [ -n "$failure" ]; then
      rows="$rows
F $(printf '%s' "$failure" | tr '\n' ' ')"
    else
      more=$(printf '%s\n' "$found" | sed -n 's/^./A &/p')
      # Slurm may not have had the job yet when it was asked for all of them.
      look="$look
$(printf '%s\n' "$look" | sed -n 's/^account \([^ ]*\) \(.\)/\1 \2/p' | while read -r each run; do
        case $more in *"A $each|"*) ;; *) echo "slow $run" ;; esac
      done)"
    fi
  fi
  slow=$(printf '%s\n' "$look" | sed -n 's/^slow //p' | while read -r run; do
    printf 'S %s %s\n' "$run" "$(facts "$base/runs/$run")"
  done)
  printf '%s\n%s\n%s\n%s\n' "$rows" "$more" "$slow" "$ids" | look_up "$1"
}

# records START: for every run whose id begins with START, its id, its facts, and its record, a line each.
records() {
  ids=$(for folder in "$base/runs/$1"*; do [ ! -d "$folder/control" ] || echo "${folder##*/}"; done) unended=''
  of_many records
}

# states: standard input has lines "RUN FROM". Print "RUN" and the facts of each run, or "gone", a line each; then, for
# each running run whose FROM is a number, "R RUN" and its metrics after so many bytes, as `metrics` prints them.
states() {
  ids='' running='' unended=''
  while read -r run from; do
    if [ ! -d "$base/runs/$run/control" ]; then
      printf '%s\ngone\n' "$run"
      continue
    fi
    ids=$ids$run$line_end
    [ -e "$base/runs/$run/control/end" ] || unended=1
    case $from in '' | *[!0-9]*) continue ;; esac
    [ ! -s "$base/runs/$run/metrics.jsonl" ] || running=$running$run' '$from$line_end
  done
  of_many facts
  printf '%s' "$running" | while read -r run from; do
    [ -s "$base/runs/$run/control/script" ] && [ ! -e "$base/runs/$run/control/end" ] || continue
    echo "R $run"
    metrics "$run" "$from"
  done
}

# marks: standard input has lines "RUN". Print "RUN ended" or "RUN began" for those that have, without asking Slurm.
marks() {
  while read -r run _; do
    if [ -e "$base/runs/$run/control/end" ]; then
      echo "$run ended"
    elif [ -s "$base/runs/$run/control/script" ]; then
      echo "$run began"
    fi
  done
}
