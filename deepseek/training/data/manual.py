"""Text that every Python has: the topics of its own manual."""

import pydoc_data.topics

__all__ = ["manual_texts"]


def manual_texts() -> list[str]:
    """One document a topic, in the order of their names."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return [topics[name] for name in sorted(topics)]
