"""Authors' modules: found under the paths given to `headgate`, loaded, and the workflows in them collected.

A path is a Python file, a folder (every .py file in it and in its packages), or a module's dotted name. There is no
registry: a workflow is found because a module holds it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Final

from headgate.definition import Workflow
from headgate.errors import HeadgateError

OURS: Final = ("app", "connectors", "headgate", "topics")
_IGNORED: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages"})


class LoadError(HeadgateError):
    """A path holds no workflows, or a module cannot be loaded. Names the path, the fact and the remedy."""

    exit_code: Final = 2  # of the command that it ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Workflows by id, and the files that they and their neighbours came from."""

    workflows: tuple[Workflow, ...]
    files: frozenset[Path]


def load(paths: Sequence[str]) -> Loaded:
    """Load every path. Raises LoadError and DefinitionError; two workflows with one id are an error that names both."""
    found: dict[str, Workflow] = {}
    files: set[Path] = set()
    for path in paths:
        modules = list(_modules(path))
        files.update(Path(one.__file__).resolve() for one in modules if one.__file__)
        for workflow in _collect(modules):
            other = found.setdefault(workflow.id, workflow)
            if other is not workflow and _place(other) != _place(workflow):
                raise LoadError(
                    f"two workflows have the id {workflow.id!r}: {_place(other)} and {_place(workflow)}; rename one"
                )
    if paths and not found:
        raise LoadError(
            f"no workflow in {', '.join(map(str, paths))}: put @workflow on a function there, or name another path"
        )
    return Loaded(workflows=tuple(sorted(found.values(), key=lambda one: one.id)), files=frozenset(files))


def files_of(paths: Sequence[str]) -> frozenset[Path]:
    """Return the Python files that `load(paths)` would look at, to watch them for changes."""
    found: set[Path] = set()
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found.update(_python_files(path))
        elif path.exists():
            found.update((path, *path.parent.glob("*.py")))
        else:
            found.update(_files_by_name(text))
    return frozenset(one.resolve() for one in found)


def load_anew(paths: Sequence[str]) -> Loaded:
    """Load every path as `load` does, and what lies beside as well: a changed module may be one that is imported."""
    files = files_of(paths)
    folders = {one.parent for one in files}
    for name in [name for name, module in sys.modules.items() if _is_of(module, files, folders)]:
        if name != "__main__":
            del sys.modules[name]
    importlib.invalidate_caches()
    return load(paths)


def check(text: str) -> None:
    """Raise LoadError when `text` can be no path of workflows, whatever the files hold. Loads nothing."""
    if Path(text).exists() or _is_name(text):
        return
    raise LoadError(f"there is no file or folder {text}, and it is no module's name; check the spelling")


def stamps(paths: Sequence[str]) -> dict[Path, int]:
    """Return when each of `files_of(paths)` was changed: another answer means that something is to be loaded anew."""
    found: dict[Path, int] = {}
    for one in files_of(paths):
        with suppress(FileNotFoundError):  # an editor replaces a file by removing it first
            found[one] = one.stat().st_mtime_ns
    return found


def _modules(text: str) -> Iterator[ModuleType]:
    path = Path(text)
    if path.is_file():
        if path.suffix != ".py":
            raise LoadError(f"{text} is not a Python file: name a .py file, a folder or a module")
        yield _from_file(path)
    elif path.is_dir():
        files = sorted(_python_files(path))
        if not files:
            raise LoadError(f"there is no .py file in {text}: put your workflows there, or name another path")
        for one in files:
            yield _from_file(one)
    else:
        check(text)
        yield _by_name(text)


def _python_files(folder: Path) -> Iterator[Path]:
    for one in folder.iterdir():
        if one.name.startswith(".") or one.name in _IGNORED:
            continue
        if one.is_dir():
            if (one / "__init__.py").exists():
                yield from _python_files(one)
        elif one.suffix == ".py" and not one.name.startswith("test_"):
            yield one


def _files_by_name(name: str) -> Iterator[Path]:
    """Yield the files of a module's outermost package, or the module's own and its neighbours. Imports nothing."""
    top, *inner = name.split(".")
    if not _is_name(name) or top in OURS:
        return
    _allow(Path.cwd())
    spec = None
    with suppress(ValueError):  # of a module that was not imported, such as __main__
        spec = importlib.util.find_spec(top)
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.has_location:
            yield from _with_neighbours(Path(spec.origin or ""))
        return
    for folder in map(Path, spec.submodule_search_locations):
        places = list(accumulate(inner, Path.joinpath, initial=folder))
        package = next((one for one in places if (one / "__init__.py").exists()), None)
        if package is not None:
            yield from _python_files(package)
        if inner:
            yield from _with_neighbours(places[-1].with_suffix(".py"))


def _with_neighbours(file: Path) -> Iterator[Path]:
    if file.is_file():
        yield file
        if file.parent.name not in _IGNORED:
            yield from file.parent.glob("*.py")


def _from_file(path: Path) -> ModuleType:
    """Load one file under a name of its own, so that no two files clash, and let it import its neighbours."""
    path = path.resolve()
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    if path.stem == "__init__" or root != path.parent:
        return _by_name(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"), root)
    _allow(root)
    name = f"headgate_workflows.{path.stem}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except HeadgateError:
        raise
    except (Exception, SystemExit) as error:
        raise LoadError(f"{path} cannot be loaded: {type(error).__name__}: {error}{_where(error, path)}") from error
    return module


def _by_name(name: str, root: Path | None = None) -> ModuleType:
    if name.split(".", maxsplit=1)[0] in OURS:
        where = "" if root is None else f" ({root})"
        raise LoadError(
            f"the module {name!r}{where} has the name of a package of Headgate's own; rename the file or folder"
        )
    _allow(root or Path.cwd())
    try:
        return importlib.import_module(name)
    except HeadgateError:
        raise
    except ModuleNotFoundError as error:
        if error.name == name or name.startswith(f"{error.name}."):
            raise LoadError(f"there is no file, folder or module {name!r}; check the spelling") from error
        raise LoadError(f"module {name!r} imports {error.name!r}, which is not installed") from error
    except (Exception, SystemExit) as error:
        raise LoadError(f"module {name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def _is_of(module: ModuleType, files: Set[Path], folders: Set[Path]) -> bool:
    """Say whether a module came from one of `files`, or is a package without __init__.py that holds such modules."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return Path(file).resolve() in files
    return file is None and any(Path(one).resolve() in folders for one in getattr(module, "__path__", ()))


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _allow(root: Path) -> None:
    text = str(root)
    if text not in sys.path:
        sys.path.append(text)  # at the end: an author's file never takes the place of an installed package


def _where(error: BaseException, path: Path) -> str:
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" (line {line})"


def _collect(modules: Iterable[ModuleType]) -> Iterator[Workflow]:
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, Workflow):
                yield value


def _place(workflow: Workflow) -> str:
    return f"{workflow.source_file}:{workflow.source_line}"
