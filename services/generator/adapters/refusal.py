"""Why an adapter is not served.

::

    AdapterRefused                422
    ├── AdapterCorrupt            a file is missing, cut short, or not the one that was registered
    ├── AdapterIncompatible       it is whole, but not made for this base model or engine
    ├── AdapterNoEffect           it is loaded, and the model answers as if it were not
    └── AdapterMismatch           it is loaded, and the model answers otherwise than PEFT says

422 rather than 409: clients of OpenAI's repeat a 409, and this will not get better by repeating.
"""

from services.common.errors import InvalidRequest


class AdapterRefused(InvalidRequest):
    status, code = 422, "adapter_refused"


class AdapterCorrupt(AdapterRefused):
    code = "adapter_corrupt"


class AdapterIncompatible(AdapterRefused):
    code = "adapter_incompatible"


class AdapterNoEffect(AdapterRefused):
    code = "adapter_no_effect"


class AdapterMismatch(AdapterRefused):
    code = "adapter_mismatch"


def recorded_refusal(code: str | None, message: str | None) -> AdapterRefused:
    """The refusal that was recorded earlier, to be raised again."""
    return AdapterRefused(message or "The adapter was refused.", code=code)
