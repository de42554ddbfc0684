#!/usr/bin/env bash
# Install a pack of tools/gpu_pack.py on a machine with a GPU, and run what only a GPU can show.
#
#   bash run_on_gpu.sh PACK OUT STEP...      in the project's folder; PACK holds the parts, OUT gets the results
#
# Steps: models (unpack the quickstart's models), test (the GPU tests), suite (all tests), bench (perf/bench_gpu.py),
# study (recipes/experiments/smollm2_gpu.yaml, on data/pile_ner.jsonl and a folder in data/ for each benchmark). A step
# that fails does not stop the next one.
set -uo pipefail
pack=$(realpath "$1")
mkdir -p "$2" && out=$(realpath "$2") && shift 2 || exit

if [ ! -d "$pack/site" ]; then
  cat "$pack"/part-* | tar x -C "$pack" || exit
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$pack/site" "$pack"/wheels/*.whl || exit
  if [ -d "$pack/data" ]; then mkdir -p data && cp -rn "$pack/data/." data/; fi
fi
export PYTHONPATH="$pack/site:$PWD" HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1

run() {  # run NAME COMMAND...: its output goes to the terminal and to OUT/NAME.txt
  local name=$1 began=$SECONDS; shift
  "$@" 2>&1 | tee "$out/$name.txt"
  echo "== $name ended with status $? after $((SECONDS - began)) s"
}

for step in "$@"; do
  case $step in
    models) run models python3 -m ra_ner models ;;
    test) run test python3 -m pytest tests/gpu -m gpu -q -rsP --durations=15 -p no:cacheprovider ;;
    suite) run suite python3 -m pytest -q -n "$(nproc)" --dist loadfile -p no:cacheprovider ;;
    bench) run bench python3 perf/bench_gpu.py ;;
    study)
      benchmarks=
      for name in crossner_ai crossner_literature crossner_music crossner_politics mit_movie; do
        benchmarks+="$name=data/$name, "
      done
      run study env OMP_NUM_THREADS=2 python3 -m ra_ner study smollm2_gpu --jobs 8 \
        --set dataset.corpus=data/pile_ner.jsonl "evaluate.benchmarks=[$benchmarks]"
      tar czf "$out/study.tgz" --exclude=dataset --exclude=checkpoints --exclude='*.safetensors' \
        --exclude=tokenizer.json outputs/smollm2_gpu* ;;
    *) echo "unknown step $step" >&2; exit 2 ;;
  esac
done
