"""Parse YAML strictly: no key twice, no value that holds itself, and nothing larger than settings are."""

from __future__ import annotations

import re
from typing import Any

import yaml

from agwm.errors import ConfigError, shown

__all__ = ["parse_yaml"]

_TAG = "tag:yaml.org,2002:"
_DEEPEST, _MOST, _LONGEST = 20, 50_000, 1_000_000  # levels, values and characters
# Numbers that mean another one to YAML 1.1 than to their reader: 1:30 is 90, and 010 is 8.
_DOUBTFUL = re.compile(r"[-+]?0[0-9_]+|.*:.*")


def parse_yaml(text: str, source: str, name: str) -> Any:
    """Read YAML into dicts, lists, texts and numbers.

    ``1:30``, ``010`` and dates stay the texts that they are written as.

    Args:
        text: The YAML.
        source: Name of the file or flag, for messages.
        name: The same, short.

    Raises:
        ConfigError: If a mapping holds a key twice: YAML itself would take the last one silently. Or if it
            is too large: a short text may stand for a huge value, by names of values in one another.
        yaml.YAMLError: If it is not YAML; other classes too.
    """
    if len(text) > _LONGEST:
        raise ConfigError(
            f"Too much to read in {source}: expected at most {_LONGEST} characters, got {len(text)}."
            " Name another file."
        )
    loader = _Loader(text)
    loader.source, loader.name = source, name
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Loader that refuses a key written twice, and values that are too deep or too many.

    It looks before ``<<`` merges other keys in.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.source = ""
        self._depth = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # node -> its values and levels, aliases written out

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return a value, unless it is too large with all its aliases written out, or holds itself.

        Raises:
            ConfigError: If it is or does.
        """
        event = self.peek_event()
        line, is_alias = event.start_mark.line + 1, isinstance(event, yaml.AliasEvent)
        self._depth += 1
        self._check_size(0, self._depth, line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:  # its end is not read yet
            raise ConfigError(
                f"Value in line {line} of {self.source} holds itself: expected one that ends, got"
                f" {shown('*' + event.anchor)} inside of it. Write it out."
            )
        if not is_alias:
            self._sizes[id(node)] = self._measured(node)
        values, levels = self._sizes[id(node)]
        self._check_size(values, self._depth + levels, line)
        return node

    def _measured(self, node: Any) -> tuple[int, int]:
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        sizes = [self._sizes[id(part)] for part in inner]
        return 1 + sum(values for values, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)

    def _check_size(self, values: int, levels: int, line: int) -> None:
        """Raise if a value is too large.

        Raises:
            ConfigError: If it is.
        """
        for number, most, unit in ((values, _MOST, "values"), (levels, _DEEPEST, "levels")):
            if number > most:
                raise ConfigError(
                    f"Value in line {line} of {self.source} is too large: expected at most {most} {unit},"
                    " got more. Write less."
                )

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping, unless a key stands in it twice.

        Raises:
            ConfigError: If a key stands in it twice.
        """
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in first:
                raise ConfigError(
                    f"Key {shown(key.value)} stands twice in {self.source}: expected it once, got it in"
                    f" line {first[name]} and in line {line}. Remove one."
                )
            first[name] = line
        return node

    def number(self, node: Any) -> Any:
        """Return the number that a reader sees; what YAML reads as another one stays a text."""
        if _DOUBTFUL.fullmatch(text := str(self.construct_scalar(node))):
            return text
        is_whole = node.tag == f"{_TAG}int"
        return self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.number)
_Loader.add_constructor(f"{_TAG}timestamp", lambda loader, node: str(node.value))
