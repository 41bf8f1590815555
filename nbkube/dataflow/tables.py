"""What library calls do, as far as a short table can tell; what it misses is observed at run time.

Effects are guessed on the side of True for code that is not known; the computing libraries are known to be quiet.
"""

from __future__ import annotations

import sys
from functools import cache

FILES, RANDOM, SEEDS, PROCESS, DYNAMIC, INSPECTS, HISTORY = 1, 2, 4, 8, 16, 32, 64


def names(text: str) -> frozenset[str]:
    """The words of a table written as text."""
    return frozenset(text.split())


MUTATING = names("""
    append extend insert remove pop clear sort reverse add discard update setdefault popitem appendleft extendleft
    popleft rotate difference_update intersection_update symmetric_difference_update move_to_end
    fit fit_transform partial_fit fit_predict fit_resample compile build load_weights set_weights load_state_dict
    train step zero_grad backward adapt reset_states train_on_batch learn fit_generator
    write writelines send throw close seek read readline readlines truncate flush fill resize itemset setflags setfield
    add_module register_buffer register_forward_hook seed put put_nowait subscribe execute executemany commit
    add_node add_edge add_nodes_from add_edges_from remove_node remove_edge add_argument add_subparsers
    addHandler setLevel setFormatter setattr append_column drop_column insert_column enroll cache_clear
    __setitem__ __setattr__ __delitem__ __delattr__ __init__ __next__ __iadd__
""")
"""Methods that change their receiver."""

SHALLOW = names("""
    append extend insert remove pop clear sort reverse add discard update setdefault popitem appendleft extendleft
    popleft rotate difference_update intersection_update symmetric_difference_update put put_nowait __setitem__
    __delitem__ move_to_end
""")
"""Of these, those that change which objects the receiver holds, and none of the objects."""

SETTERS_OF_COPIES = names("set_index set_axis set_flags set_categories set_geometry set_crs set_union")
"""`set_…` methods that return a changed copy."""

COPYING = names("copy deepcopy astype tolist to_dict to_list item decode encode strip split lower upper format join")

SHARING = names("""
    get setdefault items values keys view reshape ravel squeeze transpose swapaxes to_numpy __getitem__ parameters
    named_parameters modules children layers iterrows itertuples __iter__ pop popitem popleft get_layer get_params
    state_dict
""")
"""Methods whose result shares objects with their receiver."""

CHANGES_ARGUMENT: dict[str, tuple[int, ...]] = {
    "random.shuffle": (0,), "numpy.random.shuffle": (0,), "builtins.next": (0,), "builtins.anext": (0,),
    "builtins.setattr": (0,), "builtins.delattr": (0,),
    "heapq.heappush": (0,), "heapq.heappop": (0,), "heapq.heapify": (0,), "heapq.heappushpop": (0,),
    "heapq.heapreplace": (0,), "bisect.insort": (0,), "bisect.insort_left": (0,), "bisect.insort_right": (0,),
    "operator.setitem": (0,), "operator.delitem": (0,), "operator.iadd": (0,), "operator.iconcat": (0,),
    "numpy.put": (0,), "numpy.place": (0,), "numpy.copyto": (0,), "numpy.putmask": (0,), "numpy.fill_diagonal": (0,),
    "numpy.put_along_axis": (0,), "numpy.add.at": (0,), "numpy.subtract.at": (0,), "numpy.multiply.at": (0,),
    "numpy.maximum.at": (0,), "numpy.minimum.at": (0,), "sklearn.utils.shuffle": (),
    "list.append": (0,), "builtins.list.append": (0,), "builtins.list.extend": (0,), "builtins.list.sort": (0,),
    "builtins.dict.update": (0,), "builtins.dict.pop": (0,), "builtins.set.add": (0,),
    "builtins.object.__setattr__": (0,),
    "functools.update_wrapper": (0,), "torch.nn.utils.clip_grad_norm_": (0,), "collections.deque.append": (0,),
}  # fmt: skip
"""Functions that change the arguments at these positions."""

STATEFUL_MAKERS = names("""
    numpy.random.default_rng numpy.random.RandomState numpy.random.Generator random.Random random.SystemRandom
    torch.Generator builtins.iter builtins.zip builtins.map builtins.filter builtins.enumerate builtins.reversed
    builtins.open csv.reader csv.DictReader itertools.count itertools.cycle itertools.chain itertools.islice
    itertools.tee itertools.product itertools.starmap itertools.takewhile itertools.dropwhile itertools.groupby
    io.StringIO io.BytesIO queue.Queue sqlite3.connect re.finditer os.walk os.scandir numpy.nditer
    tensorflow.random.Generator.from_seed jax.random.PRNGKey
""")
"""Calls whose result changes with every use."""

ITERATES_ONLY = names("""
    builtins.zip builtins.enumerate builtins.reversed builtins.iter builtins.list builtins.tuple builtins.sorted
    builtins.filter builtins.set itertools.chain itertools.islice itertools.cycle builtins.dict tqdm.tqdm
    tqdm.auto.tqdm tqdm.notebook.tqdm numpy.asarray numpy.asanyarray numpy.ravel numpy.reshape numpy.transpose
    numpy.squeeze numpy.atleast_1d numpy.atleast_2d numpy.broadcast_to torch.from_numpy torch.as_tensor
    functools.partial weakref.ref weakref.proxy types.SimpleNamespace copy.copy builtins.vars builtins.memoryview
    numpy.ma.array numpy.array_split numpy.split builtins.next builtins.getattr builtins.min builtins.max
    collections.deque collections.ChainMap collections.OrderedDict collections.defaultdict builtins.property
    operator.itemgetter dataclasses.replace
""")
"""Calls whose result shares objects with their arguments."""

CONTAINERS = names("""
    builtins.zip builtins.enumerate builtins.reversed builtins.iter builtins.list builtins.tuple builtins.sorted
    builtins.filter builtins.set builtins.dict itertools.chain itertools.islice itertools.cycle copy.copy
    functools.partial types.SimpleNamespace collections.deque collections.ChainMap collections.OrderedDict
    collections.defaultdict
""")
"""Of these, those whose result is a new object that holds the arguments' objects."""

_IMMUTABLE_RESULTS = names("""
    builtins.len builtins.int builtins.float builtins.str builtins.bool builtins.round builtins.abs builtins.hash
    builtins.id builtins.repr builtins.ord builtins.chr builtins.isinstance builtins.issubclass builtins.callable
    builtins.hasattr builtins.complex builtins.bytes builtins.format builtins.ascii builtins.bin builtins.hex
    builtins.any
    builtins.all builtins.range builtins.type builtins.print os.path.join os.getcwd time.time time.perf_counter
    pathlib.Path builtins.pow builtins.divmod builtins.frozenset
""")

DATA_MODULES = names("numpy pandas polars scipy pyarrow builtins math xarray cupy cudf dask geopandas statistics")
"""Modules whose classes copy or own their data: constructing does not keep the arguments."""

_QUIET_LIBRARIES = names("""
    numpy pandas scipy sklearn statsmodels matplotlib seaborn plotly bokeh altair keras tensorflow tf_keras torch
    torchvision xgboost lightgbm catboost polars pyarrow xarray dask numba jax flax optax sympy networkx nltk spacy
    gensim tqdm IPython ipywidgets rich tabulate joblib imblearn shap umap hdbscan prophet pmdarima cv2 PIL skimage
    transformers datasets tokenizers sentence_transformers tensorflow_probability pymc arviz category_encoders
    mlxtend yellowbrick missingno wordcloud geopandas shapely patsy lifelines optuna cloudpickle msgspec pydantic
    attr attrs dateutil pytz typing_extensions regex numexpr bottleneck builtins mpl_toolkits cycler pandas_profiling
    ydata_profiling skopt hyperopt eli5 lime surprise implicit nltk textblob tensorflow_hub tensorflow_text einops
    pytorch_lightning lightning timm torchmetrics sktime tslearn pywt librosa faker more_itertools toolz cytoolz
    openpyxl jinja2 markdown bs4 lxml yaml toml dotenv
""")

_LOUD_STANDARD = names("""
    os shutil subprocess glob tempfile sqlite3 socket urllib http ftplib smtplib zipfile tarfile gzip bz2 lzma pickle
    shelve dbm fileinput multiprocessing threading concurrent asyncio webbrowser mmap ctypes pty signal runpy ssl
    linecache filecmp mailbox select selectors imaplib poplib telnetlib xmlrpc wave logging importlib
""")
"""Standard modules that touch files, processes or the network (the pure ones among their functions are listed)."""

_QUIET_NAMES = names("""
    os.path.join os.path.basename os.path.dirname os.path.splitext os.path.split os.path.normpath os.path.abspath
    os.path.expanduser os.path.sep os.path.commonpath os.path.isabs os.path.expandvars os.getcwd os.getpid
    os.cpu_count os.environ.get os.getenv os.sep os.linesep os.name os.urandom os.environ.keys os.environ.items
    os.environ.copy os.sched_getaffinity os.uname os.getlogin os.get_terminal_size os.fspath os.times os.getuid
    os.environ.pop os.environ.setdefault os.environ.update os.putenv os.unsetenv os.chdir os.umask
    pickle.dumps pickle.loads logging.getLogger logging.info logging.debug logging.warning logging.error
    logging.basicConfig logging.critical logging.exception logging.StreamHandler logging.Formatter
    logging.captureWarnings logging.disable logging.getLevelName logging.NullHandler logging.log logging.setLevel
    threading.Lock threading.RLock threading.Event threading.local threading.current_thread threading.Semaphore
    urllib.parse.urlparse urllib.parse.urljoin urllib.parse.quote urllib.parse.urlencode urllib.parse.unquote
    urllib.parse.quote_plus gzip.compress gzip.decompress bz2.compress bz2.decompress lzma.compress lzma.decompress
    importlib.import_module importlib.reload importlib.metadata.version asyncio.sleep asyncio.gather asyncio.run
    asyncio.create_task asyncio.Queue asyncio.Event asyncio.Lock asyncio.wait_for asyncio.wait multiprocessing.cpu_count
    ctypes.c_int ctypes.c_double glob.escape signal.signal
""")

FILE_METHODS = names("""
    write_text read_text write_bytes read_bytes mkdir rmdir unlink touch exists is_file is_dir
    glob rglob iterdir stat lstat samefile symlink_to hardlink_to chmod savefig save save_model load_model
    save_weights load_weights save_pretrained from_pretrained to_csv to_parquet to_excel to_pickle to_json to_feather
    to_hdf to_sql to_stata to_html to_file to_orc to_gbq tofile dump load loadtxt savetxt save_npz savez
    savez_compressed fromfile imread imwrite imsave memmap genfromtxt open write_image write_html
    write_parquet write_csv read_csv read_parquet read_excel read_json read_pickle read_table read_feather read_hdf
    read_sql read_sql_query read_sql_table read_html read_orc read_stata read_sas read_fwf read_spss read_xml
    read_gbq read_clipboard scan_csv scan_parquet read_ipc write_ipc sink_parquet sink_csv ExcelWriter ExcelFile
    HDFStore load_img save_img image_dataset_from_directory text_dataset_from_directory flow_from_directory
    get_file TFRecordWriter TFRecordDataset TextLineDataset ImageFolder load_dataset load_data urlretrieve urlopen
    download snapshot snapshot_download fetch_openml fetch_20newsgroups fetch_california_housing fetch_covtype
    fetch_olivetti_faces fetch_lfw_people fetch_kddcup99 fetch_rcv1 load_files load_svmlight_file dump_svmlight_file
    load_dotenv Popen check_output check_call system popen copyfile rmtree makedirs listdir export_graphviz
    extractall log_artifact log_metric log_param start_run safe_load_file to_zarr open_zarr
    to_netcdf open_dataset load_from_checkpoint save_to_disk load_from_disk FileWriter SummaryWriter FileHandler
    ModelCheckpoint TensorBoard CSVLogger BackupAndRestore RotatingFileHandler ImageDataGenerator write_png
""")
"""Methods and functions of this name read or write files, whatever they belong to."""

_QUIET_MADE = names(
    "json.dumps json.loads yaml.safe_load yaml.dump yaml.safe_dump pickle.dumps pickle.loads copy.replace"
)

_SEEDS = names("""
    random.seed numpy.random.seed tensorflow.random.set_seed tensorflow.set_random_seed keras.utils.set_random_seed
    tensorflow.keras.utils.set_random_seed torch.manual_seed torch.cuda.manual_seed torch.cuda.manual_seed_all
    torch.random.manual_seed numpy.random.set_state random.setstate pytorch_lightning.seed_everything
    lightning.seed_everything transformers.set_seed torch.seed lightning.pytorch.seed_everything
    accelerate.utils.set_seed keras.backend.set_random_seed tensorflow.compat.v1.set_random_seed
    keras.src.utils.set_random_seed torch.set_rng_state numpy.random.set_bit_generator
""")

_NOT_GLOBAL_RANDOM = names(
    "default_rng RandomState Generator SeedSequence PCG64 Random SystemRandom get_state getstate"
)

RANDOM_METHODS = names("""
    fit fit_transform fit_predict partial_fit sample shuffle train_test_split cross_val_score cross_validate
    cross_val_predict rvs resample make_classification make_regression make_blobs make_moons make_circles
    permutation_importance learning_curve fit_resample randn rand randint normal uniform dropout
    random_split Dense Conv1D Conv2D LSTM GRU Embedding Linear Sequential DataLoader Dropout bootstrap
""")
"""Draw from global random state unless a random state is given."""

_INSPECTS = ("inspect.", "numba.", "torch.jit.", "torch.compile", "tensorflow.function", "linecache.", "dill.source")

_PROCESS = names("""
    os.chdir os.putenv os.unsetenv os.umask os.environ.update os.environ.setdefault os.environ.pop os.environ.clear
    site.addsitedir signal.signal locale.setlocale resource.setrlimit time.tzset sys.setrecursionlimit
    dotenv.load_dotenv os.fchdir sys.path.append sys.path.insert sys.path.extend sys.path.remove sys.path.pop
    warnings.filterwarnings warnings.simplefilter gc.disable gc.enable
""")


@cache
def library_effects(dotted: str) -> int:
    """The effects of calling the imported thing `dotted`."""
    root, _, rest = dotted.partition(".")
    last = dotted.rpartition(".")[2]
    effects = 0
    if dotted in _SEEDS:
        return SEEDS
    if dotted.startswith(_INSPECTS):
        effects |= INSPECTS
    if dotted in _PROCESS:
        effects |= PROCESS
    if dotted.startswith(("numpy.random.", "tensorflow.random.", "torch.rand")) or root == "random":
        if last not in _NOT_GLOBAL_RANDOM:
            effects |= RANDOM
    elif last in RANDOM_METHODS and root in _QUIET_LIBRARIES:
        effects |= RANDOM
    return effects | (0 if dotted in _QUIET_MADE else _file_effects(dotted, root, rest, last))


def _file_effects(dotted: str, root: str, rest: str, last: str) -> int:
    if root == "builtins":
        return FILES if rest == "open" else 0
    if dotted in _QUIET_NAMES:
        return 0
    if root in _LOUD_STANDARD:
        return FILES
    if last in FILE_METHODS and not (root == "torch" and last == "load" and ".nn." in dotted):
        return FILES
    if root in sys.stdlib_module_names or root in _QUIET_LIBRARIES:
        return 0
    return FILES


@cache
def is_inspecting(dotted: str) -> bool:
    """Whether importing or using this means that code looks at its own source."""
    return f"{dotted}.".startswith(_INSPECTS) or dotted.startswith(_INSPECTS)


@cache
def is_local_module(dotted: str) -> bool:
    """Whether this is neither a standard module nor a library known here."""
    root = dotted.partition(".")[0]
    return root not in sys.stdlib_module_names and root not in _QUIET_LIBRARIES


@cache
def is_immutable_result(dotted: str) -> bool:
    """Whether a call of this gives a number or text."""
    return dotted in _IMMUTABLE_RESULTS


@cache
def keeps_arguments(dotted: str) -> bool:
    """Whether calling this makes an object that holds on to its arguments (a class of a modelling library)."""
    root, _, rest = dotted.partition(".")
    return rest.rpartition(".")[2][:1].isupper() and root not in DATA_MODULES and root != "pathlib"
