#!/bin/sh
# Run a command as several processes of a job, on all its nodes.
#
# usage: sh ranks.sh COMMUNICATOR FOLDER COMMAND [ARGUMENT…]       by the supervisor, on the first node
#        sh ranks.sh rank FOLDER COMMAND [ARGUMENT…]               by the launcher, for each process
#
# Each process has the variables that torch.distributed reads. The process of rank 0 is the run: its output is the run's
# log, and its metrics are recorded. The output of the others goes to outputs/ranks/RANK.log in FOLDER.
communicator=$1 folder=$2
shift 2

if [ "$communicator" = rank ]; then
  RANK=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${SLURM_PROCID:-0}}}
  WORLD_SIZE=${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE:-${SLURM_NTASKS:-1}}}
  LOCAL_RANK=${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-${SLURM_LOCALID:-0}}}
  LOCAL_WORLD_SIZE=${OMPI_COMM_WORLD_LOCAL_SIZE:-${MPI_LOCALNRANKS:-${SLURM_NTASKS_PER_NODE:-1}}}
  GROUP_RANK=${OMPI_COMM_WORLD_NODE_RANK:-${SLURM_NODEID:-0}}
  # Open MPI's is the rank on the node.
  [ -z "${OMPI_COMM_WORLD_RANK-}" ] || GROUP_RANK=$((RANK / LOCAL_WORLD_SIZE))
  export RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK
  if [ "$RANK" != 0 ]; then
    # Only one process records the run.
    unset AMLEXEC_RUN_FOLDER AMLEXEC_PYTHON
    mkdir -p "$folder/outputs/ranks" || exit 96
    exec >>"$folder/outputs/ranks/$RANK.log" 2>&1
  fi
  unset AMLEXEC_SRUN AMLEXEC_MPIRUN
  exec "$@"
fi

case $communicator in
OpenMpi | IntelMpi)
  launcher=$AMLEXEC_MPIRUN
  [ -n "$launcher" ] || { echo "amlexec: error: communicator: $communicator needs mpirun on the nodes' PATH" >&2; exit 127; }
  ;;
*) launcher=$AMLEXEC_SRUN ;;
esac
case $communicator in
OpenMpi) exec "$launcher" sh "$0" rank "$folder" "$@" ;;
IntelMpi)
  exec "$launcher" -bootstrap slurm -n "$SLURM_NTASKS" -ppn "${SLURM_NTASKS_PER_NODE:-1}" sh "$0" rank "$folder" "$@"
  ;;
*) exec "$launcher" --mpi=none --kill-on-bad-exit=1 sh "$0" rank "$folder" "$@" ;;
esac
