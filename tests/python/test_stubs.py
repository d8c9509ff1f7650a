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


#: A signature: each argument's name and type, and whether the answer is one of our own classes.
Signature = list[tuple[str, str]]


def of_stub(node: ast.FunctionDef) -> Signature:
    """What the stub says, in pybind11's words as far as it has them: what is no plain type is an object to it."""

    def word(annotation: ast.expr | None) -> str:
        said = "" if annotation is None else ast.unparse(annotation)
        said = said.replace("str | bytes", "str").replace("dict[str, Any] | None", "dict | None")
        lists = {"list[str]", "list[tuple[str, str]]", "list[tuple[str, int]]", "tuple[bool, bool, list[int]]"}
        plain = {"str", "int", "bool", "bytes", "dict", *lists}
        if said.removesuffix(" | None") in plain:
            return said
        return {
            "dict[str, Any]": "dict",
            "list[dict[str, Any]]": "list[dict]",
            "list[tuple[Any, ...]]": "list[tuple]",
        }.get(said, "function or object")

    return [(one.arg, word(one.annotation)) for one in node.args.args if one.arg != "self"]


def of_native(function: object) -> Signature:
    """What pybind11 writes into the first line of a function's documentation."""
    first = (function.__doc__ or "").split("\n")[0]
    arguments = first[first.index("(") + 1 : first.rindex(") ->")]
    found = []
    for one in re.findall(r"(\w+): ((?:[^,\[]|\[(?:[^\[\]]|\[[^\]]*\])*\])+)(?:, |$)", arguments):
        kind = one[1].replace("List", "list").replace("Tuple", "tuple")
        kind = re.sub(r"^Optional\[(.*)\]$", r"\1 | None", kind)
        found.append((one[0], "function or object" if kind in ("object", "function") else kind))
    return [(name, kind) for name, kind in found if name != "self"]


def in_stub() -> tuple[dict[str, Signature | None], dict[str, dict[str, Signature | None]]]:
    """The module's functions and data, and each class's members, with their signatures (None: no function)."""
    names: dict[str, Signature | None] = {}
    classes: dict[str, dict[str, Signature | None]] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names[node.name] = of_stub(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = None
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = {
                member.name: None if member.decorator_list else of_stub(member)
                for member in node.body
                if isinstance(member, ast.FunctionDef)
            }
    return names, classes


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_stub_lists_every_name_of_the_native_module_and_no_other() -> None:
    names, classes = in_stub()
    assert public(_native) | {"__version__"} == set(names) | set(classes)
    for name, members in classes.items():
        assert public(getattr(_native, name)) == set(members)


def test_the_stub_has_every_signature_as_it_is() -> None:
    names, classes = in_stub()
    compared = 0
    for owner, members in [(_native, names), *((getattr(_native, name), members) for name, members in classes.items())]:
        for member, signature in members.items():
            if signature is None:
                continue
            assert of_native(vars(owner)[member]) == signature, member
            compared += 1
    assert compared > 40


NOT_DOCUMENTED_BY_THEMSELVES = {"Amount", "KEEP", "Operation", "__version__"}  # values, not classes or functions


@pytest.mark.parametrize("name", sorted(set(calyx.__all__) - NOT_DOCUMENTED_BY_THEMSELVES))
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(calyx, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if member.startswith("_") or not (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                continue
            assert inspect.getdoc(value), f"{name}.{member}"
            if inspect.isfunction(value):
                signature = inspect.signature(value)
                assert signature.return_annotation is not inspect.Signature.empty, f"{name}.{member}"


def test_the_package_says_that_it_is_typed() -> None:
    assert STUB.with_name("py.typed").exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+", calyx.__version__)
