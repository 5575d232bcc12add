# Sourced by the script of a job, on the first of its nodes: runs the supervisor. `folder` is the run's folder and
# `runtime` that of this file, on the shared file system.
. "$runtime/identity.sh"

# element: run what the element of a job array is for. `array` is the array's folder.
element() {
  run=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$array/runs") || exit 96
  folder=${array%/arrays/*}/runs/$run control=${array%/arrays/*}/runs/$run/control
  if ! mkdir "$control/taken" 2>/dev/null; then
    [ ! -d "$control" ] || [ -d "$control/taken" ] || exit 97
    # It was withdrawn; or it is requeued.
    [ -d "$control/taken" ] && { [ -e "$control/taken/element" ] || [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; } || exit 143
  fi
  : >"$control/taken/element"
  ln -f "$array/log/$SLURM_ARRAY_TASK_ID" "$control/job.log" 2>/dev/null
  if [ ! -d "$folder/project" ]; then
    (
      umask 077
      rm -rf "$folder/project.new"
      cp -R "$array/tree" "$folder/project.new" || exit 97
      cd "$folder/project.new" || exit 97
      mkdir outputs 2>/dev/null || [ -e outputs ] || [ -h outputs ] || exit 97
      mv "$folder/project.new" "$folder/project"
    ) || exit 97
  fi
  # Its variables; then it calls `job`.
  . "$control/point.sh"
}

# job PYTHON COMMAND…: run the command to its end, and exit with its code.
job() {
  python=$1
  shift
  cd "$folder/project" || exit 96
  control=$folder/control
  # A requeued job begins anew.
  rm -f "$control/end" "$control/end.new" "$control/script" "$control/supervisor"
  publish "$control/node" "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID} ${SLURM_RESTART_COUNT:-0} $(uname -n)" || exit 97
  # The launchers of the login's PATH: the script's may be another one.
  AMLEXEC_SRUN=$(command -v srun)
  AMLEXEC_MPIRUN=$(command -v mpirun)
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" 2>/dev/null | sed 1q)
  MASTER_PORT=$((20000 + SLURM_JOB_ID % 40000))
  export AMLEXEC_SRUN AMLEXEC_MPIRUN MASTER_ADDR MASTER_PORT
  # Slurm sends TERM to all processes of the job before it kills them: the script has it already.
  trap : TERM HUP
  # A background process of a shell ignores SIGINT, and no shell can undo that.
  "$python" -I -S -c 'import os, signal, sys
for one in (signal.SIGINT, signal.SIGQUIT): signal.signal(one, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' /bin/sh "$runtime/supervisor.sh" "$folder" "$@" </dev/null >/dev/null &
  supervisor=$!
  trap signaled USR2
  while :; do
    wait "$supervisor"
    code=$?
    # The wait ends with every signal.
    [ "$code" -gt 128 ] && kill -0 "$supervisor" 2>/dev/null || break
  done
  if ! read -r status _ 2>/dev/null <"$control/end"; then
    # It was killed; or it could not write.
    [ "$code" -le 128 ] || exit "$code"
    exit 97
  fi
  exit "$status"
}

# signaled: stop the script if it was canceled; else the signal is for the script, as sbatch's --signal=B:USR2@60 asks.
signaled() {
  if [ -e "$control/cancel" ]; then
    read -r grace 2>/dev/null <"$control/grace" || grace=10
    (unset AMLEXEC_SUPERVISED_ID AMLEXEC_SUPERVISED_FOLDER; exec sh "$runtime/stop.sh" "$folder" "$grace") >/dev/null 2>&1 &
  elif read -r script _ 2>/dev/null <"$control/script"; then
    kill -USR2 "$script" 2>/dev/null
  fi
}
