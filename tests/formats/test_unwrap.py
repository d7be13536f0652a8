import pytest

from deepseek.formats.unwrap import wrapper_prefix


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["module.a.weight", "module.b.weight"], "module."),
        (["_orig_mod.a.weight", "_orig_mod.b.weight"], "_orig_mod."),
        (["module._orig_mod.model.a.weight"], "module._orig_mod.model."),
        (["model.bert.a.weight", "model.classifier.weight"], "model."),
        (["model.model.layers.0.a", "model.lm_head.weight"], "model."),
        (["module.a.weight", "b.weight"], ""),
        (["model.a.weight", "head.weight"], ""),
        (["model.embed_tokens.weight", "model.layers.0.a"], ""),
        (["module.model.embed_tokens.weight", "module.model.norm.weight"], "module."),
        (["model.shared.weight", "model.encoder.a"], ""),
        (["modules.a", "modules.b"], ""),
        ([], ""),
    ],
)
def test_prefix_of_a_wrapper(names: list[str], prefix: str) -> None:
    assert wrapper_prefix(names, by_trainer=True) == prefix


def test_model_stays_where_no_trainer_wrote_the_names() -> None:
    names = ["_orig_mod.model.a", "_orig_mod.model.b"]
    assert wrapper_prefix(names, by_trainer=False) == "_orig_mod."
