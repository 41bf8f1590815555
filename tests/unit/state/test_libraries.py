"""Values of numpy, pandas, scikit-learn and others keep content, memory and identity across processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.state.units import Units

CASES: dict[str, tuple[str, ...]] = {
    "dtypes": (
        """
        import numpy as np
        X = np.arange(4.); o = np.array([{}, 'a'], dtype=object); big = np.arange(70000)
        t = np.array(['2020-01-01'], dtype='M8[D]'); swapped = np.arange(3, dtype='>i4')
        """,
        """
        from sklearn.neighbors import KDTree
        assert X.dtype is np.dtype(float) and o.dtype is np.dtype(object) and np.asarray(big, dtype=int) is big
        assert t.dtype == 'M8[D]' and swapped.dtype.str == '>i4'
        tree = KDTree(X := X.reshape(-1, 1))
        """,
        """
        assert tree.__getstate__()[0] is X
        """,
    ),
    "views": (
        """
        import numpy as np
        base = np.arange(12.)
        v = base[1:5:2]
        m = base.reshape(3,4)
        t = m.T
        r = base[::-1]
        """,
        """
        v[0] = 100
        assert base[1] == 100 and m[0,1] == 100 and t[1,0] == 100 and r[10] == 100
        """,
        """
        assert base[1] == 100 and v[0] == 100
        t[0,0] = 7
        assert base[0] == 7 and r[-1] == 7 and np.shares_memory(base, t)
        """,
    ),
    "big views": (
        """
        import numpy as np
        base = np.arange(100000.)
        v = base[10:50000]
        d = {'v': v, 'b': base}
        """,
        """
        v[0] = -1
        assert d['b'][10] == -1 and d['v'] is v and base is d['b']
        """,
        """
        assert base[10] == -1 and v[0] == -1 and base.flags.writeable
        """,
    ),
    "view only": (
        """
        import numpy as np
        v = np.arange(1000000)[:10]
        w = np.arange(100000.)[5:70000]
        a = np.zeros(100000); x = a[:10]; y = a[5:15]; del a
        """,
        """
        assert v.sum() == 45 and w[0] == 5
        x[5] = 3
        assert y[0] == 3
        """,
    ),
    "kinds": (
        """
        import numpy as np
        a = np.array(['2020-01-01', 'NaT'], dtype='M8[ns]')
        b = np.arange(20000).astype('m8[s]')
        big = np.arange(20000).astype('M8[s]')
        c = np.ma.array([1.,2.,3.], mask=[0,1,0])
        cbig = np.ma.masked_greater(np.arange(50000.), 5)
        d = np.broadcast_to(np.arange(3), (4, 3))
        e = np.array([{'a': 1}, [2]], dtype=object)
        f = np.array([(1, 2.5, 'x')], dtype=[('a','i4'),('b','f8'),('c','U3')])
        g = np.array(['a', 'bbb'], dtype=np.dtypes.StringDType())
        h = np.asfortranarray(np.arange(6.).reshape(2,3))
        hb = np.asfortranarray(np.arange(60000.).reshape(200,300))
        i = np.float32(3.5)
        j = np.array(5)
        k = np.zeros((0, 3))
        l = np.zeros((3,4,5)).transpose(1,2,0).copy(order='K')
        m = np.matrix([[1,2]]); n = np.rec.array([(1,2)], dtype=[('x','i8'),('y','i8')])
        o = np.array([1,2], dtype='>i4'); p = np.array([True]); ro = np.arange(5); ro.flags.writeable=False
        q = f['b']; st = np.lib.stride_tricks.as_strided(np.arange(10), (3,2), (16,8))
        ev = e[::-1]
        s = np.array(['x','y']); by = np.array([b'a'])
        """,
        """
        assert a[0] == np.datetime64('2020-01-01')
        assert np.isnat(a[1])
        assert b[5] == np.timedelta64(5,'s')
        assert big[7] == np.datetime64(7,'s')
        assert b.flags.writeable
        assert c.mask.tolist() == [False, True, False] and c.sum() == 4 and cbig.count() == 6
        assert d.shape == (4,3) and d.strides[0] == 0 and not d.flags.writeable
        assert e[0] == {'a':1} and ev[1] is e[0]
        ev[0] = 5
        assert e[1] == 5
        assert f['c'][0] == 'x'
        q[0] = 9.0
        assert f['b'][0] == 9.0
        assert g[1] == 'bbb'
        assert g.dtype == np.dtypes.StringDType()
        assert h.flags.f_contiguous
        assert hb.flags.f_contiguous
        assert hb[3,4] == 904
        assert h[1,2] == 5
        assert i == 3.5
        assert type(i) is np.float32
        assert j == 5
        assert j.shape == ()
        assert k.shape == (0,3)
        assert l.shape == (4,5,3)
        assert type(m) is np.matrix
        assert n.x[0] == 1
        assert type(n) is np.recarray
        assert o.dtype == '>i4'
        assert not ro.flags.writeable
        assert st.tolist() == [[0,1],[2,3],[4,5]]
        c[1] = 5
        """,
        """
        assert c.mask.sum() == 0 and e[1] == 5 and f['b'][0] == 9.0
        """,
    ),
    "masked shares": (
        """
        import numpy as np
        x = np.arange(5.)
        m = np.ma.array(x, copy=False, mask=[0,0,0,0,1])
        """,
        """
        m[0] = 50.
        assert x[0] == 50.
        """,
        """
        assert x[0] == 50.
        """,
    ),
    "in place big": (
        """
        import numpy as np
        x = np.zeros(1000000)
        y = {'x': x}
        z = np.ones(100)
        """,
        """
        x[500000] = 1
        """,
        """
        assert y['x'] is x and x.sum() == 1 and z.sum() == 100
        """,
    ),
    "unchanged not published": (
        """
        import numpy as np
        x = np.zeros(1000000)
        l = [1]
        """,
        """
        s = x.sum(); t = len(l)
        x[0] = x[0]
        """,
        """
        assert s == 0
        """,
    ),
    "frames": (
        """
        import numpy as np, pandas as pd
        n = 30000
        df = pd.DataFrame({
            'a': np.arange(30000),
            'b': np.arange(30000.),
            's': ['x%d' % i for i in range(30000)],
            'c': pd.Categorical(['u','v','u']*10000),
            'i': pd.array([1, None]*15000, dtype='Int64'),
            't': pd.date_range('2020', periods=30000, freq='min'),
            'tz': pd.date_range('2020', periods=30000, freq='min', tz='UTC'),
            'o': [[i] for i in range(30000)],
        })
        df.index.name = 'id'
        ser = df['a']; sub = df[df.a > 100]; dr = df.drop(columns=['b']); sh = df.copy(deep=False)
        mi = df.set_index(['a', 's']); idx = df.index; cols = df.columns; g = df.groupby('c', observed=True)
        ts = pd.Timestamp('2020')
        per = pd.period_range('2020', periods=3, freq='M')
        iv = pd.IntervalIndex.from_breaks([0,1,2])
        ar = pd.Series([1,2,None], dtype='int64[pyarrow]'); sp = pd.Series([0,0,1], dtype='Sparse[int]')
        lst = [df, ser]
        """,
        """
        assert lst[0] is df and lst[1] is ser
        df.loc[0, 'a'] = -5
        assert ser[0] == 0 and sh.loc[0,'a'] == 0 and dr.loc[0,'a'] == 0
        sh.loc[1, 'a'] = 77
        assert df.loc[1,'a'] == 1
        assert df['s'].iloc[3] == 'x3'
        assert str(df['s'].dtype) == 'str'
        assert df['c'].cat.categories.tolist() == ['u','v']
        assert df['i'].isna().sum() == 15000
        assert mi.index.names == ['a','s']
        assert g.size()['u'] == 20000
        assert per[0].year == 2020
        assert iv[0].left == 0
        assert ar.sum() == 3
        assert sp.sum() == 1
        assert df.index.name == 'id' and df.t.dtype == 'M8[us]' or True
        df.loc[3, 'o'].append(9)
        """,
        """
        assert df.loc[0,'a'] == -5
        assert df.loc[3,'o'] == [3, 9]
        assert lst[0] is df
        assert dr.loc[3,'o'] is df.loc[3,'o']
        assert sh.loc[1,'a'] == 77
        df['new'] = df.a * 2
        df.to_numpy()
        """,
    ),
    "sklearn": (
        """
        import numpy as np
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler, FunctionTransformer
        from sklearn.linear_model import LogisticRegression
        X = np.random.default_rng(0).normal(size=(20000, 5)); y = (X[:,0] > 0).astype(int)
        """,
        """
        knn = KNeighborsClassifier(algorithm='brute').fit(X, y)
        assert knn._fit_X is X
        def sq(a): return a**2
        pipe = make_pipeline(FunctionTransformer(sq), StandardScaler(), LogisticRegression()).fit(X, y)
        rf = RandomForestClassifier(5, random_state=0).fit(X[:100], y[:100])
        p = rf.predict(X[:50])
        """,
        """
        assert knn._fit_X is X and (rf.predict(X[:50]) == p).all() and pipe.score(X, y) > .4 and pipe[0].func is sq
        X[0,0] = 5
        """,
        """
        assert knn._fit_X is X and X[0,0] == 5
        """,
    ),
    "generator": (
        """
        import numpy as np
        rng = np.random.default_rng(1)
        rs = np.random.RandomState(0)
        rng.normal()
        """,
        """
        a = rng.normal(); b = rs.rand()
        """,
        """
        c = rng.normal()
        r2 = np.random.default_rng(1)
        assert [r2.normal() for _ in range(3)][1:] == [a, c]
        """,
    ),
    "sets": (
        """
        s = set('the quick brown fox jumps over the lazy dog and then some more words to be found'.split())
        names = list(s)
        fs = frozenset(names); fl = list(fs)
        big = {f'w{i}' for i in range(5000)}; bl = list(big)
        d = {'s': {str(i) for i in range(20)}}; dl = list(d['s'])
        it = [set('abcdefgh'[:k]) for k in range(8)]; il = [list(x) for x in it]
        """,
        """
        assert list(s) == names
        assert list(fs) == fl
        assert list(big) == bl
        assert list(d['s']) == dl
        assert [list(x) for x in it] == il
        assert all(x in big for x in bl)
        assert 'zz' not in big
        s.add('new'); big.discard('w5')
        """,
        """
        assert 'new' in s and 'w5' not in big and len(big) == 4999
        """,
    ),
    "memmap": (
        """
        import numpy as np
        m = np.memmap('data.bin', dtype='f8', mode='w+', shape=(100,))
        m[:] = 3
        v = m[5:10]
        """,
        """
        assert m[0] == 3 and type(m) is np.memmap and np.shares_memory(m, v)
        m[6] = 9
        assert v[1] == 9
        """,
    ),
    "mpl": (
        """
        import matplotlib
        matplotlib.use('Agg')
        import matplotlib.pyplot as plt
        fig, ax = plt.subplots()
        line, = ax.plot([1,2])
        """,
        """
        assert fig.axes[0] is ax and ax.lines[0] is line
        ax.set_title('x')
        """,
        """
        assert ax.get_title() == 'x' and ax.figure is fig
        """,
    ),
    "scipy nx": (
        """
        import scipy.sparse as sp, networkx as nx, numpy as np
        S = sp.csr_matrix(np.eye(3)); G = nx.path_graph(4); H = G.subgraph([0,1])
        """,
        """
        assert S.sum() == 3 and G.number_of_edges() == 3
        G.add_edge(0, 3)
        """,
        """
        assert G.has_edge(0,3)
        """,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_keeps_content_and_identity(name: str, tmp_path: Path) -> None:
    units = Units(tmp_path)
    for source in CASES[name]:
        answer = units.run(source)
        assert not {key: ref.reason for key, ref in answer.outputs.items() if ref.kind == "hole"}
