"""The IPython shell that runs cells inside a step process, without a kernel and with a kernel's behaviour."""

from __future__ import annotations

import base64
import builtins
import getpass
import linecache
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type

from nbkube.runtime.channel import Channel
from nbkube.state.namespace import is_internal

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_PLACE = re.compile(r":cell (\d+)( \(again\))?(#\d+)?$")
_VERBS = "install|uninstall|remove|update|upgrade|create|sync|add"
_TOOLS = r"(?:pip[\d.]*|uv\s+pip|uv|conda|mamba|micromamba)"
_PYTHON_PIP = re.compile(r"(?:['\"]?[\w./~-]*python[\d.]*['\"]?)\s+-m\s+pip\b")
_INSTALL = re.compile(rf"^\s*(?:sudo\s+)?{_TOOLS}\s+(?:{_VERBS})\b[^;&|\n]*$")
_INSTALLS_SOMEWHERE = re.compile(rf"\b{_TOOLS}\s+(?:{_VERBS})\b")
_LINES = ("pip", "conda", "mamba", "micromamba", "uv")
_SCRIPTS = ("bash", "sh")
_LEFT_OUT = "belongs to the environment; nothing is installed inside a step"
_SHELL_FUNCTIONS = "".join(
    f'{tool}() {{ case " $* " in *" install "*|*" uninstall "*|*" remove "*|*" update "*|*" create "*|*" sync "*) '
    f'echo "nbkube: \\`{tool} $*\\` {_LEFT_OUT}" >&2;; *) command {tool} "$@";; esac; }}\n'
    for tool in ("pip", "pip3", "conda", "mamba", "micromamba", "uv")
)
"""Put before a shell script that installs among other things."""

KERNEL_ENVIRONMENT = {
    "TERM": "xterm-color", "CLICOLOR": "1", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "PAGER": "cat",
    "GIT_PAGER": "cat",
}  # fmt: skip
"""What Jupyter's Python kernel sets for the programs that cells start."""


class InputRequestedError(RuntimeError):
    """A cell has asked for input, and nobody is there to answer."""


def strip_ansi(text: str) -> str:
    """Return text without terminal colours and the like."""
    return _ANSI.sub("", text)


class CellCompiler(CachingCompiler):
    """Gives code objects the name of the cell they come from, the same in every process."""

    place = "notebook:cell 0"
    uses = 0

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """Return the cell's name; code that a cell runs through the shell again gets a number after it."""
        self.uses += 1
        return self.place if self.uses == 1 else f"{self.place}#{self.uses}"

    def format_code_name(self, name: str) -> tuple[str, str] | None:
        """Return how tracebacks call the place: `cell N`."""
        found = _PLACE.search(name)
        return ("cell", found[1]) if found else None


def place_name(filename: str, cell: int) -> str:
    """Return the file name of the code objects of a cell."""
    return f"{filename or 'notebook'}:cell {cell}"


def is_place(path: str) -> bool:
    """Tell whether a path is the made-up file name of a cell."""
    return _PLACE.search(path) is not None


class Display(DisplayPublisher):
    """Turns `display`, its updates and `clear_output` into messages."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: object = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_: object,
    ) -> None:
        """Show data, or show it in the place of what was shown under the same display id."""
        output = {"output_type": "display_data", "data": encodable(data), "metadata": encodable(metadata or {})}
        message = {"event": "update" if update else "output", "output": output}
        if transient and transient.get("display_id"):
            message["id"] = str(transient["display_id"])
        if not update or "id" in message:
            self.shell.channel.place(message)

    def clear_output(self, wait: bool = False) -> None:
        """Remove what the cell has shown, or have it removed by its next output."""
        self.shell.channel.place({"event": "clear", "wait": bool(wait)})


class Result(DisplayHook):
    """Turns the value of a cell's last expression into a message."""

    _output: dict[str, Any] | None = None

    def start_displayhook(self) -> None:
        """Begin an output."""
        self._output = None

    def write_output_prompt(self) -> None:
        """Print no prompt."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Take the forms of the value."""
        self._output = {
            "output_type": "execute_result",
            "execution_count": self.prompt_count,
            "data": encodable(format_dict),
            "metadata": encodable(md_dict or {}),
        }

    def finish_displayhook(self) -> None:
        """Send the output."""
        if self._output is not None and self._output["data"]:
            self.shell.channel.place({"event": "output", "output": self._output})
        self._output = None


def encodable(value: Any) -> Any:
    """Return display data as JSON can hold it: bytes in base 64, unknown things as their text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {str(key): encodable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [encodable(one) for one in value]
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return float(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return str(value)


class Kernel:
    """What libraries look for at `get_ipython().kernel` to know that they are not in a terminal."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.eventloop = None

    def get_parent(self, channel: str = "shell") -> dict[str, Any]:
        """Return the request being answered: there is none."""
        return {}


class StepShell(InteractiveShell):
    """Runs cells as a Jupyter kernel would; everything shown goes through `channel`."""

    displayhook_class = Type(Result)
    display_pub_class = Type(Display)
    compiler_class = Type(CellCompiler)

    channel: Channel
    last_traceback: str = ""
    unobserved: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered while the shell does something of its own that loads modules."""

    def init_environment(self) -> None:
        """Set what Jupyter's kernel sets."""
        os.environ.update(KERNEL_ENVIRONMENT)

    def init_virtualenv(self) -> None:
        """Leave the search path to the interpreter."""

    def enable_gui(self, gui: object = None) -> None:
        """Do nothing: there is no screen."""

    def ask_exit(self) -> NoReturn:
        """End the step when a cell calls `exit()` or `quit()`."""
        raise SystemExit

    def showtraceback(self, *arguments: Any, **options: Any) -> None:
        """Show the exception being handled."""
        with self.unobserved():
            super().showtraceback(*arguments, **options)

    def showsyntaxerror(self, *arguments: Any, **options: Any) -> None:
        """Show the syntax error being handled."""
        with self.unobserved():
            super().showsyntaxerror(*arguments, **options)

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        self.last_traceback = strip_ansi("\n".join(stb))
        output = {"output_type": "error", "ename": etype.__name__, "evalue": str(evalue), "traceback": list(stb)}
        self.channel.place({"event": "output", "output": output})

    def system(self, cmd: str) -> None:
        """Run a `!` line; its output goes where the cell's goes."""
        cmd = self.var_expand(cmd, depth=1)
        if cmd.rstrip().endswith("&"):
            # As in Jupyter.
            raise OSError("Background processes not supported.")
        if skip_install(cmd):
            self.user_ns["_exit_code"] = 0
            return
        self.channel.flush()
        code = subprocess.call([os.environ.get("SHELL") or "/bin/sh", "-c", without_installs(cmd)])
        self.user_ns["_exit_code"] = -(code - 128) if code > 128 else code

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Run a `!` expression and return what it prints."""
        if skip_install(self.var_expand(cmd, depth=depth + 1)):
            cmd = "true"
        cmd = without_installs(cmd)
        return super().getoutput(cmd, split, depth + 1)

    system_piped = system_raw = system


# Libraries recognise a notebook by this name of the shell's class (progress bars, rich text, tables).
StepShell.__name__ = StepShell.__qualname__ = "ZMQInteractiveShell"


def skip_install(command: str) -> bool:
    """Tell whether a command does nothing but change the environment; say that it is left out."""
    if _INSTALL.match(_PYTHON_PIP.sub("pip", command)) is None:
        return False
    sys.stderr.write(f"nbkube: `{command.strip()}` {_LEFT_OUT}\n")
    return True


def without_installs(script: str) -> str:
    """Return a shell script that does all the given one does but change the environment."""
    plain = _PYTHON_PIP.sub("pip", script)
    return _SHELL_FUNCTIONS + plain if _INSTALLS_SOMEWHERE.search(plain) else script


def refuse_input(prompt: object = "", *_: object, **__: object) -> NoReturn:
    """Stand in for `input` and `getpass`."""
    asked = f": {str(prompt).strip()!r}" if str(prompt).strip() else ""
    raise InputRequestedError(f"the cell waits for input{asked}, and a step has nobody to ask")


class MainModule(types.ModuleType):
    """`__main__` as cells and pickles see it: a module whose dictionary is the step's namespace."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        super().__init__("__main__")
        object.__setattr__(self, "_namespace", namespace)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        namespace: dict[str, Any] = object.__getattribute__(self, "_namespace")
        return namespace

    def __getattribute__(self, name: str) -> Any:
        namespace = object.__getattribute__(self, "_namespace")
        if name == "__dict__":
            return namespace
        if name == "__class__":
            return MainModule
        try:
            # Loading on first use is for the notebook's names, not for those that the interpreter asks every module.
            return dict.__getitem__(namespace, name) if name.startswith("__") else namespace[name]
        except KeyError:
            raise AttributeError(f"module '__main__' has no attribute {name!r}", name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module '__main__' has no attribute {name!r}", name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        return list(self.__dict__)


def make_shell(namespace: dict[str, Any], channel: Channel, folder: str) -> StepShell:
    """Return the process's one shell.

    Args:
        namespace: the dictionary the cells run in.
        channel: takes what the cells show.
        folder: where IPython may keep its things.
    """
    from IPython.core.profiledir import ProfileDir
    from traitlets.config import Config

    options = Config()
    options.HistoryManager.enabled = False
    options.HistoryManager.hist_file = ":memory:"
    options.IPKernelApp.name = "nbkube"
    namespace.update(
        __name__="__main__",
        __doc__="Automatically created module for IPython interactive environment",
        __package__=None,
        __loader__=None,
        __spec__=None,
        __builtin__=builtins,
    )
    StepShell.channel = channel
    shell: StepShell = StepShell.instance(
        config=options,
        ipython_dir=folder,
        profile_dir=ProfileDir(location=os.path.join(folder, "profile_default")),
        user_module=MainModule(namespace),
        user_ns=namespace,
        colors="neutral",
    )
    shell.kernel = Kernel(shell)
    _register_installers(shell)
    builtins.input = refuse_input
    getpass.getpass = refuse_input
    return shell


def variables_of(shell: InteractiveShell) -> dict[str, Any]:
    """Return the notebook's own variables in a kernel: not those of the shell, not its history."""
    hidden = shell.user_ns_hidden
    return {
        name: value
        for name, value in shell.user_ns.items()
        if not is_internal(name) and (name not in hidden or hidden[name] is not value)
    }


def count_from(shell: StepShell, number: int) -> None:
    """Let the next cell be `In[number]`, whatever ran in this process before."""
    shell.execution_count = number
    for inputs in (shell.history_manager.input_hist_parsed, shell.history_manager.input_hist_raw):
        inputs.extend([""] * (number - len(inputs)))


@contextmanager
def without_installing(shell: InteractiveShell) -> Iterator[None]:
    """Let a kernel's shell, for a while, install as little as a step does."""
    magics = shell.magics_manager.magics
    before = {kind: dict(known) for kind, known in magics.items()}
    usual, output = shell.system, shell.getoutput

    def system(cmd: str) -> None:
        if not skip_install(cmd):
            usual(without_installs(cmd))

    def getoutput(cmd: str, split: bool = True, depth: int = 0) -> Any:
        return output("true" if skip_install(cmd) else without_installs(cmd), split, depth + 1)

    _register_installers(shell)
    shell.system, shell.getoutput = system, getoutput
    try:
        yield
    finally:
        del shell.system, shell.getoutput
        for kind, known in before.items():
            # Magics that cells have defined meanwhile stay.
            magics[kind].update({name: known[name] for name in (*_LINES, *_SCRIPTS) if name in known})
            for name in (*_LINES, *_SCRIPTS):
                if name not in known:
                    magics[kind].pop(name, None)


def _register_installers(shell: InteractiveShell) -> None:
    for name in _LINES:
        shell.register_magic_function(_installer(shell, name), "line", name)
    for name in _SCRIPTS:
        shell.register_magic_function(_script(shell, name), "cell", name)


def _installer(shell: InteractiveShell, name: str) -> Callable[[str], None]:
    usual = shell.find_line_magic(name)

    def magic(line: str) -> None:
        if skip_install(f"{name} {line}"):
            return
        if usual is None:
            raise UsageError(f"Line magic function `%{name}` not found.")
        usual(line)

    return magic


def _script(shell: InteractiveShell, name: str) -> Callable[[str, str], Any]:
    usual = shell.find_cell_magic(name)

    def magic(line: str, cell: str) -> Any:
        return usual(line, without_installs(cell))

    return magic


def remember_source(place: str, source: str) -> None:
    """Let `inspect` and tracebacks find the text of code that has a made-up file name."""
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
