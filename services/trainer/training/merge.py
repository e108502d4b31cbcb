"""An adapter merged into its base: ``python -m services.trainer.training.merge BASE ADAPTER OUT``.

Leaves full weights in safetensors, in the base's own type, with the base's tokenizer.
"""

import sys
from pathlib import Path

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.trainer.running.tether import die_with_launcher


def merge(base: str, adapter: Path, out: Path) -> None:
    """``safe_merge`` looks for weights that are not finite before it gives any away."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    merged.save_pretrained(out, safe_serialization=True)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    card = adapter / "README.md"
    if card.exists():
        (out / "README.md").write_bytes(card.read_bytes())


if __name__ == "__main__":
    die_with_launcher()
    merge(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
