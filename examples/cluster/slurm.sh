#!/usr/bin/env bash
# A folder of pictures on a file system that all nodes share, enlarged by as many nodes as Slurm gives:
#
#     sbatch --nodes 10 examples/cluster/slurm.sh /scratch/photos /scratch/enlarged
#
# If the job is stopped or runs out of time, the same command goes on where it was.
#SBATCH --job-name=bgai
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: sbatch --nodes N slurm.sh INPUT OUTPUT [OPTION…]" >&2
    exit 2
fi
input=$1 output=$2
shift 2

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Other jobs may run on the same nodes.
address=$head:$((20000 + SLURM_JOB_ID % 10000))
export RAY_USAGE_STATS_ENABLED=0

# Starts Ray on each node, then the command on the first one alone, and stops Ray when the command has ended.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    bgai upscale "$input" -r -o "$output" --cluster auto "$@"
