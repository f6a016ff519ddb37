"""final_answer: the agent's last words against the reference answer."""

from __future__ import annotations

import json
from typing import Any

from bakeoff.config.evaluators import FinalAnswer
from bakeoff.record.trial import Example
from bakeoff.scoring.types import Evaluate, Mark, Outputs

# An agent can write a text that a careless pattern searches for hours; `regex` can be told when to stop.
REGEX_SECONDS = 2.0


def make(options: FinalAnswer) -> Evaluate:
    """1 when the answer agrees with `outputs.answer`, else 0. What is not JSON agrees with no JSON."""

    def evaluate(example: Example, outputs: Outputs) -> Mark:
        reference = _reference(example)
        agrees = _AGREE[options.match](outputs["answer"], reference, options)
        return Mark(float(agrees), "" if agrees else f"{options.match}: wanted {_text(reference)!r}")

    return evaluate


def _reference(example: Example) -> Any:
    """The reference answer.

    Raises:
        ValueError: there is none, or it is empty: every text contains the empty text.
    """
    reference = example.outputs.get("answer")
    if reference is None or reference == "":
        raise ValueError("the example's outputs have no `answer`")
    return reference


def _text(reference: Any) -> str:
    return reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)


def _plain(text: str, options: FinalAnswer) -> str:
    text = text if options.case_sensitive else text.casefold()
    return " ".join(text.split()) if options.collapse_whitespace else text


def _exact(answer: str, reference: Any, options: FinalAnswer) -> bool:
    return _plain(answer, options) == _plain(_text(reference), options)


def _contains(answer: str, reference: Any, options: FinalAnswer) -> bool:
    return _plain(_text(reference), options) in _plain(answer, options)


def _regex(answer: str, reference: Any, options: FinalAnswer) -> bool:
    import regex

    flags = 0 if options.case_sensitive else regex.IGNORECASE
    return regex.search(_text(reference), answer, flags, timeout=REGEX_SECONDS) is not None


def _json(answer: str, reference: Any, options: FinalAnswer) -> bool:
    wanted = json.loads(reference) if isinstance(reference, str) else reference
    try:
        given = json.loads(answer)
    except (ValueError, RecursionError):  # the agent's text: no JSON is a wrong answer, not an error
        return False
    return bool(given == wanted)


_AGREE = {"exact": _exact, "contains": _contains, "regex": _regex, "json": _json}
