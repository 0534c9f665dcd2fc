"""Preprocessing is written alike on the command line, in a recipe and in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxprune.data.preprocess import Preprocess
from onnxprune.errors import UsageError
from onnxprune.grammar import parse_options
from onnxprune.options import Size
from onnxprune.recipe import Recipe

IMAGENET = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=Size(224, 224), layout="nchw")


@pytest.mark.parametrize(
    "text",
    [
        "mean=0.485,0.456,0.406,std=0.229,0.224,0.225,size=224,layout=nchw",
        "mean=0.485:mean=0.456:mean=0.406:std=0.229,0.224,0.225:size=224x224:layout=nchw",
        " size = 224 , layout=nchw, mean='0.485', 0.456, 0.406, std=0.229 ,0.224,0.225 ",
    ],
)
def test_a_list_is_written_with_commas_or_a_key_for_each(text: str) -> None:
    assert Preprocess.of(text) == IMAGENET


def test_a_table_and_an_object_say_the_same() -> None:
    table = {"mean": [0.485, 0.456, 0.406], "std": (0.229, 0.224, 0.225), "size": 224, "layout": "nchw"}
    assert Preprocess.of(table) == Preprocess.of(IMAGENET) == IMAGENET
    assert Preprocess.of("") == Preprocess.of({}) == Preprocess()
    assert Preprocess.of({"mean": 0.5, "size": "240x320"}) == Preprocess(mean=(0.5,), size=Size(240, 320))
    assert hash(IMAGENET) == hash(Preprocess.of(IMAGENET))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5,mean=1", "cannot read '0.5,mean=1' in '0.5,mean=1': the form is key=value,key=value,value"),
        ("mean=0.5,,std=1", "cannot read ',std=1'"),
        ("mean", "cannot read 'mean'"),
        ("mena=0.5", "preprocess: no option 'mena'; did you mean 'mean'?"),
        ("mean=high", "preprocess: option 'mean' cannot be 'high'; it takes a number"),
        ("mean=nan", "preprocess: option 'mean' cannot be 'nan'"),
        ("std=0", "preprocess: option 'std' divides; it cannot be 0 or less"),
        ("scale=0", "preprocess: option 'scale' cannot be 0"),
        ("scale=1,255", "preprocess: option 'scale' is given twice"),
        ("size=0", "preprocess: option 'size' cannot be '0'; it takes a size as 224 or 240x320 (height x width)"),
        ("size=224x", "option 'size' cannot be '224x'"),
        ("size=-1", "option 'size' cannot be '-1'"),
        ("layout=hwc", "preprocess: option 'layout' cannot be 'hwc'; it takes one of nchw, nhwc, or none"),
        ("order=grb", "preprocess: option 'order' cannot be 'grb'; it takes one of rgb, bgr"),
        ("resize=256,fit=pad", "preprocess: option 'resize' says what is cropped, which fit=pad is not"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Preprocess.of(text)
    assert message in str(caught.value)


def test_options_keep_their_order_and_their_texts() -> None:
    assert parse_options("b=1,2,a='x,y'") == {"b": ["1", "2"], "a": ["x,y"]}


def test_a_recipe_holds_it_and_the_labels(tmp_path: Path) -> None:
    text = """schema = 1
        calib = "photos"
        test = "random"
        labels = "labels.csv"
        [preprocess]
        mean = [0.485, 0.456, 0.406]
        std = [0.229, 0.224, 0.225]
        size = 224
        layout = "nchw"
    """
    (tmp_path / "a.toml").write_text(text)
    recipe = Recipe.from_toml(tmp_path / "a.toml")
    assert (recipe.preprocess, recipe.test) == (IMAGENET, "random")
    assert (recipe.calib, recipe.labels) == (str(tmp_path / "photos"), str(tmp_path / "labels.csv"))
    (tmp_path / "b.toml").write_text(recipe.to_toml(tmp_path))
    assert Recipe.from_toml(tmp_path / "b.toml") == recipe


def test_a_recipe_of_nothing_but_defaults_still_says_that_there_is_preprocessing(tmp_path: Path) -> None:
    recipe = Recipe(preprocess=Preprocess(), labels="off")
    (tmp_path / "a.toml").write_text(recipe.to_toml(tmp_path))
    assert Recipe.from_toml(tmp_path / "a.toml") == recipe


def test_a_recipe_names_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("schema = 1\n[preprocess]\nmeen = 1\n")
    with pytest.raises(UsageError, match=r"a.toml: preprocess: no option 'meen'; did you mean 'mean'\?"):
        Recipe.from_toml(tmp_path / "a.toml")
