"""DeepEval's G-Eval as its users run it: ``python -m bench.peer_judge < ASKED > TOLD``.

ASKED is JSON: ``{url, model, steps, items: [{question, reference, answer}], runs, width}``. Each
item is measured ``runs`` times, ``width`` at once, by ``GEval`` with those evaluation steps on its
own ``LocalModel``. A JSON schema holds the model to the reply that DeepEval reads, with a reason of
at most 200 characters: without it a small model's replies are mostly unreadable.

TOLD is ``{seconds, judged, failed, scores}``: gradings that gave a score, and those that raised.
Run with the folder DeepEval is installed in on ``PYTHONPATH``, in a process of its own.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

os.environ |= {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
    "DEEPEVAL_UPDATE_WARNING_OPT_IN": "0",
    "DEEPEVAL_FILE_SYSTEM": "READ_ONLY",
    "DO_NOT_TRACK": "1",
}

from deepeval.metrics import GEval
from deepeval.models import LocalModel
from deepeval.test_case import LLMTestCase, SingleTurnParams

_REPLY = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 200},
        "score": {"type": "integer", "minimum": 0, "maximum": 10},
    },
    "required": ["reason", "score"],
    "additionalProperties": False,
}


async def measure(asked: dict[str, Any]) -> dict[str, Any]:
    places = asyncio.Semaphore(asked["width"])
    scores: list[float] = []
    failed: list[str] = []

    async def grade(item: dict[str, str], run: int) -> None:
        metric = GEval(
            name="Accuracy",
            evaluation_steps=asked["steps"],
            evaluation_params=[
                SingleTurnParams.INPUT,
                SingleTurnParams.ACTUAL_OUTPUT,
                SingleTurnParams.EXPECTED_OUTPUT,
            ],
            model=LocalModel(
                model=asked["model"],
                base_url=f"{asked['url']}/v1",
                api_key="none",
                temperature=1.0,
                generation_kwargs={
                    "seed": run,
                    "max_tokens": 256,
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "reply", "strict": True, "schema": _REPLY},
                    },
                },
            ),
        )
        case = LLMTestCase(
            input=item["question"],
            actual_output=item["answer"],
            expected_output=item["reference"],
        )
        async with places:
            try:
                scores.append(await metric.a_measure(case, _show_indicator=False))
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}"[:200])

    started = time.perf_counter()
    await asyncio.gather(
        *(grade(item, run) for item in asked["items"] for run in range(asked["runs"]))
    )
    return {
        "seconds": time.perf_counter() - started,
        "judged": len(scores),
        "failed": len(failed),
        "scores": scores,
        "why": failed[:3],
    }


if __name__ == "__main__":
    told = asyncio.run(measure(json.load(sys.stdin)))
    sys.stdout.write("\n" + json.dumps(told))
