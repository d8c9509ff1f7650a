"""The stubs say what the native module has, and every public name says what it is for."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import calyx
import pytest
from calyx import _native

STUB = Path(calyx.__file__).with_name("_native.pyi")


def in_stub() -> tuple[set[str], dict[str, dict[str, list[str] | None]]]:
    """The names of the module's functions and data, and each class's members with their arguments."""
    names: set[str] = set()
    classes: dict[str, dict[str, list[str] | None]] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = {
                member.name: None if member.decorator_list else [argument.arg for argument in member.args.args]
                for member in node.body
                if isinstance(member, ast.FunctionDef)
            }
    return names, classes


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_stub_lists_every_name_of_the_native_module_and_no_other() -> None:
    names, classes = in_stub()
    assert public(_native) | {"__version__"} == names | set(classes)
    for name, members in classes.items():
        assert public(getattr(_native, name)) == set(members)


def test_the_stub_names_the_arguments_as_they_are() -> None:
    for name, members in in_stub()[1].items():
        for member, arguments in members.items():
            if arguments is None:
                continue
            signature = (getattr(_native, name).__dict__[member].__doc__ or "").split("\n")[0]
            given = re.sub(r"\[[^()]*?\]", "", signature[signature.index("(") + 1 : signature.rindex(")")])
            assert [one.split(":")[0].strip() for one in given.split(", ") if ":" in one] == arguments, member


NOT_DOCUMENTED_BY_THEMSELVES = {"Amount", "KEEP", "Operation", "__version__"}  # values, not classes or functions


@pytest.mark.parametrize("name", sorted(set(calyx.__all__) - NOT_DOCUMENTED_BY_THEMSELVES))
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(calyx, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if member.startswith("_") or not (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                continue
            if name == "IssuedKey" and member == "id":
                continue
            assert inspect.getdoc(value), f"{name}.{member}"
            if inspect.isfunction(value):
                signature = inspect.signature(value)
                assert signature.return_annotation is not inspect.Signature.empty, f"{name}.{member}"


def test_the_package_says_that_it_is_typed() -> None:
    assert STUB.with_name("py.typed").exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+", calyx.__version__)
