"""Every public name is documented in full: arguments, result, errors, shapes, dtypes, units, and an example that runs.

Public are the names that a package of ``PACKAGES`` lists in ``__all__``, the names on the API page of the documentation, and the public
methods of all of these. Sources are parsed, not imported, because some need PyTorch or Ray. The extension's signatures come from its
stub, its docstrings from the extension.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from turnout import _core

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "python"
PACKAGES = ("turnout", "turnout.calibrate", "turnout.conversation", "turnout.data", "turnout.evaluate")
STUB = "turnout._core"
#: Words that state the unit of a number whose name ends like this.
UNITS = {
    "_us": "microsecond",
    "_ms": "millisecond",
    "_s": "second",
    "_bytes": "byte|memory",
    "_tokens": "token",
    "_usd": "dollar",
}
ARRAY = re.compile(r"\b(NDArray|ArrayLike|Floats)\b")
DTYPE = re.compile(r"\b(float(16|32|64)?|u?int(8|16|32|64)|bool)\b")
SHAPE = re.compile(r"\[[^\]]+\]|\bscalar\b")
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Examples?|Note|Notes|References):$", re.MULTILINE)
ENTRY = re.compile(r"^    (\*{0,2}\w+)(?: \([^)]*\))?:", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Documented:
    """A public function, method or class with its docstring."""

    name: str
    node: Function | ast.ClassDef
    text: str
    is_top_level: bool

    def sections(self) -> dict[str, str]:
        return split(self.text, SECTION)


def split(text: str, heading: re.Pattern[str]) -> dict[str, str]:
    """The parts of a text by their headings; a heading is the pattern's first group."""
    found = list(heading.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return {match[1]: text[match.end() : end] for match, end in zip(found, ends, strict=False)}


def entries(section: str) -> dict[str, str]:
    """Texts of the entries of ``Args`` or ``Raises`` by name."""
    return {name.lstrip("*"): text for name, text in split(section, ENTRY).items()}


def source_of(module: str) -> ast.Module:
    path = PYTHON.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".pyi"), path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return ast.parse(candidate.read_text(encoding="utf-8"))
    raise FileNotFoundError(path)


def definition(module: str, name: str) -> tuple[str, ast.AST]:
    """Where a name is defined: imports are followed, those for type checkers too."""
    for node in ast.walk(source_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module and any((a.asname or a.name) == name for a in node.names):
            return definition(node.module, name)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
            if any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list):
                continue
            return module, node
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return module, node
    raise LookupError(f"{module} has no {name}")


def exported(module: str) -> list[str]:
    for node in source_of(module).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    raise LookupError(f"{module} has no __all__")


def docstring(module: str, node: Function | ast.ClassDef, owner: str | None) -> str:
    if module != STUB:
        return ast.get_docstring(node) or ""
    running = getattr(_core, owner) if owner else _core
    return inspect.getdoc(getattr(running, node.name)) or ""


def documented() -> Iterator[Documented]:
    names = [(package, name) for package in PACKAGES for name in exported(package)]
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    names += [tuple(name.rsplit(".", 1)) for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]  # type: ignore[misc]
    seen = set()
    for package, name in names:
        module, node = definition(package, name)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or (module, name) in seen:
            continue
        seen.add((module, name))
        yield Documented(f"{module}.{name}", node, docstring(module, node, None), True)
        for member in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and not member.name.startswith("_"):
                text = docstring(module, member, name)
                yield Documented(f"{module}.{name}.{member.name}", member, text, False)


def parameters(node: Function) -> dict[str, str]:
    """Annotations of the parameters by name, without ``self`` and ``cls``."""
    arguments = node.args
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += [one for one in (arguments.vararg, arguments.kwarg) if one]
    return {
        one.arg: ast.unparse(one.annotation) if one.annotation else ""
        for one in found
        if one.arg not in ("self", "cls")
    }


def is_property(node: Function) -> bool:
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"property", "cached_property"})


def raises(node: Function) -> bool:
    return any(isinstance(inner, ast.Raise) and inner.exc is not None for inner in ast.walk(node))


def is_exception(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and node.name.endswith("Error")


def faults(one: Documented) -> Iterator[str]:
    """What the documentation of a public name lacks."""
    if not one.text:
        yield "no docstring"
        return
    sections = one.sections()
    if one.is_top_level and not is_exception(one.node) and ">>>" not in one.text and "Example::" not in one.text:
        yield "no example"
    if isinstance(one.node, ast.ClassDef):
        yield from class_faults(one, sections)
        return
    described = entries(sections.get("Args", ""))
    yield from argument_faults(parameters(one.node), described)
    result = ast.unparse(one.node.returns) if one.node.returns else "None"
    stated = sections.get("Returns", sections.get("Yields", "")) or (one.text if is_property(one.node) else "")
    if result not in ("None", "NoReturn") and not stated:
        yield "no Returns"
    if ARRAY.search(result) and stated and not (DTYPE.search(stated) and SHAPE.search(stated)):
        yield "Returns: no dtype or shape"
    if raises(one.node) and not entries(sections.get("Raises", "")):
        yield "no Raises"


def argument_faults(wanted: dict[str, str], described: dict[str, str]) -> Iterator[str]:
    for name, annotation in wanted.items():
        text = described.get(name)
        if text is None:
            yield f"Args: {name} is missing"
            continue
        refers = ":meth:" in text or ":func:" in text
        if ARRAY.search(annotation) and not refers and not (DTYPE.search(text) and SHAPE.search(text)):
            yield f"Args: {name} is an array without dtype or shape"
        for suffix, unit in UNITS.items():
            if name.endswith(suffix) and not refers and not re.search(unit, text, re.IGNORECASE):
                yield f"Args: {name} has no unit"
    for name in described.keys() - wanted.keys():
        yield f"Args: {name} is not a parameter"


def class_faults(one: Documented, sections: dict[str, str]) -> Iterator[str]:
    assert isinstance(one.node, ast.ClassDef)
    attributes = entries(sections.get("Attributes", ""))
    described = {**entries(sections.get("Args", "")), **attributes}
    for member in one.node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            wanted = parameters(member)
            yield from argument_faults(
                wanted, {name: text for name, text in described.items() if name in wanted or name not in attributes}
            )
    source = PYTHON.joinpath(*one.name.split(".")[:-1])
    path = source.with_suffix(".py") if source.with_suffix(".py").is_file() else source / "__init__.py"
    if one.name.startswith(STUB):
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    following = [*one.node.body[1:], None]
    for member, after in zip(one.node.body, following, strict=True):
        if not isinstance(member, ast.AnnAssign) or not isinstance(member.target, ast.Name):
            continue
        name = member.target.id
        has_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        has_comment = lines[member.lineno - 2].lstrip().startswith("#")
        if not name.startswith("_") and name not in described and not has_text and not has_comment:
            yield f"field {name} is not described"


ALL = list(documented())


@pytest.mark.parametrize("one", ALL, ids=[one.name for one in ALL])
def test_a_public_name_is_documented_in_full(one: Documented) -> None:
    assert not list(faults(one))


def test_the_examples_of_the_extension_run() -> None:
    """pytest collects doctests of Python files only."""
    runner = doctest.DocTestRunner(verbose=False)
    found = [one for name in _core.__all__ for one in examples(getattr(_core, name), name)]
    for example in found:
        runner.run(example)
    assert len(found) >= 10
    assert runner.summarize(verbose=False).failed == 0


def examples(thing: object, name: str) -> Iterator[doctest.DocTest]:
    members = vars(thing).items() if inspect.isclass(thing) else ()
    for label, one in [(name, thing), *((f"{name}.{member}", value) for member, value in members)]:
        text = getattr(one, "__doc__", None)
        if isinstance(text, str) and ">>>" in text:
            yield doctest.DocTestParser().get_doctest(inspect.cleandoc(text), {}, label, None, None)
