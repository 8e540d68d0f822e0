import re
from pathlib import Path

import pytest

from mien.errors import RecipeError
from mien.models import count_parameters
from mien.models.plain import PlainNetConfig
from mien.models.residual import ResidualNetConfig
from mien.training.figures import recipe_names
from mien.training.recipe import Recipe
from mien.training.recipe_file import load_recipe, override_recipe, recipe_from_dict


@pytest.mark.parametrize("name", recipe_names())
def test_every_packaged_recipe_parses_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)

    assert recipe.name == name
    assert recipe.title


#: What each report gives, as overrides: what it leaves open is ours, and may change.
UNIT = ["data.scaling=unit", "data.fraction=1", "data.balance=0"]
ADAM = ["optimizer.name=adam", "optimizer.lr=0.001", "optimizer.switch_epoch=0"]
BALANCED = [
    *ADAM,
    *("epochs=50", "batch_size=64", "patience=10", "data.balance=5000"),
    *("data.scaling=standardise", "model.name=plain", "model.norm=true"),
    *("model.convolutions=[2, 2, 1]", "model.block_dropout=0.25"),
    *("schedule.name=plateau", "schedule.factor=0.2", "schedule.plateau_epochs=5"),
]
REPORTED = {
    "vgg": [
        *UNIT,
        *("optimizer.name=adam", "loss.name=cross_entropy", "patience=50"),
        *("schedule.name=plateau", "schedule.factor=0.5", "schedule.plateau_epochs=3"),
        *("model.name=plain", "model.norm=true"),
        *("augment.flip=0.5", "augment.rotation_deg=10", "augment.scale=0.1"),
    ],
    "cnn-70": [
        *("data.fraction=0.7", "data.clean=true"),
        *("model.name=plain", "model.norm=true", "optimizer.name=adam", "augment.flip=0.5"),
    ],
    "balanced-large": [
        *BALANCED,
        *("model.widths=[64, 128, 256]", "model.dense=[512]", "model.dropout=0.5"),
    ],
    "balanced-light": [*BALANCED, "model.dropout=0.4"],
    "basic-cnn": [
        *(*UNIT, *ADAM, "patience=5", "model.name=plain"),
        *("model.widths=[32, 64]", "model.dense=[128]"),
    ],
    "deep-cnn": [
        *(*UNIT, *ADAM, "patience=5", "model.name=plain", "model.norm=true"),
        *("model.widths=[32, 64, 128]", "model.convolutions=[2, 2, 2]", "model.dense=[512]"),
    ],
    "resnet50": [
        *(*UNIT, *ADAM, "patience=5", "frozen=true", "model.name=timm", "model.size=224"),
        *("model.backbone=resnet50", "model.pretrained=true"),
        *("model.dense=[256]", "model.dropout=0.5"),
    ],
}


@pytest.mark.parametrize("name", REPORTED)
def test_a_recipe_is_as_its_report_says(name: str) -> None:
    assert load_recipe(name) == load_recipe(name, REPORTED[name])


def test_the_class_balanced_recipes_have_the_sizes_reported() -> None:
    light, large = (
        count_parameters(load_recipe(name).network.build(7))
        for name in ("balanced-light", "balanced-large")
    )

    assert 1.45e6 < light < 1.55e6
    assert 5e6 < large < 5.5e6


def test_the_convolutions_of_cnn_70_and_vgg_grow() -> None:
    for name in ("cnn-70", "vgg"):
        model = load_recipe(name).network
        assert isinstance(model, PlainNetConfig)
        assert list(model.widths) == sorted(set(model.widths))
        assert model.dropout > 0


def test_mien_s_is_packaged() -> None:
    assert "mien-s" in recipe_names()


def test_a_recipe_survives_being_written(tmp_path: Path) -> None:
    recipe = load_recipe(
        "residual", ["optimizer.lr=0.02", "model.widths=[8, 16]", "model.blocks=1"]
    )
    path = tmp_path / "residual.toml"
    path.write_text(recipe.to_toml())

    assert load_recipe(path) == recipe
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_overrides_reach_into_tables() -> None:
    recipe = load_recipe("residual", ["epochs=3", "schedule.name=linear", "optimizer.lr=1"])

    assert (recipe.epochs, recipe.schedule.name, recipe.optimizer.lr) == (3, "linear", 1.0)


@pytest.mark.parametrize(("text", "blocks"), [("1", 1), ("[1, 2, 1, 2]", (1, 2, 1, 2))])
def test_blocks_are_one_number_or_one_a_stage(text: str, blocks: int | tuple[int, ...]) -> None:
    recipe = load_recipe("residual", [f"model.blocks={text}"])

    assert recipe.to_dict()["model"]["blocks"] == blocks
    assert recipe_from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "unknown key 'epoch': did you mean 'epochs'"),
        ("optimizer.lrate=3", "unknown key 'optimizer.lrate': did you mean 'optimizer.lr'"),
        ("model.name=residul", "unknown model 'residul': did you mean 'residual'"),
        ("model.width=[3]", "did you mean 'model.widths'"),
        ("epochs=many", "epochs: expected a whole number, got 'many'"),
        ("epochs=true", "epochs: expected a whole number, got True"),
        ("epochs=0", "epochs: expected 1 or more, got 0"),
        ("optimizer.name=lion", "optimizer.name: expected 'sgd' or 'adam' or 'adamw'"),
        ("optimizer=3", "optimizer: expected a table, got 3"),
        ("augment.erase_area=[0.1]", "augment.erase_area: expected"),
        ("augment.flip=2", "augment.flip: expected 0 to 1, got 2.0"),
        ("refine.flip=2", "refine.flip: expected 0 to 1, got 2.0"),
        ("epochs.more=2", "epochs is a value, not a table"),
        ("epochs", "is not key=value"),
        ("model=residual", "model: expected a table, got 'residual'"),
        ("model.name=[1]", "unknown model '[1]'"),
        ("model_name=residual", "did you mean 'model.name'"),
        ("model.widths=[]", "model.widths: expected channels of 1 or more"),
        ("model.widths=[0]", "model.widths: expected channels of 1 or more"),
        ("model.blocks=two", "model.blocks: expected a whole number or a list, got 'two'"),
        ("model.blocks=[1, 2]", "model.blocks: expected 1 or more, or 4 such numbers"),
        ("data.classes=[happy]", "expected a list, got '[happy]'; quote it for the shell"),
        ("model.dropout=2", "model.dropout: expected 0 up to 1"),
        ("loss.class_margins=['fear']", "a class and a number, as \"fear=0.2\", got 'fear'"),
        ("loss.class_margins=['fear=nan']", "a class and a number"),
        ("loss.class_margins=['sad=1', 'sad=2']", "loss.class_margins: expected each class once"),
        ("name=other", "copy the file under another"),
        (f"optimizer.lr={'9' * 400}", "optimizer.lr: expected a number"),
        ("optimizer.lr=inf", "optimizer.lr: expected a number, got inf"),
        ("optimizer.momentum=-1", "optimizer.momentum: expected 0 up to 1"),
        ("augment.rotation_deg=nan", "augment.rotation_deg: expected a number, got nan"),
        ("patience=-1", "patience: expected 0 to 2^32"),
        (f"model.widths={'[' * 5000}", "model.widths: expected"),
        ("data.train=Train", "unknown split 'Train'"),
        ("data.validation=Training", "choose two splits"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=r"^[^\n]+$") as error:
        load_recipe("residual", [override])

    assert message in str(error.value)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'mien-s'"):
        load_recipe("mien_s")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("epochs = ")
    with pytest.raises(RecipeError, match="not a readable TOML file"):
        load_recipe(broken)


def test_how_the_last_epochs_vary_faces_asks_for_their_number() -> None:
    with pytest.raises(RecipeError, match=r"\[refine\] .* say how many by refine_epochs"):
        recipe_from_dict({"refine": {"scale": 0.1}})

    assert recipe_from_dict({"refine": {"scale": 0.1}, "refine_epochs": 1}).refine.flip == 0.5


def test_defaults_are_a_whole_recipe() -> None:
    assert recipe_from_dict({}) == Recipe()


def test_every_option_named_in_the_docs_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    table = text.partition("## Every key")[0]
    settings = re.findall(r"`([a-z_]+\.[a-z_]+) = ([^`]+)`", table)
    assert len(settings) > 15

    for key, value in settings:
        model = "timm" if key == "model.backbone" else "plain"
        (tmp_path / "base.toml").write_text(
            f'[data]\nscaling = "unit"\n[model]\nname = "{model}"\n'
        )
        load_recipe(tmp_path / "base.toml", [f"{key}={value}"])


def test_any_text_survives_being_written(tmp_path: Path) -> None:
    recipe = recipe_from_dict({"name": "odd", "title": 'a \U0001f600 "q" \\ \x7f \t é'})
    (tmp_path / "odd.toml").write_text(recipe.to_toml(), "utf-8")

    assert load_recipe(tmp_path / "odd.toml") == recipe


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pipeline-cnn", ["progressive.epochs=1"], "48 with this network"),
        (
            "pipeline-cnn",
            ["progressive.epochs=1", "model.pooling=average", "progressive.size=16"],
            "",
        ),
        ("residual", ["progressive.epochs=-1"], "0 or more"),
        ("resnet50", ["data.scaling=standardise"], "'unit' with timm"),
        ("resnet50", ["progressive.epochs=1"], "48 with this network"),
        ("vgg", ["optimizer.switch_epoch=60"], "below 60"),
        (
            "residual",
            [
                "optimizer.switch_epoch=40",
                "schedule.restart_epochs=[50]",
                "schedule.restart_factors=[0.5]",
            ],
            "where the optimiser is switched",
        ),
        ("hog-svm", ["optimizer.lr=0.1"], "means nothing to hog_svm"),
        ("hog-svm", ["data.sampling=balanced"], "means nothing to hog_svm"),
        ("hog-svm", ["data.fraction=0.5"], ""),
    ],
)
def test_what_has_no_effect_together_is_refused(
    name: str, settings: list[str], message: str
) -> None:
    if not message:
        load_recipe(name, settings)
        return
    with pytest.raises(RecipeError, match=message):
        load_recipe(name, settings)


def test_another_network_leaves_the_options_of_the_one_before() -> None:
    changed = load_recipe("vgg", ["model.name=residual", "model.widths=[8, 16]", "model.blocks=1"])

    assert changed.model == ResidualNetConfig(widths=(8, 16), blocks=1)
    assert (changed.epochs, changed.optimizer) == (60, load_recipe("vgg").optimizer)
    same = load_recipe("vgg", ["model.name=plain", "model.dropout=0.1"])
    assert same == load_recipe("vgg", ["model.dropout=0.1"])


def test_another_kind_of_model_has_epochs_of_its_own() -> None:
    network = override_recipe(load_recipe("hog-svm"), ["model.name=plain"])
    assert network.epochs == Recipe().epochs
    assert override_recipe(load_recipe("hog-svm"), ["model.name=pca_knn"]).epochs == 1
