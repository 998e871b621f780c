"""YAML text into plain values, in which a key stands once."""

from __future__ import annotations

from typing import Any

import yaml

from agwm.errors import ConfigError

__all__ = ["read_yaml_text"]

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml_text(text: str, source: str) -> Any:
    """Read YAML into dicts, lists, texts and numbers.

    Args:
        text: The YAML.
        source: Where it comes from, for messages.

    Raises:
        ConfigError: If a mapping holds a key twice, of which YAML itself would take the last.
        yaml.YAMLError: If it is not YAML.
    """
    loader = _Loader(text)
    loader.name = source
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Looks at mappings as they are written: later, keys merged in by ``<<`` would stand among them."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Return a mapping, unless a key stands in it twice."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in first:
                raise ConfigError(
                    f"Key {key.value!r} stands twice in {self.name}: expected it once, got it in line"
                    f" {first[name]} and in line {line}. Remove one."
                )
            first[name] = line
        return node
