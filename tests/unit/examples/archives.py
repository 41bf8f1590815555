"""A small archive of made-up reviews in the layout of the real one, with entries that must do no harm."""

from __future__ import annotations

import io
import os
import random
import tarfile
from pathlib import Path

GOOD = "wonderful moving brilliant superb delightful touching masterpiece gripping charming perfect".split()
BAD = "awful boring dreadful waste terrible pointless clumsy dull tedious worst".split()
PLAIN = "the film a story of and it was with actors scene plot two hours who music camera in is naïve".split()


def made_up_review(mood: str, draw: random.Random) -> str:
    words = draw.choices(PLAIN, k=60) + draw.choices(GOOD if mood == "pos" else BAD, k=8)
    draw.shuffle(words)
    return " ".join(words[:30]) + "<br /><br />" + " ".join(words[30:])


def made_up_archive(path: Path, each: int) -> None:
    draw = random.Random(5)
    with tarfile.open(path, "w:gz") as archive:

        def add(name: str, text: str = "", **attributes: object) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            archive.addfile(info, io.BytesIO(text.encode()))

        add("aclImdb", type=tarfile.DIRTYPE)
        add("aclImdb/README", "about the data")
        add("aclImdb/train/pos/0_9.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("aclImdb/train/neg/0_1.txt", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add("../outside.txt", "must not be written")
        add("aclImdb/train/unsup/0_0.txt", "nobody judged this")
        for split in ("test", "train"):
            for mood in ("neg", "pos"):
                for number in range(each):
                    add(f"aclImdb/{split}/{mood}/{number}_5.txt", made_up_review(mood, draw))


def data_folder(folder: Path) -> str:
    """Return the folder of the real archive where NBKUBE_TEST_DATA names it, else one with made-up reviews."""
    given = os.environ.get("NBKUBE_TEST_DATA")
    if given:
        assert Path(given, "aclImdb_v1.tar.gz").is_file(), f"NBKUBE_TEST_DATA={given} holds no aclImdb_v1.tar.gz"
        return given
    made_up_archive(folder / "aclImdb_v1.tar.gz", each=550)
    return str(folder)
