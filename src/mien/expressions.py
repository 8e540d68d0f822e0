"""The seven expressions: their order, their other names, and other data sets' codes for them.

The order is FER2013's own (``emotion`` 0 to 6). Every array of seven probabilities, every
confusion matrix and every exported model without classes of its own uses it.

>>> EXPRESSIONS[3]
'happy'
>>> parse_expression("Happiness")
'happy'
"""

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

EXPRESSIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

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
    near = nearest_name(key, (*EXPRESSIONS, *ALIASES))
    hint = f"; did you mean {ALIASES.get(near, near)!r}?" if near else ""
    raise ValueError(f"unknown expression {name!r}: expected one of {', '.join(EXPRESSIONS)}{hint}")


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """Return the known name closest in spelling, or None when none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return close[0] if close else None
