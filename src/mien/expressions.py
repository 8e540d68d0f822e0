"""The seven expressions: their order, their other names, and other data sets' codes for them.

The order is FER2013's own (``emotion`` 0 to 6). Every array of seven probabilities, every
confusion matrix and every exported model without classes of its own uses it.

>>> EXPRESSIONS[3]
'happy'
>>> parse_expression("Happiness")
'happy'
"""

import difflib
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from mien.errors import ModelError

EXPRESSIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: What a face is read as where even the most probable expression is too improbable.
UNCERTAIN: Final = "uncertain"

#: Other spellings seen in data sets and packages, lower case, to the canonical name.
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anger": "angry",
        "disgusted": "disgust",
        "afraid": "fear",
        "fearful": "fear",
        "scared": "fear",
        "happiness": "happy",
        "joy": "happy",
        "sadness": "sad",
        "surprised": "surprise",
        "suprise": "surprise",
        "neutrality": "neutral",
        "calm": "neutral",
    }
)

#: Columns of FER+ votes (``fer2013new.csv``) in their order; None where no expression is meant.
#: Source: https://github.com/microsoft/FERPlus
FERPLUS_COLUMNS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "neutral": "neutral",
        "happiness": "happy",
        "surprise": "surprise",
        "sadness": "sad",
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "contempt": None,
        "unknown": None,
        "NF": None,
    }
)

#: Integer codes of other data sets to the canonical name; None where it has no equal here.
#: Sources: http://mohammadmahoor.com/pages/databases/affectnet/ ,
#: http://www.whdeng.cn/raf/model1.html , https://doi.org/10.1109/CVPRW.2010.5543262
DATASET_CODES: Final[Mapping[str, Mapping[int, str | None]]] = MappingProxyType(
    {
        "fer2013": MappingProxyType(dict(enumerate(EXPRESSIONS))),
        "affectnet": MappingProxyType(
            {
                0: "neutral",
                1: "happy",
                2: "sad",
                3: "surprise",
                4: "fear",
                5: "disgust",
                6: "angry",
                7: None,
            }
        ),
        "raf-db": MappingProxyType(
            {
                1: "surprise",
                2: "fear",
                3: "disgust",
                4: "happy",
                5: "sad",
                6: "angry",
                7: "neutral",
            }
        ),
        "ck+": MappingProxyType(
            {
                0: "neutral",
                1: "angry",
                2: None,
                3: "disgust",
                4: "fear",
                5: "happy",
                6: "sad",
                7: "surprise",
            }
        ),
    }
)


def parse_expression(name: str) -> str:
    """Return the canonical name for any usual spelling of an expression.

    Raises:
        ValueError: The name is none of the seven; the message names the nearest one.
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key in EXPRESSIONS:
        return key
    raise ValueError(unknown_name("expression", name, EXPRESSIONS, aliases=ALIASES))


def check_uncertain_below(probability: float, classes: Container[str]) -> None:
    """See that faces can be called uncertain below a probability.

    Args:
        probability: The limit; 0 where no face is.
        classes: The model's own classes, of which none may then be called uncertain.

    Raises:
        ValueError: The limit is not 0 to 1.
        ModelError: A class of the model has that name.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"uncertain_below must be 0 to 1, got {probability}")
    if probability and UNCERTAIN in classes:
        raise ModelError(
            f"the model has a class {UNCERTAIN!r} of its own, which faces below a probability "
            f"could not be told from: leave uncertain_below at 0"
        )


def unknown_name(
    what: str, name: str, known: Sequence[str], *, aliases: Mapping[str, str] | None = None
) -> str:
    """Return what to say of an unknown name: the nearest known one, or all where none is near.

    Args:
        what: What it should be the name of.
        name: As it was written.
        known: The names there are.
        aliases: Other names for these, which it may be near to as well.

    >>> unknown_name("model", "residaul", ["plain", "residual"])
    "unknown model 'residaul': did you mean 'residual'?"
    """
    aliases = aliases or {}
    near = nearest_name(name.strip().lower(), (*known, *aliases))
    hint = f"expected one of {', '.join(known)}"
    if near is not None:
        hint = f"did you mean {aliases.get(near, near)!r}?"
    return f"unknown {what} {name!r}: {hint}"


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """Return the known name closest in spelling, or None when none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return close[0] if close else None
