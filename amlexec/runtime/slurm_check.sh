#!/bin/sh
# Print facts about a Slurm cluster, as lines of KEY VALUE. Standard input is a job's script, which is not run.
#
# usage: sh slurm_check.sh PYTHON SECONDS OPTION…     PYTHON as in pythonLocation, "" to leave it out; SECONDS to wait
#                                                     for a node; the options of srun for a small job on it
PYTHON=$1
shift
for each in $(env | sed -n 's/^\(S[A-Z]*_[A-Za-z0-9_]*\)=.*/\1/p'); do
  case $each in SLURM_CONF) ;; SLURM_* | SBATCH_* | SINFO_*) unset "$each" ;; esac
done
missing=
for each in sbatch squeue scancel scontrol sinfo; do
  command -v "$each" >/dev/null 2>&1 || missing="$missing $each"
done
echo "missing $missing"
[ -z "$missing" ] || exit 0
echo "version $(sbatch --version </dev/null)"
limit=
! command -v timeout >/dev/null 2>&1 || limit='timeout 30'
if partitions=$($limit sinfo -h -o '%R|%a|%l|%D|%c|%m|%G' </dev/null 2>&1); then
  printf '%s\n' "$partitions" | sed 's/^/partition /'
else
  echo "failure $(printf '%s' "$partitions" | tail -n 1)"
  exit 0
fi
command -v sacct >/dev/null 2>&1 && $limit sacct -X -n -S now </dev/null >/dev/null 2>&1 && echo "accounting yes"
cat >"$HOME/.amlexec-check.$$" || exit 2
trap 'rm -f "$HOME/.amlexec-check.$$"' EXIT
if tried=$(cd / && $limit sbatch --test-only "$HOME/.amlexec-check.$$" </dev/null 2>&1); then :; else
  printf '%s\n' "$tried" | sed -n 's/^sbatch: error: /refused /p; s/^allocation failure: /refused /p'
  exit 0
fi
echo "accepted $(printf '%s' "$tried" | tail -n 1)"
command -v srun >/dev/null 2>&1 || exit 0
word=amlexec-$$-$(date +%s)
echo "$word" >"$HOME/.amlexec-check.$$"
seconds=$1
shift
if ! command -v timeout >/dev/null 2>&1; then limit=; else limit="timeout $((seconds + 20))"; fi
node=$($limit srun "$@" --nodes=1 --ntasks=1 --time=1 --immediate="$seconds" --job-name=amlexec-check --chdir=/ \
  sh -c '
    echo "node $(uname -n)"
    [ "$(cat "$1" 2>/dev/null)" = "$2" ] && echo "seen yes"
    : 2>/dev/null >>"$1" && echo "written yes"
    for each in apptainer singularity podman enroot; do command -v "$each" >/dev/null 2>&1 && echo "runtime $each"; done
    command -v mpirun >/dev/null 2>&1 && echo "mpirun yes"
    if [ -n "$3" ]; then
      python=$(command -v "$3") || { [ "$3" = python ] && python=$(command -v python3); }
      [ -z "$python" ] || echo "python $("$python" -E -c "import sys; print(\"%d.%d.%d\" % sys.version_info[:3])" 2>/dev/null) $python"
    fi
  ' sh "$HOME/.amlexec-check.$$" "$word" "$PYTHON" </dev/null 2>&1)
echo "srun $?"
printf '%s\n' "$node"
