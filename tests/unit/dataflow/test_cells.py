"""What one cell reads, binds, unbinds and changes: one row per rule."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from nbkube.dataflow import Unit, UnitFlow, analyze
from nbkube.notebook.model import Cell


class Row(NamedTuple):
    """A cell and what must be found in it; names in the strings are separated by spaces.

    `reads` are needed on every path, `optional` on some; `writes`, `may`, `deletes`, `changes` (in place) likewise.
    `before` is the text of an earlier unit.
    """

    title: str
    code: str
    reads: str = ""
    optional: str = ""
    writes: str = ""
    may: str = ""
    deletes: str = ""
    changes: str = ""
    before: str = ""


ROWS = [
    # --- plain statements
    Row("assignment", "y = x + 1", reads="x", writes="y"),
    Row("own names are not read", "x = 1\ny = x", writes="x y"),
    Row("read, then written", "y = x\nx = 1", reads="x", writes="x y"),
    Row("several targets", "a = b = c", reads="c", writes="a b"),
    Row("tuple targets", "a, (b, *c) = d", reads="d", writes="a b c"),
    Row("swap", "a, b = b, a", reads="a b", writes="a b"),
    Row("builtins are no names of the notebook", "print(len(str(1)), ValueError, __name__)"),
    Row("augmented assignment", "n += k", reads="n k", writes="n"),
    Row("annotated assignment", "x: int = y", reads="y", writes="x"),
    Row("annotation alone binds nothing", "x: Kind", reads="Kind"),
    Row("future annotations are not read", "from __future__ import annotations\nx: Kind = 1", writes="x"),
    Row("delete", "del df", reads="df", deletes="df"),
    Row("bound and deleted", "t = 1\ndel t", writes="", deletes="t"),
    Row("delete, then bound again", "t = 1\ndel t\nt = 2", writes="t"),
    Row("delete of an item changes", "del d['k'], m.a", reads="d m", changes="d m"),
    Row("expression only", "df.head()", reads="df"),
    Row("assert", "assert n > 0, message", reads="n", optional="message"),
    Row("f-string", "f'{a:{width}} {b!r}'", reads="a width b"),
    Row("walrus", "if (n := len(xs)) > 2: pass", reads="xs", writes="n"),
    Row("conditional expression", "y = a if c else b", reads="c", optional="a b", writes="y"),
    Row("short circuit", "a and b", reads="a", optional="b"),
    Row("chained comparison", "a < b < c", reads="a b c"),
    Row("starred and double-starred arguments", "f(*a, **b)", reads="f a b"),
    Row("slice", "xs[lo:hi:step]", reads="xs lo hi step"),
    Row("top-level await", "r = await fetch(u)", reads="fetch u", writes="r"),
    Row("await in a comprehension", "r = [await f(u) for u in us]", reads="us", optional="f", writes="r"),
    Row("type comment and docstring", "'''text'''\nx = 1  # type: Foo", writes="x"),
    Row("semicolons", "a = 1; b = a; c = d", reads="d", writes="a b c"),
    # --- changes in place
    Row("item", "d['k'] = v", reads="d v", changes="d"),
    Row("item of an item", "d['k'][0] = v", reads="d v", changes="d"),
    Row("attribute", "obj.x = v", reads="obj v", changes="obj"),
    Row("item with a name", "d[key] += v", reads="d key v", changes="d"),
    Row("loc", "df.loc[mask, 'a'] = 0", reads="df mask", changes="df"),
    Row("own object is not a change from outside", "d = {}\nd['k'] = 1", writes="d"),
    Row("append", "xs.append(x)", reads="xs x", changes="xs"),
    Row("sort", "xs.sort()", reads="xs", changes="xs"),
    Row("dict update", "d.update(e)", reads="d e", changes="d"),
    Row("set add", "s.add(1)", reads="s", changes="s"),
    Row("deque", "q.appendleft(1)", reads="q", changes="q"),
    Row("in place by keyword", "df.dropna(inplace=True)", reads="df", changes="df"),
    Row("not in place", "df.dropna(inplace=False)", reads="df"),
    Row("in place through a column", "df['a'].fillna(0, inplace=True)", reads="df", changes="df"),
    Row("fit changes its receiver only", "m.fit(X, y)", reads="m X y", changes="m"),
    Row("fit_transform", "Z = s.fit_transform(X)", reads="s X", writes="Z", changes="s"),
    Row("predict reads", "p = m.predict(X)", reads="m X", writes="p"),
    Row("keras compile", "model.compile(loss='mse')", reads="model", changes="model"),
    Row("torch in place", "w.zero_()", reads="w", changes="w"),
    Row("next", "first = next(it)", reads="it", writes="first", changes="it"),
    Row("random.shuffle", "import random\nrandom.shuffle(xs)", reads="xs", changes="xs"),
    Row("numpy shuffle", "import numpy as np\nnp.random.shuffle(a)", reads="a", changes="a"),
    Row("numpy out", "import numpy as np\nnp.add(a, b, out=c)", reads="a b c", changes="c"),
    Row("numpy fill_diagonal", "import numpy as np\nnp.fill_diagonal(a, 0)", reads="a", changes="a"),
    Row("heapq", "import heapq\nheapq.heappush(h, x)", reads="h x", changes="h"),
    Row("bisect", "from bisect import insort\ninsort(xs, 3)", reads="xs", changes="xs"),
    Row("setattr", "setattr(obj, 'a', v)", reads="obj v", changes="obj"),
    Row("unbound method", "list.append(xs, 1)", reads="xs", changes="xs"),
    Row("unknown call reads", "g(x)", reads="g x"),
    Row("augmented attribute", "obj.n += 1", reads="obj", changes="obj"),
    Row("walrus then change", "(d := make())['k'] = 1", reads="make", writes="d"),
    Row("loop variable shares the list", "for row in rows:\n    row['a'] = 1", reads="rows", may="row", changes="rows"),
    Row("values() shares", "for v in d.values():\n    v.append(1)", reads="d", may="v", changes="d"),
    Row("enumerate shares", "for i, r in enumerate(rows):\n    r.x = i", reads="rows", may="i r", changes="rows"),
    # --- aliases
    Row("alias in the cell", "b = a\nb.append(1)", reads="a", writes="b", changes="a"),
    Row("alias across cells", "b.append(1)", before="a = []\nb = a", reads="b", optional="a", changes="a b"),
    Row("alias the other way", "a.append(1)", before="a = []\nb = a", reads="a", optional="b", changes="a b"),
    Row("numbers are never shared", "b += 1", before="a = 1\nb = a", reads="b", writes="b"),
    Row("rebinding ends an alias", "b.append(1)", before="a = []\nb = a\nb = []", reads="b", changes="b"),
    Row("container keeps", "c[0].append(1)", before="a = []\nc = [a]", reads="c", optional="a", changes="a c"),
    Row("dict keeps", "a['x'] = 1", before="a = {}\nd = {'m': a}", reads="a", optional="d", changes="a d"),
    Row("attribute keeps", "cfg['x'] = 1", before="cfg = {}\nobj.cfg = cfg", reads="cfg", optional="obj",
        changes="cfg obj"),
    Row("constructor of the notebook keeps", "m.opts['x'] = 1",
        before="class M:\n    def __init__(self, o):\n        self.opts = o\ncfg = {}\nm = M(cfg)",
        reads="m", optional="cfg", changes="cfg m"),
    Row("function of the notebook returns its argument", "m['x'] = 1",
        before="def same(v):\n    return v\ncfg = {}\nm = same(cfg)", reads="m", optional="cfg", changes="cfg m"),
    Row("pipeline keeps its estimators", "pipe.fit(X, y)",
        before="from sklearn.pipeline import Pipeline\nclf = Pipeline([])\npipe = Pipeline([('c', clf)])",
        reads="pipe X y", optional="clf", changes="clf pipe"),
    Row("augmented list changes its alias", "b += [1]", before="a = []\nb = a", reads="b", optional="a", writes="b",
        changes="a"),
    Row("view of an array", "v[0] = 1", before="v = base[1:3]", reads="v", optional="base", changes="base v"),
    # --- branches
    Row("if without else", "if c:\n    x = 1", reads="c", may="x"),
    Row("if and else", "if c:\n    x = 1\nelse:\n    x = 2", reads="c", writes="x"),
    Row("different names", "if c:\n    x = 1\nelse:\n    y = 2", reads="c", may="x y"),
    Row("elif", "if c:\n    x = 1\nelif d:\n    x = 2\nelse:\n    x = 3", reads="c", optional="d", writes="x"),
    Row("read in both branches", "if c:\n    print(x)\nelse:\n    len(x)", reads="c x"),
    Row("read in one branch", "if c:\n    print(x)", reads="c", optional="x"),
    Row("branch that raises does not count", "if c:\n    raise ValueError\nelse:\n    x = 1\nprint(x)",
        reads="c", writes="x"),
    Row("may-written name is read again", "if c:\n    x = 1\nprint(x)", reads="c", optional="x", may="x"),
    Row("main guard is taken", "if __name__ == '__main__':\n    x = 1", writes="x"),
    Row("constant condition", "if True:\n    x = 1\nelse:\n    y = z", writes="x"),
    Row("change in a branch", "if c:\n    d['k'] = 1", reads="c", optional="d", changes="d"),
    Row("nested branches", "if a:\n    if b:\n        x = 1\n    else:\n        x = 2", reads="a", optional="b",
        may="x"),
    Row("delete in a branch", "x = 1\nif c:\n    del x", reads="c", may="x"),
    Row("exit in a branch", "import sys\nif c:\n    sys.exit(1)\nprint(x)", reads="c x"),
    # --- loops
    Row("for", "for x in xs:\n    y = x", reads="xs", may="x y"),
    Row("loop body reads may not happen", "for x in xs:\n    print(z)", reads="xs", optional="z", may="x"),
    Row("loop that runs", "for i in range(3):\n    y = i", writes="i y"),
    Row("loop that runs reads", "for i in range(3):\n    print(z)", reads="z", writes="i"),
    Row("empty range", "for i in range(0):\n    y = 1", may="i y"),
    Row("loop over a display", "for c in ['a', 'b']:\n    y = c", writes="c y"),
    Row("range of a name", "for i in range(n):\n    y = i", reads="n", may="i y"),
    Row("break", "for i in range(3):\n    if c:\n        break\n    y = 1", reads="c", writes="i", may="y"),
    Row("continue", "for i in range(3):\n    if c:\n        continue\n    y = 1", reads="c", writes="i", may="y"),
    Row("while", "while n:\n    x = 1", reads="n", may="x"),
    Row("while true", "while True:\n    x = f()\n    if x:\n        break\n    y = 1", reads="f", writes="x", may="y"),
    Row("for else", "for x in xs:\n    if x:\n        break\nelse:\n    x = 0", reads="xs", writes="x"),
    Row("for else writes", "for x in xs:\n    y = 1\nelse:\n    z = 1", reads="xs", writes="z", may="x y"),
    Row("loop variable after the loop", "for x in xs:\n    pass\nprint(x)", reads="xs", optional="x", may="x"),
    Row("loop target is an item", "for d['k'] in xs:\n    pass", reads="xs", optional="d", changes="d"),
    Row("async for", "async for x in stream:\n    y = x", reads="stream", may="x y"),
    Row("accumulate", "for x in xs:\n    total += x", reads="xs", optional="total", may="x total"),
    # --- try
    Row("try may be left", "try:\n    x = f()\nexcept ValueError:\n    pass", reads="f", may="x"),
    Row("both ways bind", "try:\n    x = f()\nexcept ValueError:\n    x = None", reads="f", writes="x"),
    Row("except name is unbound", "try:\n    f()\nexcept ValueError as e:\n    print(e)", reads="f"),
    Row("finally always runs", "try:\n    x = f()\nfinally:\n    y = 1", reads="f", writes="x y"),
    Row("else of try", "try:\n    f()\nexcept ValueError:\n    raise\nelse:\n    x = 1", reads="f", writes="x"),
    Row("expected NameError", "try:\n    x\nexcept NameError:\n    x = 1", optional="x", may="x"),
    Row("handler that raises", "try:\n    x = f()\nexcept ValueError:\n    raise KeyError\nprint(x)", reads="f",
        writes="x"),
    Row("optional import", "try:\n    import lxml as x\nexcept ImportError:\n    x = None", writes="x"),
    Row("exception group", "try:\n    f()\nexcept* ValueError as eg:\n    n = eg", reads="f", may="n"),
    Row("handler reads", "try:\n    f()\nexcept Own:\n    print(x)", reads="f", optional="Own x"),
    # --- with, match
    Row("with", "with lock as l:\n    x = l", reads="lock", writes="l x"),
    Row("suppress", "from contextlib import suppress\nwith suppress(KeyError):\n    x = d['k']", reads="d", may="x"),
    Row("several items", "with a as b, c(b) as d:\n    pass", reads="a c", writes="b d"),
    Row("async with", "async with session() as s:\n    x = s", reads="session", writes="s x"),
    Row("match captures", "match v:\n    case {'k': k, **rest}:\n        x = k", reads="v", may="k rest x"),
    Row("match sequence", "match v:\n    case [a, *others]:\n        pass", reads="v", may="a others"),
    Row("match or, as", "match v:\n    case (1 | 2) as n:\n        pass", reads="v", may="n"),
    Row("match exhaustive", "match v:\n    case 1:\n        x = 1\n    case _:\n        x = 2", reads="v", writes="x"),
    Row("match class and guard", "match v:\n    case Point(x=px) if px > lim:\n        pass", reads="v",
        optional="Point lim",
        may="px"),
    Row("match value", "match v:\n    case Color.RED:\n        pass", reads="v", optional="Color"),
    # --- comprehensions, lambdas
    Row("comprehension variable is local", "y = [x for x in xs]", reads="xs", writes="y"),
    Row("condition", "y = [x for x in xs if x > lim]", reads="xs", optional="lim", writes="y"),
    Row("nested comprehension", "y = [c for r in rows for c in r]", reads="rows", writes="y"),
    Row("inner iterable", "y = [c for r in rows for c in f(r)]", reads="rows", optional="f", writes="y"),
    Row("dict comprehension", "y = {k: g(v) for k, v in d.items()}", reads="d", optional="g", writes="y"),
    Row("generator", "s = sum(x for x in xs)", reads="xs", writes="s"),
    Row("walrus leaks from a comprehension", "y = [last := x for x in xs]", reads="xs", writes="y", may="last"),
    Row("same name outside", "x = 1\ny = [x for x in xs]\nz = x", reads="xs", writes="x y z"),
    Row("first iterable is evaluated outside", "y = [x for x in x]", reads="x", writes="y"),
    Row("lambda reads when called", "f = lambda a: a + k", writes="f"),
    Row("lambda called", "f = lambda a: a + k\nf(1)", reads="k", writes="f"),
    Row("lambda default", "f = lambda a=n: a", reads="n", writes="f"),
    Row("lambda passed on", "y = df.apply(lambda r: r * rate)", reads="df", optional="rate", writes="y"),
    # --- functions
    Row("definition reads nothing", "def f(a):\n    return a + k", writes="f"),
    Row("definition reads defaults", "def f(a=n, *, b=m):\n    return a", reads="n m", writes="f"),
    Row("definition reads annotations", "def f(a: T) -> R:\n    pass", reads="T R", writes="f"),
    Row("call reads", "f(1)", before="def f(a):\n    return a + k", reads="f k"),
    Row("call reads transitively", "g()", before="def f():\n    return k\ndef g():\n    return f()", reads="g f k"),
    Row("late binding", "f()", before="def f():\n    return g()\ndef g():\n    return k", reads="f g k"),
    Row("local names", "f()", before="def f():\n    k = 1\n    return k", reads="f"),
    Row("global is written", "f()", before="n = 0\ndef f():\n    global n\n    n = 1", reads="f", writes="n"),
    Row("global is counted", "f()", before="n = 0\ndef f():\n    global n\n    n += 1", reads="f n", writes="n"),
    Row("global on some path", "f(x)", before="def f(a):\n    global n\n    if a:\n        n = 1", reads="f x",
        may="n"),
    Row("function changes its parameter", "clean(df)", before="def clean(d):\n    d['x'] = 1", reads="clean df",
        changes="df"),
    Row("by keyword", "clean(d=df)", before="def clean(d):\n    d['x'] = 1", reads="clean df", changes="df"),
    Row("through another function", "a(df)", before="def b(e):\n    e.pop()\ndef a(d):\n    b(d)", reads="a b df",
        changes="df"),
    Row("through an alias", "f(xs)", before="def f(p):\n    y = p\n    y.append(1)", reads="f xs", changes="xs"),
    Row("rebinding a parameter changes nothing", "f(xs)", before="def f(p):\n    p = p + [1]\n    return p",
        reads="f xs"),
    Row("function changes a free name", "f()", before="def f():\n    log.append(1)", reads="f log", changes="log"),
    Row("free item", "f()", before="def f():\n    cfg['a'] = 1", reads="f cfg", changes="cfg"),
    Row("star arguments", "f(a, b)", before="def f(*xs):\n    xs[0].append(1)", reads="f a b", changes="a b"),
    Row("conditional read in a function", "f(0)", before="def f(x):\n    if x:\n        return k", reads="f",
        optional="k"),
    Row("after an early return", "f(0)", before="def f(x):\n    if x:\n        return 0\n    return k",
        reads="f", optional="k"),
    Row("read behind a raise", "f(0)", before="def f(x):\n    if x:\n        raise ValueError\n    return k",
        reads="f k"),
    Row("function passed on", "y = map(f, xs)", before="def f(x):\n    return x * k", reads="f xs",
        optional="k", writes="y"),
    Row("function in a table", "t['a'](1)", before="def f(x):\n    return x * k\nt = {'a': f}", reads="t k"),
    Row("function with another name", "h(1)", before="def f(x):\n    return x * k\nh = f", reads="h k"),
    Row("mutable default is the function's state", "f(1)", before="def f(x, acc=[]):\n    acc.append(x)", reads="f",
        changes="f"),
    Row("attribute of a function", "f.calls = 1", before="def f():\n    pass", reads="f", changes="f"),
    Row("nested function", "f()", before="def f():\n    def g():\n        return k\n    return g()", reads="f k"),
    Row("closure", "g = make()\ng()", before="def make():\n    def inner():\n        return k\n    return inner",
        reads="make k", writes="g"),
    Row("closure counts", "c()", before="def make():\n    n = 0\n    def inner():\n        nonlocal n\n        n += 1\n"
        "    return inner\nc = make()", reads="c", changes="c"),
    Row("closure over a list", "c(1)",
        before="def make():\n    xs = []\n    def add(x):\n        xs.append(x)\n    return add\n"
        "c = make()", reads="c", changes="c"),
    Row("decorator", "@deco\ndef f():\n    return k", reads="deco", writes="f"),
    Row("decorated function called", "f()",
        before="from functools import lru_cache\n@lru_cache\ndef f():\n    return k",
        reads="f k"),
    Row("decorator of the notebook", "f()",
        before="def deco(g):\n    def w():\n        print(tag)\n        return g()\n    return w\n"
        "@deco\ndef f():\n    return k", reads="f", optional="k tag"),
    Row("recursion", "f(3)", before="def f(n):\n    return k if n else f(n - 1)", reads="f", optional="k"),
    Row("mutual recursion", "f(3)", before="def f(n):\n    return g(n)\ndef g(n):\n    return f(n) + k", reads="f g k"),
    Row("generator function", "for x in gen():\n    pass", before="def gen():\n    yield k", reads="gen k", may="x"),
    Row("async function", "await f()", before="async def f():\n    return k", reads="f k"),
    Row("partial", "g(1)", before="from functools import partial\ndef f(a, b):\n    return k\ng = partial(f, 1)",
        reads="g k"),
    Row("comprehension in a function", "f()", before="def f():\n    return [x * k for x in data]", reads="f data",
        optional="k"),
    Row("local import", "f()", before="def f():\n    import math\n    return math.pi * k", reads="f k"),
    Row("shadowing parameter", "f(1)", before="def f(k):\n    return k", reads="f"),
    Row("delete of a global", "f()", before="def f():\n    global n\n    del n", reads="f n", deletes="n"),
    Row("except name in a function", "f()",
        before="def f():\n    try:\n        pass\n    except ValueError as e:\n        pass",
        reads="f"),
    # --- classes
    Row("class body runs", "class C(Base, metaclass=Meta):\n    a = n\n    b = a", reads="Base Meta n", writes="C"),
    Row("class names are not the function's", "x = 1\nclass C:\n    y = 2\n    def m(self):\n        return y",
        writes="x C"),
    Row("method reads when called", "C().m()", before="class C:\n    def m(self):\n        return k", reads="C k"),
    Row("method of an instance", "c.m()", before="class C:\n    def m(self):\n        return k\nc = C()", reads="c k"),
    Row("method changes the object", "c.inc()",
        before="class C:\n    def inc(self):\n        self.n = 1\nc = C()", reads="c",
        changes="c"),
    Row("method reads only", "c.get()", before="class C:\n    def get(self):\n        return self.n\nc = C()",
        reads="c"),
    Row("method changes its argument", "c.f(d)",
        before="class C:\n    def f(self, x):\n        x['a'] = 1\nc = C()", reads="c d",
        changes="d"),
    Row("method by another method", "c.a()",
        before="class C:\n    def a(self):\n        return self.b()\n    def b(self):\n        return k\nc = C()",
        reads="c k"),
    Row("inherited method", "d.m()",
        before="class C:\n    def m(self):\n        return k\nclass D(C):\n    pass\nd = D()", reads="d k"),
    Row("super", "d.m()",
        before="class C:\n    def m(self):\n        self.x = k\n"
        "class D(C):\n    def m(self):\n        super().m()\nd = D()",
        reads="d k", changes="d"),
    Row("initialiser reads", "c = C()", before="class C:\n    def __init__(self):\n        self.k = k",
        reads="C k", writes="c"),
    Row("property", "c.p", before="class C:\n    @property\n    def p(self):\n        return k\nc = C()", reads="c k"),
    Row("static method", "C.s()", before="class C:\n    @staticmethod\n    def s():\n        return k", reads="C k"),
    Row("class method", "C.s()",
        before="class C:\n    items = []\n    @classmethod\n    def s(cls):\n        cls.items.append(k)",
        reads="C k", changes="C"),
    Row("class attribute", "C.n = 1", before="class C:\n    n = 0", reads="C", changes="C"),
    Row("callable object", "c()", before="class C:\n    def __call__(self):\n        return k\nc = C()", reads="c k"),
    Row("instance printed", "print(c)", before="class C:\n    def __repr__(self):\n        return k\nc = C()",
        reads="c",
        optional="k"),
    Row("comprehension in a class body", "class C:\n    xs = [1]\n    ys = [x for x in xs]", writes="C"),
    Row("dataclass", "p.x = 2", before="from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\np = P(1)",
        reads="p", changes="p"),
    # --- imports
    Row("import", "import os.path", writes=""),
    Row("imported earlier", "pd.DataFrame(x)", before="import pandas as pd", reads="x"),
    Row("import in a branch", "if c:\n    import json", reads="c", may="json"),
    Row("import hides a value", "import x\nx.f()", before="x = 1"),
    Row("name bound over an import", "os = 1\nprint(os)", before="import os", writes="os"),
    Row("import in a function is local", "def f():\n    import os\nf()", writes="f"),
    # --- shadowed builtins
    Row("shadowed builtin", "list((1, 2))", before="list = print", reads="list"),
    Row("shadowed in the cell", "sum = 0\nsum += 1", writes="sum"),
    Row("builtin not yet shadowed", "max([1])"),
    # --- IPython
    Row("magic line", "%matplotlib inline\nx = 1", writes="x"),
    Row("shell", "!ls {folder} $name", before="folder = 'a'\nname = 'b'", optional="folder name"),
    Row("shell result", "files = !ls", writes="files"),
    Row("magic result", "t = %timeit -o f(x)", reads="f x", writes="t"),
    Row("time a cell", "%%time\nx = y", reads="y", writes="x"),
    Row("time a line", "%time x = y", reads="y", writes="x"),
    Row("timeit keeps its names", "%%timeit\nx = y", reads="y"),
    Row("capture", "%%capture out\nprint(x)", reads="x", writes="out"),
    Row("capture with options", "%%capture --no-stderr out\nx = 1", writes="out x"),
    Row("bash", "%%bash --out listing\nls", writes="listing"),
    Row("html", "%%html\n<b>x = y</b>"),
    Row("writefile", "%%writefile m.py\nx = y"),
    Row("help", "df.head?\nx = 1", before="df = 1", optional="df", writes="x"),
    Row("percent is an operator", "x = (a\n     % b)", reads="a b", writes="x"),
    Row("percent after a backslash", "x = a \\\n% b", reads="a b", writes="x"),
    Row("percent in a string", "s = '''\n%time x\n'''", writes="s"),
    Row("shell in a loop", "for f in fs:\n    !cat {f}", reads="fs", may="f"),
    Row("nested cell magics", "%%capture cap\n%%time\nx = y", reads="y", writes="cap x"),
    # --- text that names names
    Row("pandas query", "df.query('a > @lim')", reads="df lim"),
    Row("pandas eval", "df.eval('b = a * @k')", reads="df k"),
    Row("eval of a literal", "y = eval('a + b')", reads="a b", writes="y"),
    Row("globals by name", "globals()['x'] = v", reads="v", writes="x"),
    Row("formula", "m = smf.ols('y ~ np_log(x)', data=df)",
        before="import statsmodels.formula.api as smf\nnp_log = 1\ndf = 2", reads="df", optional="np_log", writes="m"),
    Row("sql over frames", "duckdb.sql('select * from df')", before="import duckdb\ndf = 1", optional="df"),
    # --- state that every use changes
    Row("random generator", "x = rng.normal()", before="import numpy as np\nrng = np.random.default_rng(0)",
        reads="rng",
        writes="x", changes="rng"),
    Row("random generator passed on", "x = f(rng)", before="import numpy as np\nrng = np.random.default_rng(0)",
        reads="f rng", writes="x", changes="rng"),
    Row("generator used up", "xs = list(g)", before="g = (i for i in range(3))", reads="g", writes="xs", changes="g"),
    Row("file object", "line = fh.readline()", before="fh = open('x')", reads="fh", writes="line", changes="fh"),
    Row("iterator in a loop", "for x in it:\n    pass", before="it = iter([1])", reads="it", may="x", changes="it"),
]  # fmt: skip

if sys.version_info >= (3, 12):
    ROWS += [
        Row("type alias", "type A = list[T]", writes="A"),
        Row("generic function", "def f[T: Base](x: T) -> list[T]:\n    return x", writes="f"),
        Row("generic class", "class C[T](Base):\n    x: T", reads="Base", writes="C"),
    ]

UNIQUE = {row.title: row for row in ROWS}


def run(row: Row) -> UnitFlow:
    texts = [row.before, row.code] if row.before else [row.code]
    units = [Unit(f"u{at}", (Cell(at, at, f"c{at}", text),)) for at, text in enumerate(texts, 1)]
    return analyze(units, file="nb.ipynb").units[-1]


def test_titles_are_unique() -> None:
    assert len(UNIQUE) == len(ROWS) >= 150


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_cell(row: Row) -> None:
    found = run(row)
    assert {
        "reads": set(found.reads),
        "optional": set(found.optional_reads),
        "writes": set(found.writes),
        "may": set(found.may_writes),
        "deletes": set(found.deletes),
        "changes": set(found.mutates),
    } == {
        "reads": set(row.reads.split()),
        "optional": set(row.optional.split()),
        "writes": set(row.writes.split()),
        "may": set(row.may.split()),
        "deletes": set(row.deletes.split()),
        "changes": set(row.changes.split()),
    }
