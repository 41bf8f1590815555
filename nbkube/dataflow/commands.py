"""What magics, shell commands and help lines read, bind and do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from nbkube.dataflow import tables
from nbkube.dataflow.escapes import Escape
from nbkube.dataflow.parse import parse_python
from nbkube.dataflow.statements import Statements
from nbkube.dataflow.tables import names
from nbkube.dataflow.values import Function, Value

CONFIGURING = names("matplotlib config load_ext reload_ext autoreload precision pylab aimport")
"""Magics that set the shell up and are run again in every later unit."""

_ENVIRONMENT = names("env set_env cd pushd popd")
_QUIET = names("""
    pip conda mamba uv pinfo pinfo2 pdoc psource pfile who who_ls whos lsmagic magic quickref pdb xmode colors history
    hist pprint page pwd dirs alias_magic logstart logstop logstate debug doctest_mode gui macro autocall automagic
    notebook prompt rehashx nbkube step watermark tb
""")
_DYNAMIC = names("store reset reset_selective xdel run load rerun recall rep edit loadpy pull")
_FILES = names("""
    ls ll sx sc system cat mkdir rm rmdir mv cp man less more save writefile bookmark tensorboard env
""")
_STATEMENT = names("time prun timeit memit lprun mprun")
_OWN_SCOPE = names("timeit memit")
_DISPLAY_BODIES = names("html HTML latex javascript js markdown svg SVG mermaid")
_PROCESS_BODIES = names("bash sh script perl ruby python python2 python3 pypy sx system ! cmd node")
_EXTENSIONS = names("""
    nbkube autoreload tensorboard line_profiler memory_profiler watermark dotenv rpy2 cython Cython cudf jupyter_black
    lab_black nb_black sql
""")
"""Extensions that bind no names when loaded."""

_OPTIONS = re.compile(r"^(?:-[a-zA-Z](?:\s*\d+)?\s+|--[\w-]+(?:=\S+)?\s+)*")
_INSTALLS = re.compile(
    r"^\s*(?:sudo\s+)?(?:\S*/)?(?:python[\d.]*\s+-m\s+)?(?:pip[\d.]*|conda|mamba|uv\s+pip|apt(?:-get)?)\s+\w"
)
_BRACED = re.compile(r"(?<!\{)\{([^{}]+)\}")
_DOLLAR = re.compile(r"(?<![\\$])\$(?:\{)?([A-Za-z_]\w*)")
_IDENTIFIER = re.compile(r"^[A-Za-z_]\w*$")


class Commands(Statements):
    """IPython syntax; `escapes` are those of the current cell."""

    def __init__(self) -> None:
        super().__init__()
        self.escapes: tuple[Escape, ...] = ()

    def escaped(self, node: ast.Call) -> Value | None:
        """What the placeholder `node` stands for."""
        argument = node.args[0] if node.args else None
        at = argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, int) else -1
        if not 0 <= at < len(self.escapes):
            return None
        escape = self.escapes[at]
        match escape.kind:
            case "shell":
                self._shell(escape.text, escape.line)
            case "cell":
                self._cell_magic(escape)
            case "magic":
                self._line_magic(escape)
            case "help":
                self._perhaps_code(escape.text, escape.line)
        return None

    def shell_method(self, name: str, node: ast.Call) -> None:
        """`get_ipython().run_line_magic("time", "f()")`: as the magic; of computed text anything may follow."""
        texts = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
        if name == "run_line_magic" and len(texts) >= 2 and all(isinstance(one, str) for one in texts):
            self._line_magic(Escape("magic", str(texts[0]), str(texts[1]), node.lineno))
        elif name in (
            "system",
            "getoutput",
            "run_cell_magic",
            "run_cell",
            "run_line_magic",
            "ex",
            "ev",
            "magic",
            "run_code",
        ):
            self.frame.effects |= tables.FILES | (0 if name in ("system", "getoutput") else tables.DYNAMIC)
        elif name in ("push", "reset", "user_ns", "del_var"):
            self.frame.effects |= tables.DYNAMIC

    def _shell(self, text: str, line: int) -> None:
        self._expansions(text, line)
        if not _INSTALLS.match(text):
            self.frame.effects |= tables.FILES

    def _expansions(self, text: str, line: int) -> None:
        """`{expression}` and `$name` in a command are filled in from the notebook where that works."""
        for found in _BRACED.findall(text):
            self._perhaps_code(found.partition(":")[0].partition("!")[0], line)
        for name in _DOLLAR.findall(text):
            if name in self.values:
                self._perhaps_code(name, line)

    def _perhaps_code(self, text: str, line: int) -> None:
        """Read what an expression reads, if it is one; it may fail without harm."""
        try:
            body = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            return
        if isinstance(body, ast.Name) and body.id not in self.values and body.id not in self.path.bound:
            return
        _move(body, line)
        self.guarded += 1
        self.path.maybe += 1
        self.evaluate(body)
        self.path.maybe -= 1
        self.guarded -= 1

    def _cell_magic(self, escape: Escape) -> None:
        name = escape.name
        self._expansions(escape.text, escape.line)
        if name in _PROCESS_BODIES or name.startswith(("bash", "script")):
            self.frame.effects |= tables.FILES
            for option in re.findall(r"--(?:out|err|proc)[= ]\s*([A-Za-z_]\w*)", escape.text):
                self.store(option, None, escape.line)
        elif name in ("writefile", "file"):
            self.frame.effects |= tables.FILES
        elif name not in _DISPLAY_BODIES:
            self.frame.effects |= tables.FILES | tables.DYNAMIC
            self._expansions(escape.body, escape.line)

    def _line_magic(self, escape: Escape) -> None:
        name, text, line = escape.name, escape.text, escape.line
        if name in _STATEMENT:
            self._statement_magic(name, text, line)
        elif name == "autocall":
            self._perhaps_code(text.replace(" ", "(", 1) + (")" if " " in text else "()"), line)
        elif name in _ENVIRONMENT:
            self._expansions(text, line)
            if (name != "env" or text) and not is_literal_environment(escape):
                self.frame.effects |= tables.PROCESS
        elif name in CONFIGURING:
            if name in ("load_ext", "reload_ext", "pylab"):
                self.frame.effects |= tables.DYNAMIC if name == "pylab" or not _known_extension(text) else 0
        elif name in _DYNAMIC:
            self._expansions(text, line)
            self.frame.effects |= tables.DYNAMIC | tables.FILES
        elif name not in _QUIET:
            self._expansions(text, line)
            self.frame.effects |= tables.FILES | (0 if name in _FILES else tables.DYNAMIC)

    def _statement_magic(self, name: str, text: str, line: int) -> None:
        code = text[_match_end(text) :]
        if name == "lprun" or name == "mprun":
            for function in re.findall(r"-f\s+([\w.]+)", text):
                self._perhaps_code(function, line)
            code = re.sub(r"-[a-zA-Z]\s+\S+\s+", "", text)
        try:
            tree = parse_python(code.strip())
        except (SyntaxError, ValueError):
            self.frame.effects |= tables.DYNAMIC
            return
        for statement in tree.body:
            _move(statement, line)
        if name in _OWN_SCOPE:
            self.in_own_scope(tree.body, line)
        else:
            self.block(tree.body)

    def in_own_scope(self, statements: list[ast.stmt], line: int) -> None:
        """Code that `timeit` runs in a function of its own: what it binds stays there."""
        empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        node = ast.FunctionDef("timeit", empty, statements, [], lineno=line, col_offset=0)
        self.apply(Function(node, self.cell, self.scope), [], {}, frozenset(), line)

    def open_heads(self, heads: Iterable[Escape]) -> None:
        """Cell magics whose body is Python: `%%capture out` binds `out`."""
        for head in heads:
            self._expansions(head.text, head.line)
            if head.name == "capture":
                for word in head.text.split():
                    if _IDENTIFIER.match(word):
                        self.store(word, Value(), head.line)
            elif head.name in ("timeit", "prun", "memit") and (
                code := head.text[_match_end(head.text + " ") :].strip()
            ):
                self._perhaps_code(code, head.line)


def _match_end(text: str) -> int:
    found = _OPTIONS.match(text)
    return found.end() if found else 0


def _move(node: ast.AST, line: int) -> None:
    for one in ast.walk(node):
        if hasattr(one, "lineno"):
            one.lineno = line


def _known_extension(text: str) -> bool:
    return text.strip().partition(".")[0] in _EXTENSIONS


def is_literal_environment(escape: Escape) -> bool:
    """`%env NAME=VALUE` and `%cd FOLDER` without anything to fill in."""
    text = escape.text
    if not text or _BRACED.search(text) or _DOLLAR.search(text) or text.startswith("-") or escape.assigned:
        return False
    return escape.name == "cd" or (escape.name in ("env", "set_env") and ("=" in text or " " in text))
