from __future__ import annotations

from pathlib import Path

import msgspec

from nbkube.runtime import cache
from nbkube.runtime.program import SCHEMA, StepManifest, StepProgram
from nbkube.state.model import AGAIN, FileDiff, FileReads, OutputRef
from nbkube.storage import LocalStore, open_store
from nbkube.storage.model import ObjectStore


def ref(version: str, *, refs: tuple[str, ...] = ()) -> OutputRef:
    return OutputRef(kind="blob", version=version, blob=f"blob-{version}", refs=refs)


def program(digest: str = "d", reads: tuple[str, ...] = ("x",)) -> StepProgram:
    return StepProgram(unit="u", digest=digest, cells=(), reads=reads)


def manifest(key: str, started: float = 1.0, **changes: object) -> StepManifest:
    empty = StepManifest(
        schema=SCHEMA,
        key=key,
        units=("u",),
        attempt="a",
        outputs={},
        reads={"x": "1"},
        touched=(),
        files=FileReads(read={"data.csv": "old"}),
        diff=FileDiff(),
        distributions={"numpy": "2.0"},
        started=started,
    )
    return msgspec.structs.replace(empty, **changes)


def keep(store: ObjectStore, one: StepManifest) -> None:
    proof = cache.step_proof(one.reads, one.files, one.distributions)
    assert store.create(f"steps/{one.key}/{proof}.json", cache.encode_manifest(one))


def look(
    store: ObjectStore, key: str, *, data: str = "old", numpy: str = "2.0", x: str = "1", wanted: tuple[str, ...] = ()
) -> StepManifest | None:
    return cache.find(
        store,
        key,
        {"x": ref(x)},
        lambda files: None if files.read == {"data.csv": data} else "data.csv changed",
        lambda names: dict.fromkeys(names, numpy),
        wanted,
    )


def test_key_holds_the_program_the_expected_inputs_and_nothing_else() -> None:
    bindings = {"x": ref("1"), "other": ref("9")}
    key = cache.step_key([program()], bindings)
    assert key == cache.step_key([program()], {"x": ref("1"), "other": ref("10")})
    assert key != cache.step_key([program()], {"x": ref("2")})
    assert key != cache.step_key([program("e")], bindings)
    assert key != cache.step_key([program(), program("e")], bindings)
    assert key != cache.step_key([program()], bindings, salt="run")


def test_a_hit_needs_the_whole_proof(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    keep(store, manifest("k"))
    assert look(store, "k") is not None
    assert look(store, "other") is None
    assert look(store, "k", data="new") is None
    assert look(store, "k", numpy="2.1") is None
    assert look(store, "k", x="2") is None


def test_each_state_of_the_data_keeps_its_result(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    keep(store, manifest("k", 1.0))
    keep(store, manifest("k", 2.0, files=FileReads(read={"data.csv": "new"})))
    old, new = look(store, "k"), look(store, "k", data="new")
    assert old is not None
    assert new is not None
    assert (old.started, new.started) == (1.0, 2.0)


def test_a_result_with_a_hole_that_is_needed_is_no_hit(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    hole = OutputRef(kind="hole", version="", reason="is a generator")
    keep(store, manifest("k", outputs={"rows": hole}))
    assert look(store, "k") is not None
    assert look(store, "k", wanted=("rows",)) is None


def test_a_name_that_was_not_there_must_still_not_be_there() -> None:
    assert cache.mismatch({"y": ""}, (), {}) is None
    assert cache.mismatch({"y": ""}, (), {"y": ref("1")}) == "y exists now"
    deleted = OutputRef(kind="deleted", version="")
    assert cache.mismatch({"y": ""}, (), {"y": deleted}) is None


def test_sharers_of_a_changed_object_must_have_been_loaded() -> None:
    bindings = {"cfg": ref("1"), "holder": ref("2", refs=("blob-1",))}
    assert cache.mismatch({"cfg": "1"}, (), bindings) is None
    assert cache.mismatch({"cfg": "1"}, ("blob-1",), bindings) == "holder shares an object that the step changed"
    assert cache.mismatch({"cfg": "1", "holder": "2"}, ("blob-1",), bindings) is None


def test_an_import_that_the_step_repeats_need_not_be_bound_yet() -> None:
    reads = {"np": f"{AGAIN}7"}
    assert cache.mismatch(reads, (), {}) is None
    assert cache.mismatch(reads, (), {"np": ref("7")}) is None
    assert cache.mismatch(reads, (), {"np": ref("8")}) == "np has another value now"


def test_a_record_with_a_changed_byte_is_set_aside_and_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    keep(store, manifest("k"))
    name = next(iter(store.list("steps/k/")))
    path = tmp_path / "store" / name
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"started":1.0', b'"started":3.0'))
    told: list[str] = []
    assert cache.find(store, "k", {"x": ref("1")}, lambda _: None, lambda names: {}, damaged=told.append) is None
    assert name in told[0]
    assert list(store.list("steps/")) == []
    assert list(store.list("damaged/")) == [f"damaged/{name}"]
    keep(store, manifest("k"))
    assert look(store, "k") is not None


def test_a_result_whose_object_is_gone_is_no_hit_and_makes_room(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    blob = store.put(b"content")
    keep(store, manifest("k", outputs={"y": OutputRef(kind="blob", version="1", blob=blob)}))
    assert look(store, "k") is not None
    store.discard(blob)
    assert look(store, "k") is None
    assert list(store.list("steps/")) == []
