"""What later units run again, and what effects a unit has."""

from __future__ import annotations

import pytest

from tests.unit.dataflow.notebooks import flow

IMPORTS = """\
import decimal, logging, os, sys, random, warnings
import numpy as np, pandas as pd, seaborn as sns, sklearn, matplotlib.pyplot as plt, matplotlib as mpl
import tensorflow as tf, keras, torch, mymod, mlflow
from tqdm import tqdm
from mymod import CONFIG
from pathlib import Path
"""
DEFINITIONS = "def f(x):\n    return x\nN = 3\nSIZE = (4, N)\nOPTIONS = {'font.size': 12}\ndf = pd.read_csv('x.csv')\n"


@pytest.mark.parametrize(
    ("code", "needs"),
    [
        ("pd.set_option('display.max_rows', 10)", ""),
        ("pd.options.display.max_rows = 10", ""),
        ("sklearn.set_config(transform_output='pandas')", ""),
        ("plt.style.use('ggplot')", ""),
        ("plt.rcParams['figure.figsize'] = (8, 6)", ""),
        ("plt.rcParams.update({'font.size': 12})", ""),
        ("plt.rcParams['figure.figsize'] = SIZE", "SIZE"),
        ("plt.rcParams.update(OPTIONS)", "OPTIONS"),
        ("mpl.rc('lines', linewidth=2)", ""),
        ("np.seterr(all='ignore')", ""),
        ("np.set_printoptions(precision=3)", ""),
        ("sns.set_theme()", ""),
        ("sns.set(style='whitegrid')", ""),
        ("sns.set_palette(sns.color_palette('husl', 8))", ""),
        ("tqdm.pandas()", ""),
        ("pd.DataFrame.foo = f", "f"),
        ("mymod.CONFIG['x'] = 1", ""),
        ("CONFIG['x'] = 1", ""),
        ("mymod.LIMIT = N", "N"),
        ("mymod.REGISTRY.append('a')", ""),
        ("warnings.filterwarnings('ignore')", ""),
        ("warnings.filterwarnings('ignore', category=FutureWarning)", ""),
        ("warnings.simplefilter('ignore')", ""),
        ("os.environ['A'] = '1'", ""),
        ("os.environ.setdefault('A', '1')", ""),
        ("os.chdir('..')", ""),
        ("sys.path.append('..')", ""),
        ("sys.path.insert(0, os.path.abspath('..'))", ""),
        ("sys.path.append(str(Path('.').resolve().parent))", ""),
        ("logging.basicConfig(level=logging.INFO)", ""),
        ("logging.getLogger('x').setLevel(logging.ERROR)", ""),
        ("decimal.getcontext().prec = 50", ""),
        ("keras.mixed_precision.set_global_policy('mixed_float16')", ""),
        ("torch.set_default_dtype(torch.float64)", ""),
        ("torch.backends.cudnn.benchmark = True", ""),
        ("tf.get_logger().setLevel('ERROR')", ""),
        ("tf.config.run_functions_eagerly(True)", ""),
        ("mlflow.autolog()", ""),
        ("mlflow.sklearn.autolog()", ""),
        ("pd.set_option('display.max_rows', None)\nx = 1", ""),
        ("sns.set_context('talk', font_scale=1 + 0.2)", ""),
    ],
)
def test_configuration_is_replayed(code: str, needs: str) -> None:
    found = flow(IMPORTS + DEFINITIONS, code).units[1]
    assert [(one.kind, one.source, " ".join(one.needs)) for one in found.replay] == [
        ("config", code.split("\n")[0], needs)
    ]
    assert not found.effects.process
    assert not found.mutates


@pytest.mark.parametrize(
    "code",
    [
        "np.random.seed(0)",
        "random.seed(0)",
        "tf.random.set_seed(1)",
        "keras.utils.set_random_seed(1)",
        "torch.manual_seed(0)",
        "os.makedirs('out')",
        "plt.savefig('a.png')",
        "pd.read_csv('x.csv')",
        "plt.plot([1, 2])",
        "plt.show()",
        "plt.figure()",
        "plt.title('x')",
        "plt.xlabel('x')",
        "plt.xlim(0, 1)",
        "sns.heatmap([[1]])",
        "print('x')",
        "df.set_index('a')",
        "df['a'] = 1",
        "np.save('a.npy', [1])",
        "mymod.main()",
        "mymod.train(epochs=3)",
        "pd.set_option('display.max_rows', len(df))",
        "os.environ['A'] = str(df)",
        "os.chdir(df.path)",
        "mymod.CONFIG['x'] = df.mean()",
        "if N:\n    pd.set_option('display.max_rows', 1)",
        "x = pd.set_option('display.max_rows', 1)",
        "tf.keras.models.load_model('m')",
        "np.put([1], 0, 1)",
        "display(df)",
        "plt.gca().set_title('x')",
        "mlflow.set_experiment('e')",
    ],
)
def test_other_statements_are_not_replayed(code: str) -> None:
    assert flow(IMPORTS + DEFINITIONS, code).units[1].replay == ()


def test_imports_are_replayed_and_bind_nothing_of_their_own() -> None:
    found = flow(
        "from __future__ import annotations\nimport a.b, c as d\nfrom e import (\n    f,\n    g as h,\n)\nx = 1"
    ).units[0]
    assert [(one.kind, one.source, one.binds, one.line) for one in found.replay] == [
        ("future", "from __future__ import annotations", (), 1),
        ("import", "import a.b, c as d", ("a", "d"), 2),
        ("import", "from e import (\n    f,\n    g as h,\n)", ("f", "h"), 3),
    ]
    assert found.writes == ("x",)


def test_statements_on_one_line_are_told_apart() -> None:
    found = flow("import os; x = 1; import sys").units[0]
    assert [one.source for one in found.replay] == ["import os", "import sys"]


@pytest.mark.parametrize(
    ("code", "replayed"),
    [
        ("%matplotlib inline", ["%matplotlib inline"]),
        ("%load_ext autoreload\n%autoreload 2", ["%load_ext autoreload", "%autoreload 2"]),
        ("%config InlineBackend.figure_format = 'retina'", ["%config InlineBackend.figure_format = 'retina'"]),
        ("%precision 3", ["%precision 3"]),
        ("%env A=1", ["%env A=1"]),
        ("%cd data", ["%cd data"]),
        ("%cd {folder}", []),
        ("%env A={folder}", []),
        ("%run other.py", []),
        ("%pip install pandas", []),
        ("%time x = 1", []),
        ("!ls", []),
    ],
)
def test_magics(code: str, replayed: list[str]) -> None:
    found = flow("folder = 'x'", code).units[1]
    assert [one.source for one in found.replay] == replayed
    assert all(one.kind == "magic" for one in found.replay)


MAGIC = """\
from IPython.core.magic import needs_local_scope, register_line_magic
@register_line_magic{}
@needs_local_scope
def shout(line, local_ns, times={}):
    !echo {{line}}
    return line"""


def test_functions_that_become_magics_are_replayed() -> None:
    found = flow("N = 3\n" + MAGIC.format("('loud')", "N"), "%loud x").units[0]
    (one,) = (one for one in found.replay if one.kind == "config")
    assert one.source == MAGIC.format("('loud')", "N").split("\n", 1)[1]
    assert (one.line, one.needs, one.binds) == (3, ("N",), ("shout",))
    assert found.writes == ("N", "shout")


def test_registrations_with_the_shell_are_replayed() -> None:
    found = flow("class Mine: pass", "get_ipython().register_magics(Mine)\nget_ipython().user_ns['x'] = 1").units[1]
    assert [(one.source, one.needs) for one in found.replay] == [("get_ipython().register_magics(Mine)", ("Mine",))]


@pytest.mark.parametrize(
    "code", [MAGIC.format("", "[len(df)]"), MAGIC.format("\n@print", "1"), "@print\ndef f(): pass"]
)
def test_other_functions_are_not_replayed(code: str) -> None:
    assert all(one.kind == "import" for one in flow("df = {}", code).units[1].replay)


@pytest.mark.parametrize(
    ("code", "effects"),
    [
        ("x = np.zeros(3).mean()", ""),
        ("df.groupby('a').agg('mean').sort_values('b').reset_index()", ""),
        ("df.rename(columns={'a': 'b'})", ""),
        ("s.str.extract('(a)')", ""),
        ("plt.plot([1]); plt.show()", ""),
        ("from sklearn.metrics import accuracy_score\naccuracy_score([1], [1])", ""),
        ("import math, json, re, collections\njson.dumps({})\nre.findall('a', 'b')", ""),
        ("import time\ntime.sleep(0)", ""),
        ("xs = []\nxs.remove(1)", ""),
        ("df = pd.read_csv('a.csv')", "files"),
        ("df.to_csv('a.csv')", "files"),
        ("open('a')", "files"),
        ("Path('a').write_text('x')", "files"),
        ("(Path('a') / 'b').rename('c')", "files"),
        ("import glob\nglob.glob('*')", "files"),
        ("os.path.exists('a')", "files"),
        ("os.path.join('a', 'b')", ""),
        ("os.environ.get('A')", ""),
        ("plt.savefig('a.png')", "files"),
        ("import joblib\njoblib.dump(1, 'a')", "files"),
        ("model.save('m.keras')", "files"),
        ("import subprocess\nsubprocess.run(['ls'])", "files"),
        ("import requests\nrequests.get('u')", "files"),
        ("mymod.work()", "files"),
        ("%%writefile m.py\nx = 1", "files"),
        ("%%bash\nls", "files"),
        ("!rm -rf out", "files"),
        ("!pip install pandas", ""),
        ("%pip install pandas", ""),
        ("%conda install x", ""),
        ("%timeit 1 + 1", ""),
        ("%%html\n<b>", ""),
        ("np.random.rand(3)", "random"),
        ("random.choice([1])", "random"),
        ("df.sample(3)", "random"),
        ("df.sample(3, random_state=1)", ""),
        ("df.sample(3, random_state=None)", "random"),
        ("from sklearn.svm import SVC\nSVC().fit([1], [1])", "random"),
        ("from sklearn.svm import SVC\nSVC(random_state=0).fit([1], [1])", ""),
        ("rng = np.random.default_rng(1)\nrng.normal()", ""),
        ("np.random.seed(0)", "seeds"),
        ("torch.manual_seed(0)", "seeds"),
        ("os.environ['A'] = f(1)", "process"),
        ("os.chdir(f(1))", "process"),
        ("sys.path.append(f(1))", "process"),
        ("exec('x = 1')", ""),
        ("exec(code)", "dynamic"),
        ("from m import *", "dynamic"),
        ("globals()", "dynamic"),
        ("eval(f)", "dynamic"),
        ("%run a.py", "dynamic files"),
        ("import inspect\ninspect.getsource(f)", "inspects_source"),
        ("@tf.function\ndef g(x):\n    return x", "inspects_source"),
        ("from numba import njit\n@njit\ndef g(x):\n    return x", "inspects_source"),
        ("print(_)", "history"),
        ("Out[3]", "history"),
        ("_ = 1\nprint(_)", ""),
        ("get_ipython().run_line_magic('matplotlib', 'inline')", ""),
        ("get_ipython().system('ls')", "files"),
        ("def save():\n    df.to_csv('x')", ""),
        ("def save():\n    open('x')\nsave()", "files"),
    ],
)
def test_effects(code: str, effects: str) -> None:
    found = flow(IMPORTS + DEFINITIONS, code).units[1].effects
    assert {name for name in found.__struct_fields__ if getattr(found, name)} == set(effects.split())
