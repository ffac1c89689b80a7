"""What `import codiff` promises: adding or removing a name is a decision, and one for the changelog."""

import ast
import inspect
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest

import codiff

PACKAGE = Path(codiff.__file__).parent

EXPORTED = [
    "Additive",
    "AdditiveCollaborative",
    "AttributeClassifier",
    "Blended",
    "Collaborative",
    "CollaborativePipeline",
    "CollaborativePipelineOutput",
    "Collaborator",
    "Collaborators",
    "Composition",
    "Conditions",
    "Denoiser",
    "DenoiserOutput",
    "DynamicDiffuser",
    "DynamicDiffusers",
    "FaceParser",
    "Guidance",
    "GuidanceSum",
    "InfluenceBias",
    "InputError",
    "InputNotice",
    "Mean",
    "Modality",
    "StemAutoencoderKL",
    "Step",
    "Weighted",
    "cosine_decay",
    "denoising_loss",
    "generators",
    "linear_decay",
    "official_recipe",
    "sample",
    "sharpened",
    "strengthened",
]
SAVED = ["Collaborator", "Collaborators", "DynamicDiffuser", "DynamicDiffusers", "CollaborativePipeline"]


def documented_values() -> set[str]:
    """Module-level names that are assigned and explained by a string below, as functions are by their docstring."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for node, below in pairwise(body):
            if isinstance(node, ast.Assign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_the_list_is_as_agreed() -> None:
    assert codiff.__all__ == EXPORTED


def test_the_list_is_sorted_and_without_repetition() -> None:
    assert codiff.__all__ == sorted(set(codiff.__all__))


def test_a_star_import_gives_these_names() -> None:
    namespace: dict[str, object] = {}
    exec("from codiff import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(EXPORTED)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_name_is_documented(name: str) -> None:
    value = getattr(codiff, name)
    own = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    explained = inspect.isclass(value) or (inspect.isfunction(value) and value.__name__ == name)
    assert (own or "").strip() if explained else name in documented_values()


@pytest.mark.parametrize("name", [name for name in EXPORTED if inspect.isclass(getattr(codiff, name))])
def test_every_public_method_is_documented(name: str) -> None:
    members = vars(getattr(codiff, name)).items()
    functions = {
        member: inspect.unwrap(value) for member, value in members if inspect.isfunction(inspect.unwrap(value))
    }
    public = [member for member in functions if not member.startswith("_") or member == "__call__"]
    bare = [member for member in public if not inspect.getdoc(getattr(getattr(codiff, name), member))]
    assert bare == []


@pytest.mark.parametrize("name", SAVED)
def test_saved_classes_are_found_where_their_folders_say(name: str) -> None:
    assert getattr(codiff, name).__module__ == "codiff"


def test_version() -> None:
    assert codiff.__version__ == version("codiff")


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
