"""From what is wrong with a data set to the changes that put it right.

Faces that are held out stay as they are unless asked, so that figures on them can be compared
with those of others: what leaks is left out of the split that is learned from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mien.audit.audit import Audit
from mien.data import SPLITS
from mien.data.manifest import Action, Change

Indices = npt.NDArray[np.int64]


def repair(
    audit: Audit,
    *,
    splits: Sequence[str] = ("Training",),
    relabel: Iterable[tuple[int, int]] = (),
) -> tuple[Change, ...]:
    """Return the changes that put a data set right, in the order of its images.

    Left out are images of one colour, images without a face, and copies of a face that a later
    split keeps (PrivateTest is the last). Copies within a split become one, with the label that
    most of them have; where no label has most, all go.

    Args:
        audit: What is wrong; near copies and non-faces count where they were looked for.
        splits: The splits that may change; no image of another does.
        relabel: Indices of images and their new labels; those of other splits are left alone.

    Raises:
        ValueError: There is no such split, image or label.
    """
    for name in splits:
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}: expected one of {', '.join(SPLITS)}")
    codes = {SPLITS.index(split) for split in splits}
    repairs = _Repairs(audit, np.isin(audit.split_codes, list(codes)))
    repairs.relabel(relabel)
    for index, reason in _empty(audit):
        repairs.remove(index, "drop", reason)
    leaks, groups = list(_leaks(audit)), audit.copies.members()
    # The last split first: a face is not left out for one that is itself left out.
    for code in sorted(codes, reverse=True):
        for index, others, alike in leaks:
            if audit.split_codes[index] == code:
                repairs.drop_leak(index, others, alike)
        for group in groups:
            repairs.merge(group[audit.split_codes[group] == code])
    return repairs.changes()


@dataclass
class _Repairs:
    """Changes as they are found; an image that is left out is not looked at again."""

    audit: Audit
    may_change: npt.NDArray[np.bool_]
    removed: dict[int, Change] = field(default_factory=dict)
    new_labels: dict[int, int] = field(default_factory=dict)

    def relabel(self, labels: Iterable[tuple[int, int]]) -> None:
        for index, label in labels:
            if not (0 <= index < len(self.audit) and 0 <= label < len(self.audit.classes)):
                raise ValueError(f"no image {index}, or no label {label}")
            if self.may_change[index]:
                self.new_labels[index] = label

    def remove(self, index: int, action: Action, reason: str, *, of: int | None = None) -> None:
        if self.may_change[index] and index not in self.removed:
            label = self.audit.class_of(index)
            self.removed[index] = self._change(index, action, label, reason, of)

    def drop_leak(self, index: int, others: Sequence[int], alike: str) -> None:
        """Leave an image out where one of its copies is kept in a later split."""
        if index in self.removed:
            return
        codes = self.audit.split_codes
        for copy in others:
            if codes[copy] > codes[index] and (other := self._kept_for(copy)) is not None:
                reason = f"{alike} copy of a {self.audit.split_of(other)} face"
                self.remove(index, "drop", reason, of=other)
                return

    def _kept_for(self, index: int) -> int | None:
        """Return the image itself, or the one it became; None where it is left out."""
        change = self.removed.get(index)
        if change is None:
            return index
        return change.of if change.action == "merge" else None

    def merge(self, group: Indices) -> None:
        """Make one of copies within a split."""
        here = [index for index in group.tolist() if index not in self.removed]
        if len(here) < 2:
            return
        labels = [self.new_labels.get(index, int(self.audit.labels[index])) for index in here]
        (label, most), *others = Counter(labels).most_common(2)
        if others and others[0][1] == most:
            named = ", ".join(sorted(self.audit.classes[each] for each in set(labels)))
            for index in here:
                self.remove(index, "drop", f"copies are labelled {named}, none of them most often")
            return
        kept = here[labels.index(label)]
        for index in here:
            if index != kept:
                same = self.audit.exact.group_of[index] == self.audit.exact.group_of[kept]
                self.remove(index, "merge", f"{'exact' if same else 'near'} copy", of=kept)

    def changes(self) -> tuple[Change, ...]:
        relabelled = (
            self._change(
                index,
                "relabel",
                self.audit.classes[label],
                f"labelled {self.audit.class_of(index)}",
                None,
            )
            for index, label in self.new_labels.items()
            if index not in self.removed and label != self.audit.labels[index]
        )
        return tuple(sorted((*self.removed.values(), *relabelled), key=lambda change: change.index))

    def _change(
        self, index: int, action: Action, label: str, reason: str, of: int | None
    ) -> Change:
        name = str(self.audit.names[index])
        return Change(index=index, name=name, action=action, label=label, reason=reason, of=of)


def _empty(audit: Audit) -> Iterator[tuple[int, str]]:
    for index in audit.flat.tolist():
        yield index, "one flat colour"
    if audit.non_faces is not None:
        found = audit.non_faces
        for index, score in zip(found.flagged.tolist(), found.scores.tolist(), strict=False):
            yield index, f"no face: far from face space, face score {score:.3f}"


def _leaks(audit: Audit) -> Iterator[tuple[int, list[int], str]]:
    """Yield images with a copy in a later split, all its copies, and whether exact or near ones.

    The copies of the last split come first.
    """
    codes = audit.split_codes

    def latest_first(group: Indices) -> list[int]:
        return sorted(group.tolist(), key=lambda index: -int(codes[index]))

    members = {int(group[0]): latest_first(group) for group in audit.exact.members()}
    for group in members.values():
        yield from ((each, group, "exact") for each in group if codes[each] < codes[group[0]])
    if audit.near is None:
        return
    for pair in audit.near.pairs.tolist():
        # Of exact copies a pair names the first, which stands for all.
        first, second = (members.get(index, [index]) for index in pair)
        for these, others in ((first, second), (second, first)):
            yield from ((each, others, "near") for each in these if codes[each] < codes[others[0]])
