"""Launch XML to a plan. What is not known, misspelt or out of place is an error with file and line, never skipped.

Scoping is the real launch's: `let` and an included file's arguments set configurations of the surrounding scope; only a scoped
group (the default) restores them at its end.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from apprentice_workflows.launch_files.plan import Argument, LaunchError, LaunchPlan, NodePlan, ParameterValue
from apprentice_workflows.launch_files.substitution import substitute
from apprentice_workflows.launch_files.xml_tree import Element, read_xml

CONDITIONS = {"if", "unless"}
ATTRIBUTES: dict[str, tuple[set[str], set[str]]] = {
    "launch": (set(), {"version"}),
    "arg": ({"name"}, {"default", "description"}),
    "choice": ({"value"}, set()),
    "let": ({"name", "value"}, CONDITIONS),
    "group": (set(), {"scoped", *CONDITIONS}),
    "push_ros_namespace": ({"namespace"}, CONDITIONS),
    "push-ros-namespace": ({"namespace"}, CONDITIONS),
    "include": ({"file"}, CONDITIONS),
    "node": ({"pkg", "exec"}, {"name", "namespace", "args", "ros_args", "output", "respawn", "respawn_delay", *CONDITIONS}),
    "param": (set(), {"name", "value", "type", "from"}),
    "remap": ({"from", "to"}, CONDITIONS),
    "env": ({"name", "value"}, set()),
}
"""tag to (required, allowed) attributes"""
CHILDREN = {
    "launch": {"arg", "let", "group", "include", "node", "push_ros_namespace", "push-ros-namespace"},
    "group": {"arg", "let", "group", "include", "node", "push_ros_namespace", "push-ros-namespace"},
    "arg": {"choice"},
    "include": {"arg", "let"},
    "node": {"param", "remap", "env"},
    "param": {"param"},
}
MAX_INCLUDES = 32
SCALARS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass
class _Scope:
    variables: dict[str, str]
    namespace: str = ""
    included: tuple[Path, ...] = field(default_factory=tuple)


def parse_launch(path: Path, arguments: Mapping[str, str] | None = None) -> LaunchPlan:
    """The plan of `path` with `arguments`; LaunchError names the file and line, and every argument that nothing declares."""
    given = dict(arguments or {})
    plan = LaunchPlan(path)
    _file(path, plan, _Scope(dict(given)))
    declared = {a.name for a in plan.arguments}
    unknown = sorted(set(given) - declared)
    if unknown:
        raise LaunchError(path, 1, f"no argument named {', '.join(unknown)}; known: {', '.join(sorted(declared)) or 'none'}")
    return plan


def declared_arguments(path: Path) -> list[Argument]:
    """What the file itself declares, for --show-args; needs no values."""
    root = _root(path)
    return [_argument(path, e, lambda text: text) for e in root.children if e.tag == "arg"]


def _root(path: Path) -> Element:
    root = read_xml(path)
    if root.tag != "launch":
        raise LaunchError(path, root.line, f"the root is <{root.tag}>, expected <launch>")
    _check(path, root)
    return root


def _check(path: Path, element: Element) -> None:
    """Tags and attributes of the whole tree, before anything is evaluated: a mistake in a branch not taken is still a mistake."""
    required, allowed = ATTRIBUTES[element.tag]
    for name in required - set(element.attributes):
        raise LaunchError(path, element.line, f"<{element.tag}> needs the attribute {name}")
    for name in element.attributes:
        if name not in required | allowed:
            known = ", ".join(sorted(required | allowed)) or "none"
            raise LaunchError(path, element.line, f"<{element.tag}> has no attribute {name}; known: {known}")
    if set(element.attributes) >= CONDITIONS:
        raise LaunchError(path, element.line, f"<{element.tag}> has both if and unless")
    inside = CHILDREN.get(element.tag, set())
    for child in element.children:
        if child.tag not in inside:
            known = ", ".join(f"<{t}>" for t in sorted(inside)) or "nothing"
            message = f"<{child.tag}> is not known inside <{element.tag}>; this runner knows there: {known}"
            raise LaunchError(path, child.line, message)
        if element.tag == "include" and child.tag == "arg" and "value" in child.attributes:
            child.tag = "let"  # in an include, <arg name value> passes a value; elsewhere it declares
        _check(path, child)


def _file(path: Path, plan: LaunchPlan, scope: _Scope) -> None:
    resolved = path.resolve()
    if resolved in scope.included or len(scope.included) >= MAX_INCLUDES:
        raise LaunchError(path, 1, "the file includes itself" if resolved in scope.included else "includes are nested too deep")
    _actions(path, _root(path).children, plan, replace_included(scope, resolved))


def replace_included(scope: _Scope, path: Path) -> _Scope:
    """The same variables (not a copy: an included file sets its includer's) one file deeper."""
    return _Scope(scope.variables, scope.namespace, (*scope.included, path))


def _actions(path: Path, elements: list[Element], plan: LaunchPlan, scope: _Scope) -> None:
    for e in elements:
        line = e.line

        def fail(message: str, line: int = line) -> LaunchError:
            return LaunchError(path, line, message)

        def text(value: str, line: int = line) -> str:
            return substitute(value, scope.variables, lambda message: LaunchError(path, line, message))

        if not _condition(path, e, scope):
            continue
        if e.tag == "arg":
            argument = _argument(path, e, text)
            if argument.name not in {a.name for a in plan.arguments}:
                plan.arguments.append(argument)
            if argument.name not in scope.variables:
                if argument.default is None:
                    raise fail(f"argument {argument.name} is required: give {argument.name}:=VALUE")
                scope.variables[argument.name] = argument.default
            if argument.choices and scope.variables[argument.name] not in argument.choices:
                raise fail(f"argument {argument.name}: {scope.variables[argument.name]!r} is not one of {', '.join(argument.choices)}")
        elif e.tag == "let":
            scope.variables[text(e.attributes["name"])] = text(e.attributes["value"])
        elif e.tag == "group":
            scoped = _boolean(path, e, "scoped", text(e.attributes.get("scoped", "true")))
            inner = _Scope(dict(scope.variables), scope.namespace, scope.included) if scoped else scope
            _actions(path, e.children, plan, inner)
        elif e.tag in {"push_ros_namespace", "push-ros-namespace"}:
            scope.namespace = _join(scope.namespace, text(e.attributes["namespace"]))
        elif e.tag == "include":
            for child in e.children:
                scope.variables[child.attributes["name"]] = text(child.attributes["value"], child.line)
            target = Path(text(e.attributes["file"]))
            if not target.is_file():
                raise fail(f"included file {target} does not exist")
            _file(target, plan, scope)
        else:
            plan.nodes.append(_node(path, e, scope))


def _argument(path: Path, e: Element, text: object) -> Argument:
    expand = text if callable(text) else str
    default = e.attributes.get("default")
    choices = tuple(c.attributes["value"] for c in e.children)
    return Argument(e.attributes["name"], None if default is None else expand(default), e.attributes.get("description", ""), choices)


def _boolean(path: Path, e: Element, name: str, value: str) -> bool:
    if value.strip().lower() in {"true", "1"}:
        return True
    if value.strip().lower() in {"false", "0"}:
        return False
    raise LaunchError(path, e.line, f"{name}={value!r}: expected true, false, 1 or 0")


def _condition(path: Path, e: Element, scope: _Scope) -> bool:
    for name, wanted in (("if", True), ("unless", False)):
        if name in e.attributes:
            value = substitute(e.attributes[name], scope.variables, lambda m: LaunchError(path, e.line, m))
            return _boolean(path, e, name, value) is wanted
    return True


def _join(outer: str, inner: str) -> str:
    if inner.startswith("/"):
        return inner.rstrip("/")
    return f"{outer}/{inner}".rstrip("/") if inner else outer


def _node(path: Path, e: Element, scope: _Scope) -> NodePlan:
    def text(value: str, line: int = e.line) -> str:
        return substitute(value, scope.variables, lambda message: LaunchError(path, line, message))

    node = NodePlan(
        package=text(e.attributes["pkg"]),
        executable=text(e.attributes["exec"]),
        name=text(e.attributes.get("name", "")),
        namespace=_join(scope.namespace, text(e.attributes.get("namespace", ""))),
        arguments=tuple(shlex.split(text(e.attributes.get("args", "")))),
        ros_arguments=tuple(shlex.split(text(e.attributes.get("ros_args", "")))),
        respawn=_boolean(path, e, "respawn", text(e.attributes.get("respawn", "false"))),
        respawn_delay=_delay(path, e, text(e.attributes.get("respawn_delay", "0.0"))),
        where=f"{path}:{e.line}",
    )
    if node.namespace and not node.namespace.startswith("/"):
        node = replace(node, namespace=f"/{node.namespace}")
    parameters: list[tuple[str, ParameterValue]] = []
    files: list[str] = []
    remappings: list[tuple[str, str]] = []
    environment: list[tuple[str, str]] = []
    for child in e.children:
        if child.tag == "param" and "from" in child.attributes:
            if set(child.attributes) != {"from"} or child.children:
                raise LaunchError(path, child.line, "<param from> takes nothing else")
            file = Path(text(child.attributes["from"], child.line))
            if not file.is_file():
                raise LaunchError(path, child.line, f"parameter file {file} does not exist")
            files.append(str(file))
        elif child.tag == "param":
            parameters += _parameters(path, child, scope, "")
        elif child.tag == "remap" and _condition(path, child, scope):
            remappings.append((text(child.attributes["from"], child.line), text(child.attributes["to"], child.line)))
        elif child.tag == "env":
            environment.append((text(child.attributes["name"], child.line), text(child.attributes["value"], child.line)))
    return replace(
        node,
        parameters=tuple(parameters),
        parameter_files=tuple(files),
        remappings=tuple(remappings),
        environment=tuple(environment),
    )


def _delay(path: Path, e: Element, value: str) -> float:
    try:
        delay = float(value)
    except ValueError:
        delay = -1.0
    if not 0 <= delay < float("inf"):
        raise LaunchError(path, e.line, f"respawn_delay={value!r}: expected seconds, 0 or more")
    return delay


def _parameters(path: Path, e: Element, scope: _Scope, group: str) -> list[tuple[str, ParameterValue]]:
    if "name" not in e.attributes:
        raise LaunchError(path, e.line, "<param> needs the attribute name (or from)")
    name = group + substitute(e.attributes["name"], scope.variables, lambda m: LaunchError(path, e.line, m))
    if e.children:
        if "value" in e.attributes or "type" in e.attributes:
            raise LaunchError(path, e.line, f"parameter {name}: value and nested parameters exclude each other")
        return [item for child in e.children for item in _parameters(path, child, scope, f"{name}.")]
    if "value" not in e.attributes:
        raise LaunchError(path, e.line, f"parameter {name}: needs a value or nested parameters")
    value = substitute(e.attributes["value"], scope.variables, lambda m: LaunchError(path, e.line, m))
    try:
        return [(name, typed_value(value, e.attributes.get("type")))]
    except ValueError as error:
        raise LaunchError(path, e.line, f"parameter {name}: {error}") from error


def typed_value(text: str, kind: str | None = None) -> ParameterValue:
    """A parameter's text as the real launch types it: by YAML, or as `kind` (str, int, float, bool, yaml, list_of_*) says.

    ValueError where the real launch would refuse as well: an empty or null untyped value, a mapping, a list of mixed types.
    """
    if kind in SCALARS:
        return _scalar(text, SCALARS[kind])
    if kind is not None and kind != "yaml" and kind.removeprefix("list_of_").removesuffix("s") not in SCALARS:
        raise ValueError(f"type={kind!r} is not one of {', '.join(SCALARS)}, yaml, {', '.join(f'list_of_{s}s' for s in SCALARS)}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f'{text!r} is not YAML ({" ".join(str(error).split())}); is it a string? then add type="str"') from error
    if kind is not None and kind.startswith("list_of_"):
        if not isinstance(value, list):
            raise ValueError(f"{text!r} is not a list")
        return [_scalar(str(v).lower() if isinstance(v, bool) else str(v), SCALARS[kind[8:-1]]) for v in value]  # type: ignore[return-value]
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and value and len({type(v) for v in value}) == 1 and isinstance(value[0], bool | int | float | str):
        return value
    if value is None:
        raise ValueError(f'the value {text!r} has no type; if it is a string, add type="str"')
    raise ValueError(f"{text!r} is neither a scalar nor a list of one type")


def _scalar(text: str, kind: type) -> bool | int | float | str:
    if kind is str:
        return text
    if kind is float:
        return float(text)
    value = yaml.safe_load(text)
    if type(value) is not kind:
        raise ValueError(f"{text!r} is not of type {kind.__name__}")
    return kind(value)
