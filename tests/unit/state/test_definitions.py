"""Functions, classes and plain objects written by one process behave in the next as if there were one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.state.units import Units

CASES: dict[str, tuple[str, ...]] = {
    "closures share a cell": (
        """
        def make():
            n = 0
            def inc():
                nonlocal n
                n += 1
                return n
            def get(): return n
            return inc, get
        inc, get = make()
        inc()
        """,
        """
        inc(); assert get() == 2
        """,
        """
        assert inc() == 3 and get() == 3
        """,
    ),
    "closures in separate names via dict": (
        """
        def make():
            n = [0]
            def inc(): n[0] += 1
            def get(): return n[0]
            return inc, get
        a, b = make()
        """,
        """
        a()
        """,
        """
        assert b() == 1
        """,
    ),
    "recursion": (
        """
        def fact(n): return 1 if n < 2 else n*fact(n-1)
        """,
        """
        assert fact(5) == 120
        """,
    ),
    "mutual recursion": (
        """
        def even(n): return n == 0 or odd(n-1)
        def odd(n): return n != 0 and even(n-1)
        """,
        """
        assert even(10)
        """,
    ),
    "mutable default": (
        """
        def f(x, acc=[]):
            acc.append(x)
            return acc
        f(1)
        """,
        """
        f(2)
        """,
        """
        assert f(3) == [1,2,3]
        """,
    ),
    "function attribute": (
        """
        def f():
            f.calls += 1
        f.calls = 0
        f()
        """,
        """
        f()
        """,
        """
        f()
        assert f.calls == 3
        """,
    ),
    "wraps": (
        """
        import functools
        def deco(g):
            @functools.wraps(g)
            def w(*a):
                w.n += 1
                return g(*a) + k
            w.n = 0
            return w
        k = 1
        @deco
        def f(x):
            "doc"
            return x
        f(1)
        """,
        """
        k = 10
        assert f(1) == 11 and f.n == 2 and f.__doc__ == 'doc' and f.__wrapped__(1) == 1
        """,
        """
        assert f(2)==12 and f.n == 3
        """,
    ),
    "lru": (
        """
        import functools
        calls = []
        @functools.lru_cache(maxsize=None)
        def fib(n):
            calls.append(n)
            return n if n < 2 else fib(n-1)+fib(n-2)
        fib(10)
        """,
        """
        assert fib(10) == 55 and len(calls) == 11
        fib(11)
        """,
        """
        assert len(calls) == 12 and fib.cache_info().currsize == 12
        """,
    ),
    "lru bounded": (
        """
        import functools
        @functools.lru_cache(maxsize=2)
        def f(a, b=1): return [a, b]
        x = f(1); y = f(2, b=3)
        """,
        """
        assert f(1) is x and f(2, b=3) is y and x == [1,1]
        """,
    ),
    "cache in class": (
        """
        import functools
        class A:
            @functools.lru_cache
            def m(self, x): return [x]
            @functools.cached_property
            def p(self): return [1]
            @property
            def q(self): return self.m(1)
            @staticmethod
            def s(): return 's'
            @classmethod
            def c(cls): return cls
        a = A(); r = a.m(1); pp = a.p
        """,
        """
        assert a.m(1) == [1] and a.p is pp and a.q == [1] and A.s() == 's' and A.c() is A and a.c() is A
        """,
    ),
    "registry decorator": (
        """
        REG = {}
        def reg(g):
            REG[g.__name__] = g
            return g
        @reg
        def f(): return 1
        """,
        """
        assert REG['f'] is f and f() == 1
        """,
    ),
    "class registry init_subclass": (
        """
        class Base:
            subs = []
            def __init_subclass__(cls, **kw):
                super().__init_subclass__(**kw)
                Base.subs.append(cls)
        class A(Base): pass
        """,
        """
        class B(Base): pass
        assert Base.subs == [A, B]
        """,
        """
        assert Base.subs == [A, B] and B.__mro__[1] is Base
        """,
    ),
    "metaclass": (
        """
        class Meta(type):
            reg = {}
            def __new__(m, n, b, d):
                c = super().__new__(m, n, b, d)
                Meta.reg[n] = c
                return c
            def __call__(cls, *a):
                o = super().__call__(*a)
                o.tag = 1
                return o
        class A(metaclass=Meta):
            pass
        a = A()
        """,
        """
        assert Meta.reg == {'A': A} and A().tag == 1 and type(a) is A and type(A) is Meta
        class B(A): pass
        """,
        """
        assert list(Meta.reg) == ['A', 'B'] and Meta.reg['B'] is B
        """,
    ),
    "abc": (
        """
        import abc
        class S(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
        class Q(S):
            def area(self): return 4
        class V: pass
        S.register(V)
        q = Q()
        """,
        """
        assert q.area() == 4 and isinstance(V(), S)
        try:
            S()
            raise SystemExit('x')
        except TypeError: pass
        """,
    ),
    "slots": (
        """
        class P:
            __slots__ = ('x', '__y')
            def __init__(self): self.x = 1; self.__y = 2
            def y(self): return self.__y
        p = P()
        """,
        """
        assert p.x == 1 and p.y() == 2 and not hasattr(p, '__dict__')
        P().x = 3
        """,
    ),
    "enum": (
        """
        import enum
        class K(enum.Enum):
            A = 1
            B = (2, 3)
            C = A
            def hi(self): return self.name
        class Pl(enum.Enum):
            E = (1.0, 2.0)
            def __init__(self, m, r): self.m = m; self.r = r
        class Fl(enum.Flag):
            X = enum.auto(); Y = enum.auto()
        class S(str, enum.Enum):
            U = 'u'
        class I(enum.IntEnum):
            ONE = 1
        a = K.A; d = {K.A: 1, K.B: 2}; xy = Fl.X | Fl.Y; s = S.U; e = Pl.E; i = I.ONE
        """,
        """
        assert a is K.A
        assert K.C is K.A
        assert d[K.B] == 2
        assert a.hi() == 'A'
        assert K((2,3)) is K.B
        assert xy == Fl.X|Fl.Y
        assert s is S.U
        assert s == 'u'
        assert e.m == 1.0
        assert e is Pl.E
        assert i == 1
        assert i is I.ONE
        assert list(K) == [K.A, K.B]
        assert S('u') is s
        """,
    ),
    "dataclass": (
        """
        from dataclasses import dataclass, field, replace, fields
        @dataclass(frozen=True, order=True)
        class P:
            x: int
            tags: list = field(default_factory=list, compare=False)
        @dataclass(slots=True, kw_only=True)
        class Q:
            a: int = 1
        @dataclass
        class R(P.__mro__[0] if False else object):
            z: 'int' = 0
        p = P(1); q = Q(a=2); s = {p: 1} if False else None; h = {P(1), P(2)}
        """,
        """
        assert replace(p, x=3).x == 3
        assert p < P(2)
        assert q == Q(a=2)
        assert fields(P)[1].default_factory is list
        assert P(1) in h
        assert R().z == 0
        assert P(5).tags == []
        """,
    ),
    "namedtuple": (
        """
        from collections import namedtuple
        from typing import NamedTuple
        A = namedtuple('A', 'x y', defaults=[5])
        class B(NamedTuple):
            x: int
            y: list = []
            def tot(self): return self.x
        a = A(1); b = B(2)
        """,
        """
        assert a == A(1, 5)
        assert a.x == 1
        assert type(a) is A
        assert b.tot() == 2
        assert b._replace(x=3).x == 3
        assert B(1).y is b.y
        assert A._make([1,2]).y == 2
        """,
    ),
    "generic": (
        """
        from typing import Generic, TypeVar, Protocol, TypedDict, NewType
        T = TypeVar('T')
        class Stack(Generic[T]):
            def __init__(self): self.items: list[T] = []
        class Pr(Protocol):
            def f(self) -> int: ...
        class TD(TypedDict):
            a: int
        U = NewType('U', int)
        s = Stack[int](); td: TD = {'a': 1}; u = U(5)
        class Impl:
            def f(self): return 1
        """,
        """
        assert isinstance(s, Stack)
        assert Stack[str]
        assert Stack.__parameters__ == (T,)
        assert TD(a=2) == {'a': 2}
        assert U(3) == 3
        assert TD.__annotations__ == {'a': int}
        class St2(Stack[T]): pass
        """,
    ),
    "singledispatch": (
        """
        import functools
        @functools.singledispatch
        def f(x): return 'o'
        @f.register
        def _(x: int): return 'i'
        class A: pass
        @f.register(A)
        def _a(x): return 'A'
        """,
        """
        assert f(1) == 'i' and f('') == 'o' and f(A()) == 'A'
        @f.register
        def _s(x: str): return 's'
        """,
        """
        assert f('') == 's' and f(1) == 'i'
        """,
    ),
    "super and __class__": (
        """
        class A:
            def __init__(self): self.l = ['A']
        class B(A):
            def __init__(self):
                super().__init__()
                self.l.append(__class__.__name__)
        b = B()
        """,
        """
        assert B().l == ['A', 'B'] and isinstance(b, A)
        class C(B):
            def __init__(self):
                super().__init__()
        c = C()
        """,
        """
        assert c.l == ['A','B'] and isinstance(c, A) and C.__bases__ == (B,)
        """,
    ),
    "lambda default dict": (
        """
        from collections import defaultdict, OrderedDict, deque
        k = 3
        d = defaultdict(lambda: k)
        d2 = defaultdict(lambda: defaultdict(int))
        d2['a']['b'] += 1
        q = deque([1], maxlen=2); o = OrderedDict(a=1)
        """,
        """
        k = 4
        assert d['x'] == 4 and d2['a']['b'] == 1 and d2['z']['y'] == 0 and q.maxlen == 2 and o == {'a': 1}
        """,
    ),
    "local class": (
        """
        def mk():
            class L:
                n = 0
                def __init__(self): L.n += 1
                def up(self): return type(self) is L
            return L
        L1 = mk(); a = L1(); b = L1()
        """,
        """
        assert type(a) is type(b) is L1 and L1.n == 2 and a.up()
        L1()
        """,
        """
        assert L1.n == 3 and type(a).n == 3
        """,
    ),
    "bound method": (
        """
        class A:
            def __init__(self): self.n=0
            def up(self): self.n += 1
        a = A()
        up = a.up
        m = A.up
        """,
        """
        up()
        m(a)
        assert a.n == 2 and up.__self__ is a and m is A.up
        """,
        """
        assert a.n == 2
        """,
    ),
    "partial": (
        """
        import functools, operator
        L = []
        def f(a, b): a.append(b)
        p = functools.partial(f, L)
        """,
        """
        p(1)
        """,
        """
        assert L == [1]
        p(2)
        assert L == [1,2]
        """,
    ),
    "redefined class": (
        """
        class A:
            x=1
        a=A()
        class A:
            x=2
        b=A()
        """,
        """
        assert type(a) is not type(b) and a.x == 1 and b.x == 2 and type(b) is A
        """,
    ),
    "same function twice": (
        """
        def f(x=[]): return x
        g = f
        def f(x=[]): return x
        f().append(1)
        """,
        """
        assert g is not f and g() == [] and f() == [1]
        """,
    ),
    "same def in later unit": (
        """
        def f(x=[]):
            x.append(1)
            return x
        g=f
        g()
        """,
        """
        def f(x=[]):
            x.append(1)
            return x
        f()
        """,
        """
        assert g() == [1,1] and f() == [1,1] and f is not g
        """,
    ),
    "exec": (
        """
        exec('def h(): return zz')
        zz = 1
        """,
        """
        zz = 2
        assert h() == 2
        globals()['w'] = 5
        """,
        """
        assert w == 5 and 'w' in globals() and 'nope' not in globals() and eval('zz') == 2
        """,
    ),
    "del": (
        """
        x = 1
        y = [2]
        """,
        """
        del x
        assert y
        """,
        """
        try:
            x
            raise SystemExit('bad')
        except NameError: pass
        assert y == [2]
        """,
    ),
    "del in function": (
        """
        x = 1
        y = 2
        """,
        """
        def g():
            global y
            y
            del y
        g()
        """,
        """
        assert 'y' not in globals() and x == 1
        """,
    ),
    "monkeypatch": (
        """
        class A:
            def m(self): return 1
        def m2(self): return 2
        a = A()
        """,
        """
        A.m = m2
        A.k = [1]
        """,
        """
        assert a.m() == 2 and A.m is m2 and a.k == [1]
        """,
    ),
    "nested class": (
        """
        class A:
            class B:
                l = []
            b = B()
        x = A.B()
        """,
        """
        assert type(x) is A.B and type(A.b) is A.B
        x.l.append(1)
        """,
        """
        assert A.B.l == [1] and type(x) is A.B
        """,
    ),
    "__main__": (
        """
        class A: pass
        def f(): return 1
        """,
        """
        import __main__
        assert __main__.f is f and __main__.A is A
        import pickle
        b = pickle.dumps(A())
        """,
        """
        import pickle
        assert type(pickle.loads(b)) is A
        """,
    ),
    "exception": (
        """
        class E(Exception):
            def __init__(self, a, b): super().__init__(f'{a}{b}'); self.a = a
        try:
            try: 1/0
            except ZeroDivisionError as z: raise E(1, 2) from z
        except E as e: err = e
        """,
        """
        assert err.a == 1 and str(err) == '12' and type(err) is E and isinstance(err.__cause__, ZeroDivisionError)
        """,
    ),
    "sentinel": (
        """
        MISSING = object()
        d = {'a': MISSING}
        def f(x=MISSING): return x is MISSING
        """,
        """
        assert d['a'] is MISSING and f() and f(MISSING) and not f(1)
        """,
    ),
    "property types": (
        """
        import types
        ns = types.SimpleNamespace(a=[1])
        mp = types.MappingProxyType(ns.__dict__)
        it = iter([1,2,3]); next(it)
        z = zip([1],[2])
        """,
        """
        assert ns.a == [1] and next(it) == 2 and mp['a'] is ns.a and list(z) == [(1,2)]
        """,
    ),
    "async def": (
        """
        async def f(): return 1
        import asyncio
        """,
        """
        assert asyncio.run(f()) == 1
        """,
    ),
    "type hints": (
        """
        import typing
        def f(a: 'int', *, b: list[int] = [1]) -> None: pass
        """,
        """
        assert typing.get_type_hints(f)['a'] is int and f.__kwdefaults__ == {'b': [1]}
        """,
    ),
    "contextvar and cond": (
        """
        x = y = [1]
        def g(): yield from x
        """,
        """
        assert x is y and list(g()) == [1]
        """,
    ),
    "logger": (
        """
        import logging
        log = logging.getLogger('a.b')
        """,
        """
        assert log is logging.getLogger('a.b')
        """,
    ),
    "re": (
        """
        import re
        p = re.compile('a+')
        """,
        """
        assert p.match('aa')
        """,
    ),
    "instances with reduce": (
        """
        class A:
            def __init__(self, x): self.x = x
            def __reduce__(self): return (A, (self.x,))
            def __eq__(self, o): return self.x == o.x
            def __hash__(self): return hash(self.x)
        s = {A(1): 2}
        """,
        """
        assert s[A(1)] == 2
        """,
    ),
    "getstate": (
        """
        import threading
        class A:
            def __init__(self): self.l = threading.Lock(); self.x = 1
            def __getstate__(self): return {'x': self.x}
            def __setstate__(self, s): self.x = s['x']; self.l = threading.Lock()
        a = A()
        """,
        """
        assert a.x == 1 and a.l
        """,
    ),
    "descriptor": (
        """
        class D:
            def __set_name__(self, o, n): self.n = '_' + n
            def __get__(self, i, o): return getattr(i, self.n, 0)
            def __set__(self, i, v): setattr(i, self.n, v)
        class A:
            x = D()
        a = A(); a.x = 5
        """,
        """
        assert a.x == 5 and a._x == 5
        """,
    ),
    "self-referring": (
        """
        l = []
        l.append(l)
        d = {'l': l}
        d['d'] = d
        """,
        """
        assert l[0] is l and d['d'] is d and d['l'] is l
        """,
    ),
    "random instance": (
        """
        import random
        r = random.Random(3); r.random()
        r2 = random.Random(3); r2.random()
        f = random.random
        """,
        """
        assert r.random() == r2.random()
        import random
        assert f.__self__ is random._inst
        """,
    ),
    "class with instance registry": (
        """
        class N:
            all = []
            def __init__(self): N.all.append(self)
        a = N()
        b = N()
        """,
        """
        c = N()
        assert N.all == [a, b, c]
        """,
        """
        assert N.all[0] is a and N.all[2] is c and len(N.all) == 3
        """,
    ),
    "frozen key of class attr": (
        """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class K:
            a: int
        K.table = {K(1): 'one'}
        """,
        """
        assert K.table[K(1)] == 'one'
        """,
    ),
    "default factory function of nb": (
        """
        def mk(): return [7]
        from collections import defaultdict
        d = defaultdict(mk)
        """,
        """
        assert d[1] == [7] and d.default_factory is mk
        """,
    ),
    "paths module": (
        """
        from pathlib import Path
        p = Path('a/b')
        import datetime, decimal, fractions, uuid
        t = datetime.datetime(2020,1,1, tzinfo=datetime.timezone.utc)
        D = decimal.Decimal('1.1')
        u = uuid.UUID(int=5)
        """,
        """
        assert p.name == 'b' and t.year == 2020 and str(D) == '1.1' and u.int == 5
        """,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_behaves_as_in_one_process(name: str, tmp_path: Path) -> None:
    units = Units(tmp_path)
    for source in CASES[name]:
        answer = units.run(source)
        assert not {key: ref.reason for key, ref in answer.outputs.items() if ref.kind == "hole"}
