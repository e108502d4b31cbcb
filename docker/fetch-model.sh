#!/bin/sh
# fetch-model NAME ID REVISION: put a Hugging Face model into $MODELS/NAME, once and whole.
# A name keeps its model for good, because adapters and vLLM's caches are tied to the name.
set -eu
folder=${MODELS:-/models}/$1
wanted=$2@$3
if [ -e "$folder/.fetched" ]; then
    present=$(cat "$folder/.fetched")
    [ "$present" = "$wanted" ] && exit 0
    echo "$folder holds $present, not $wanted: give the other model another name." >&2
    exit 1
fi
HF_HUB_OFFLINE=0 hf download "$2" --revision "$3" --local-dir "$folder"
echo "$wanted" > "$folder/.fetched"
