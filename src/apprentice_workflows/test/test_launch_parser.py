"""The runner's reading of launch XML. The expected plans are what launch 3.4 and launch_ros 0.26 (Jazzy) document for the same text."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apprentice_workflows.launch_files.parser import declared_arguments, parse_launch, typed_value
from apprentice_workflows.launch_files.plan import LaunchError, format_value


def plan_of(tmp_path: Path, body: str, name: str = "a.launch.xml", **arguments: str):
    path = tmp_path / name
    path.write_text(f"<launch>\n{body}\n</launch>\n")
    return parse_launch(path, arguments)


def node(inside: str = "", attributes: str = "") -> str:
    return f'<node pkg="p" exec="e" {attributes}>{inside}</node>'


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", None, 1),
        ("1.0", None, 1.0),
        ("1e3", "float", 1000.0),
        ("true", None, True),
        ("True", None, True),
        ("lift", None, "lift"),
        ("'1'", None, "1"),
        ("[1, 2]", None, [1, 2]),
        ("[a, b]", None, ["a", "b"]),
        ("1", "str", "1"),
        ("", "str", ""),
        ("2", "float", 2.0),
        ("on", "str", "on"),
        ("[1, 2]", "list_of_floats", [1.0, 2.0]),
        ("[a]", "list_of_strs", ["a"]),
        ("-3", "int", -3),
        ("a: b", "str", "a: b"),
        ("false", "bool", False),
    ],
)
def test_parameters_are_typed_as_the_real_launch_types_them(text: str, kind: str | None, value: object) -> None:
    result = typed_value(text, kind)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", None),
        ("null", None),
        ("{a: 1}", None),
        ("[1, a]", None),
        ("1.5", "int"),
        ("yes?", "bool"),
        ("x", "float"),
        ("1", "integer"),
        ("3", "list_of_ints"),
        ("[", None),
        ("true", "int"),
    ],
)
def test_parameters_without_a_type_are_refused(text: str, kind: str | None) -> None:
    with pytest.raises(ValueError):
        typed_value(text, kind)


scalars = st.one_of(
    st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), st.text(st.characters(exclude_categories=["C", "Z"]))
)


@given(st.one_of(scalars, st.lists(st.integers(-99, 99), min_size=1), st.lists(st.booleans(), min_size=1)))
def test_formatted_values_read_back_the_same(value: object) -> None:
    text = format_value(value)  # type: ignore[arg-type]
    back = yaml.safe_load(text)
    if isinstance(value, float) and isinstance(back, str):  # YAML 1.1 in Python wants a point before the exponent; rcl's reader does not
        back = float(back)
    assert back == value and type(back) is type(value)


def test_arguments_conditions_and_substitutions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "arm")
    body = (
        '<arg name="n" default="2" description="how many"/><arg name="full" default="$(env WHO)_$(var n)"/>'
        + node(attributes='if="$(var yes)" name="$(var full)"').replace("$(var yes)", "true")
        + node(attributes='unless="1" name="never"')
        + node(attributes='if="False" name="never"')
        + node(
            '<param name="count" value="$(var n)"/><env name="A" value="$(env NOT_SET fallback)"/><remap from="a" to="b"/>', 'name="second"'
        )
    )
    plan = plan_of(tmp_path, body, n="3")
    assert [n.name for n in plan.nodes] == ["arm_3", "second"]
    second = plan.nodes[1]
    assert second.parameters == (("count", 3),) and second.environment == (("A", "fallback"),) and second.remappings == (("a", "b"),)
    assert [(a.name, a.default, a.description) for a in plan.arguments] == [("n", "2", "how many"), ("full", "arm_3", "")]


def test_node_command_line(tmp_path: Path) -> None:
    inside = '<param name="a.b" value="1"/><param name="g"><param name="x" value="0.5"/><param name="y" value="it\'s" type="str"/></param>'
    plan = plan_of(tmp_path, node(inside, 'name="n" namespace="cell" args="--fast \'two words\'" respawn="true" respawn_delay="0.5"'))
    assert plan.nodes[0].command_arguments() == [
        "--fast",
        "two words",
        "--ros-args",
        "-r",
        "__node:=n",
        "-r",
        "__ns:=/cell",
        "-p",
        "a.b:=1",
        "-p",
        "g.x:=0.5",
        "-p",
        "g.y:='it''s'",
    ]
    assert plan.nodes[0].respawn and plan.nodes[0].respawn_delay == 0.5


def test_scopes_are_the_real_launchs(tmp_path: Path) -> None:
    body = (
        '<let name="v" value="out"/><group><push_ros_namespace namespace="cell"/><let name="v" value="in"/>'
        + node(attributes='name="$(var v)"')
        + '<group><push_ros_namespace namespace="deep"/>'
        + node(attributes='name="d"')
        + "</group></group>"
        + node(attributes='name="$(var v)"')
        + '<group scoped="false"><let name="v" value="leaks"/></group>'
        + node(attributes='name="$(var v)"')
    )
    assert [(n.name, n.namespace) for n in plan_of(tmp_path, body).nodes] == [
        ("in", "/cell"),
        ("d", "/cell/deep"),
        ("out", ""),
        ("leaks", ""),
    ]


def test_include_passes_and_leaks_arguments_as_the_real_launch_does(tmp_path: Path) -> None:
    (tmp_path / "inner.xml").write_text(
        '<launch><arg name="task" default="x"/><arg name="own" default="o"/>' + node(attributes='name="$(var task)"') + "</launch>"
    )
    include = f'<include file="{tmp_path}/inner.xml"><arg name="task" value="given"/></include>'
    plan = plan_of(tmp_path, include + node(attributes='name="$(var own)"'))
    assert [n.name for n in plan.nodes] == ["given", "o"]
    assert plan_of(tmp_path, include, own="changed").arguments[1].name == "own"
    with pytest.raises(LaunchError, match="no such argument"):
        plan_of(tmp_path, f"<group>{include}</group>" + node(attributes='name="$(var own)"'))


def test_an_argument_given_by_the_caller_wins_and_choices_hold(tmp_path: Path) -> None:
    body = '<arg name="pace" default="lockstep"><choice value="lockstep"/><choice value="realtime"/></arg>' + node(
        attributes='name="$(var pace)"'
    )
    assert plan_of(tmp_path, body, pace="realtime").nodes[0].name == "realtime"
    with pytest.raises(LaunchError, match="'fast' is not one of lockstep, realtime"):
        plan_of(tmp_path, body, pace="fast")
    assert declared_arguments(tmp_path / "a.launch.xml")[0].choices == ("lockstep", "realtime")


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("<nod/>", 2, "<nod> is not known inside <launch>"),
        ("\n\n<node pkg='p' exe='e'/>", 4, "needs the attribute exec"),
        ("<node pkg='p' exec='e' colour='red'/>", 2, "no attribute colour"),
        ("<node pkg='p' exec='e'>\n<params/></node>", 3, "<params> is not known inside <node>"),
        ("<group if='false'>\n<typo/></group>", 3, "<typo> is not known"),
        ("<let name='a' value='$(eval 1+1)'/>", 2, "this runner knows"),
        ("<let name='a' value='$(var b)'/>", 2, "no such argument"),
        ("<let name='a' value='$(var b'/>", 2, "unclosed"),
        ("<let name='a' value='$(env NO_SUCH_VARIABLE_HERE)'/>", 2, "not set"),
        ("<let name='a' value='$(find-pkg-share no_such_package)'/>", 2, "not installed"),
        ("<arg name='a'/>", 2, "required"),
        ("<group if='perhaps'/>", 2, "expected true, false, 1 or 0"),
        ("<group if='1' unless='1'/>", 2, "both if and unless"),
        ("<include file='/no/such/file'/>", 2, "does not exist"),
        ("<node pkg='p' exec='e'><param value='1'/></node>", 2, "needs the attribute name"),
        ("<node pkg='p' exec='e'><param name='x'/></node>", 2, "parameter x: needs a value"),
        ("<node pkg='p' exec='e'><param name='x' value=''/></node>", 2, 'parameter x: .*type="str"'),
        ("<node pkg='p' exec='e'><param from='/no/file.yaml'/></node>", 2, "does not exist"),
        ("<node pkg='p' exec='e' respawn_delay='-1' />", 2, "respawn_delay"),
        ("hello", 2, "text 'hello'"),
        ("<group>", 3, "is not XML"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path: Path, body: str, line: int, message: str) -> None:
    with pytest.raises(LaunchError, match=message) as caught:
        plan_of(tmp_path, body)
    assert str(caught.value).startswith(f"{tmp_path / 'a.launch.xml'}:{line}: ")


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xml"
    path.write_text('<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><launch><let name="x" value="&b;"/></launch>')
    with pytest.raises(LaunchError, match="document type"):
        parse_launch(path)
    path.write_text(f'<launch><include file="{path}"/></launch>')
    with pytest.raises(LaunchError, match="includes itself"):
        parse_launch(path)
    path.write_text("<launch>" + "<group>" * 5000 + "</group>" * 5000 + "</launch>")
    with pytest.raises(LaunchError, match="nested deeper"):
        parse_launch(path)
    path.write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(LaunchError, match="not XML"):
        parse_launch(path)
    with pytest.raises(LaunchError, match="no argument named speling"):
        plan_of(tmp_path, '<arg name="spelling" default="1"/>', speling="2")
