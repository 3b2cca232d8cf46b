#!/usr/bin/env bash
# Evaluates many SAEs on eight GPUs of a Slurm cluster, with the arguments of sae-lens-metrics evaluate:
#
#   sbatch examples/slurm_array.sh gpt2-small-res-jb '.*' --dataset NeelNanda/pile-10k
#
# Each task of the array takes its part of the SAEs. A task that was killed or preempted is started again by Slurm, or by you (with
# --array=3, or all of them), and goes on where it was. In the end, sae-lens-metrics report sae-metrics makes one page of all.
#
#SBATCH --job-name=sae-metrics
#SBATCH --array=0-7
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=sae-metrics-%A_%a.log
set -euo pipefail

exec sae-lens-metrics evaluate "$@" --shard auto --no-report
