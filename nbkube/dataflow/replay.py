"""Configuration statements: what every later unit must run again because its effect is in no variable."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from nbkube.dataflow.tables import names
from nbkube.dataflow.values import BUILTINS, IMPORTED, LITERAL, Class, Function, Value

_VERBS = (
    "set", "use", "register", "configure", "config", "enable", "disable", "filter", "simplefilter", "reset_option",
    "seterr", "style", "autolog", "install", "inline", "reset_orig", "reset_defaults", "rcdefaults", "rc", "activate",
)  # fmt: skip
_NAMES = names("""
    basicConfig simplefilter filterwarnings resetwarnings pandas options seterr seterrcall captureWarnings rc
    rcParams update_default rcdefaults patch_sklearn allow_tf32 extend_path init_printing init_session notebook
    init_notebook_mode output_notebook option_context addLevelName addsitedir load_backend switch_backend set
    connect_info no_warnings silence addHandler setLevel catch_warnings get_logger_config manual_config apply
    insert append extend update setdefault putenv chdir enable_eager_execution disable_v2_behavior
    disable_eager_execution enable_v2_behavior disable_interactive_logging set_printoptions theme
""")
_LISTS = frozenset({"insert", "append", "extend", "update", "setdefault"})
_NEVER = names("""
    seed manual_seed set_seed set_random_seed seed_everything set_title set_xlabel set_ylabel set_xlim set_ylim
    set_state setstate set_rng_state set_trace set_text set_ticks setp set_aspect manual_seed_all
    set_experiment set_tracking_uri set_tag set_tags set_cmap set_loglevel_file enroll install_package
""")
_MAGICS = ("IPython.core.magic.", "IPython.core.magic_arguments.")
_PURE_CALLS = ("os.path.", "pathlib.", "decimal.", "logging.", "numpy.dtype", "matplotlib.cycler", "cycler.",
    "seaborn.color_palette", "matplotlib.pyplot.cycler", "os.getcwd", "functools.partial", "matplotlib.colors.",
    "builtins.str", "builtins.int", "builtins.dict", "builtins.list", "builtins.tuple", "builtins.float",
    "builtins.range", "builtins.bool", "builtins.set", "builtins.max", "builtins.min")  # fmt: skip


class _OtherStatementError(ValueError):
    """The statement turns out to be no configuration; never leaves this module."""


def needs(statement: ast.stmt, values: Mapping[str, Value]) -> tuple[str, ...] | None:
    """The notebook names that `statement` uses if it is a configuration statement, else None.

    It is one if it calls a configuring function of an imported module, or assigns through one, and all else in it is
    literal, imported, or a definition or literal constant of the notebook.
    """
    found: dict[str, None] = {}
    reader = _Reader(values, found)
    try:
        match statement:
            case ast.Expr(value=ast.Call() as call):
                reader.call(call)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript() as target], value=value):
                reader.target(target)
                reader.argument(value)
            case ast.AugAssign(target=ast.Attribute() | ast.Subscript() as target, value=value):
                reader.target(target)
                reader.argument(value)
            case _:
                return None
    except _OtherStatementError:
        return None
    return tuple(found)


def magic_needs(definition: ast.FunctionDef, values: Mapping[str, Value]) -> tuple[str, ...] | None:
    """The notebook names that a function registered as a magic uses when it is defined, or None for other functions.

    Such a function has decorators of IPython's magics only, and no defaults that later units cannot make again.
    """
    found: dict[str, None] = {}
    reader = _Reader(values, found)
    registers = False
    try:
        for one in definition.decorator_list:
            dotted = reader.dotted(one.func if isinstance(one, ast.Call) else one)
            if not dotted.startswith(_MAGICS):
                return None
            if isinstance(one, ast.Call):
                reader.arguments(one)
            registers = registers or ".register_" in dotted
        for node in ast.walk(definition.args):
            if isinstance(node, ast.arg) and node.annotation is not None:
                reader.argument(node.annotation)
        if definition.returns is not None:
            reader.argument(definition.returns)
        for default in (*definition.args.defaults, *definition.args.kw_defaults):
            if default is not None:
                reader.argument(default)
    except _OtherStatementError:
        return None
    return tuple(found) if registers else None


class _Reader:
    def __init__(self, values: Mapping[str, Value], found: dict[str, None]) -> None:
        self._values = values
        self._found = found

    def dotted(self, node: ast.expr) -> str:
        """Full name of an imported thing, through attributes, constant subscripts and calls without arguments."""
        match node:
            case ast.Name(id=name):
                value = self._values.get(name)
                if value is None or not value.flags & IMPORTED or not value.dotted:
                    raise _OtherStatementError
                return value.dotted
            case ast.Attribute(value=inner, attr=attr):
                return f"{self.dotted(inner)}.{attr}"
            case ast.Subscript(value=inner, slice=key):
                self.argument(key)
                return f"{self.dotted(inner)}.[]"
            case ast.Call(func=func, args=args, keywords=keywords) if not keywords:
                dotted = self.dotted(func)
                last = dotted.rpartition(".")[2]
                if not last.startswith(("get", "config")) or any(not isinstance(one, ast.Constant) for one in args):
                    raise _OtherStatementError
                return f"{dotted}()"
        raise _OtherStatementError

    def target(self, target: ast.Attribute | ast.Subscript) -> None:
        dotted = self.dotted(target)
        if dotted.startswith("os.environ.[]"):
            return
        if dotted.count(".") < 1:
            raise _OtherStatementError

    def call(self, call: ast.Call) -> None:
        if not isinstance(call.func, ast.Attribute | ast.Name):
            raise _OtherStatementError
        if self._logger(call) or self._registered(call):
            return
        dotted = self.dotted(call.func)
        last = dotted.rpartition(".")[2]
        if last in _NEVER or not (last in _NAMES or last.startswith(_VERBS) or ".config." in dotted):
            raise _OtherStatementError
        if last in _LISTS and isinstance(call.func, ast.Name):
            raise _OtherStatementError
        if last in ("set", "rc", "apply", "update") and dotted.startswith(("pandas.", "numpy.", "builtins.")):
            raise _OtherStatementError
        if dotted.startswith(("builtins.", "os.")) and not dotted.startswith(("os.environ.", "os.chdir", "os.putenv")):
            raise _OtherStatementError
        self.arguments(call)

    def _registered(self, call: ast.Call) -> bool:
        """`get_ipython().register_magics(Mine)`: of classes of the notebook, too, which travel as functions do."""
        match call.func:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=attr):
                if not attr.startswith("register_magic"):
                    return False
            case _:
                return False
        for one in call.args:
            name = one.id if isinstance(one, ast.Name) else ""
            value = self._values.get(name)
            if value is not None and any(isinstance(made, Class) for made in value.carries):
                self._found[name] = None
            else:
                self.argument(one)
        for keyword in call.keywords:
            self.argument(keyword.value)
        return True

    def _logger(self, call: ast.Call) -> bool:
        """`logger.setLevel(…)`: a logger travels by its name, its level does not."""
        func = call.func
        if not (isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name)):
            return False
        value = self._values.get(func.value.id)
        if value is None or value.made != "logging.getLogger" or func.attr != "setLevel":
            return False
        self._found[func.value.id] = None
        self.arguments(call)
        return True

    def arguments(self, call: ast.Call) -> None:
        """All arguments of a call, as `argument`."""
        for one in call.args:
            self.argument(one)
        for keyword in call.keywords:
            self.argument(keyword.value)

    def argument(self, node: ast.expr) -> None:
        """Literal, imported, or a definition or constant of the notebook (which becomes a need)."""
        match node:
            case ast.Constant():
                return
            case ast.Name(id=name):
                self._name(name)
            case ast.Attribute(value=inner):
                self.argument(inner)
            case ast.Lambda() | ast.Starred():
                raise _OtherStatementError
            case ast.Call(func=func):
                self._pure(func)
                self.arguments(node)
            case (
                ast.List() | ast.Tuple() | ast.Set() | ast.Dict() | ast.UnaryOp() | ast.BinOp() | ast.JoinedStr()
                | ast.FormattedValue() | ast.Subscript()
            ):  # fmt: skip
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.argument(child)
            case _:
                raise _OtherStatementError

    def _name(self, name: str) -> None:
        value = self._values.get(name)
        if value is None:
            if name not in BUILTINS:
                raise _OtherStatementError
        elif not value.flags & IMPORTED:
            if not (
                value.flags & LITERAL or (value.carries and all(isinstance(one, Function) for one in value.carries))
            ):
                raise _OtherStatementError
            self._found[name] = None

    def _pure(self, func: ast.expr) -> None:
        """Calls that give the same in every unit."""
        inner = func
        while isinstance(inner, ast.Attribute | ast.Call):
            inner = inner.value if isinstance(inner, ast.Attribute) else inner.func
        if isinstance(inner, ast.Constant):
            return
        if not isinstance(inner, ast.Name):
            raise _OtherStatementError
        value = self._values.get(inner.id) or BUILTINS.get(inner.id)
        if value is None or not value.flags & IMPORTED:
            raise _OtherStatementError
        path: list[str] = []
        node = func
        while isinstance(node, ast.Attribute | ast.Call):
            if isinstance(node, ast.Attribute):
                path.insert(0, node.attr)
                node = node.value
            else:
                self.arguments(node)
                node = node.func
        if not ".".join([value.dotted, *path]).startswith(_PURE_CALLS):
            raise _OtherStatementError
