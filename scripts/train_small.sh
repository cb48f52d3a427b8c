#!/usr/bin/env bash
# Train the denoiser `small`: the shipped one is widened (scripts/grow_denoiser.py) and trained on.
#
#   scripts/train_small.sh --data shipped|PATH --run_dir RUN [--minutes 12] [--stop N] [--steps N] [--from FILE] [FLAG ...]
#
# Chosen for 12 minutes of one NVIDIA H100 or H200. On a CPU it starts, too, for a test: --steps 2 --batch_size 4 --limit 4.
# The learning rate falls by a cosine over --minutes of training, or over --steps. The position is saved every two minutes,
# and the same command goes on from there; --stop ends a stretch after that number of minutes. --from is the checkpoint to start
# from. Any other flag goes to train_denoiser.py. RUN/best_denoiser.pt is the best state by validation loss.
set -euo pipefail
cd "$(dirname "$0")/.."

weights=src/ligandsmith/weights
data="" run="" from=$weights/denoiser_small.pt minutes=12 stop=0 steps=0 rest=()
while [ $# -gt 0 ]; do
    case "$1" in
        --data) data=$2; shift 2 ;;
        --run_dir) run=$2; shift 2 ;;
        --from) from=$2; shift 2 ;;
        --minutes) minutes=$2; shift 2 ;;
        --stop) stop=$2; shift 2 ;;
        --steps) steps=$2; shift 2 ;;
        *) rest+=("$1"); shift ;;
    esac
done
if [ -z "$data" ] || [ -z "$run" ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
python=${PYTHON:-.venv/bin/python}

if [ ! -f "$run/start.flags" ]; then
    mkdir -p "$run"
    "$python" scripts/grow_denoiser.py "$from" "$run/start.pt" --self_layers 8 --cross_layers 4 --triangles 32 \
        --width 128 --edge_width 64 --bonds --fragments --properties > "$run/start.part"
    mv "$run/start.part" "$run/start.flags"
fi
read -ra flags < "$run/start.flags"
flags+=(
    --ligand_vae_path "$weights/ligand_vae_tiny.pt" --protein_vae_path "$weights/protein_vae_tiny.pt" --cache_latents
    --init_from "$run/start.pt" --run_dir "$run" --resume auto --seed 0 --num_epochs 100000
    --save_minutes 2 --save_interval 100000 --validation_interval 16
    --batch_size 256 --ligands_per_complex 2 --learning_rate 2e-3
    --set optimizer.muon_lr_ratio=10 --set optimizer.weight_decay=0.03 --set optimizer.ema_decay=0.999
    --set diffusion.noise_draws=2 --set diffusion.time_mean=-0.5 --set diffusion.separate_times=0.1
    --set diffusion.geometry_weight=1.0 --set diffusion.bond_weight=0.5
)
[ "$data" = shipped ] || flags+=(--data "$data")
[ "$stop" = 0 ] || flags+=(--max_minutes "$stop")
if [ "$steps" = 0 ]; then flags+=(--schedule_minutes "$minutes"); else flags+=(--max_steps "$steps"); fi
if nvidia-smi -L > /dev/null 2>&1; then
    flags+=(--cuda_graphs --num_workers "$(($(nproc) > 3 ? $(nproc) - 3 : 1))")
else
    flags+=(--device cpu --num_workers 0)
fi
exec "$python" train_denoiser.py "${flags[@]}" "${rest[@]}"
