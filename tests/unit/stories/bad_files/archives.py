"""Bad and odd zips."""

import json
import stat
import struct
import zipfile
from collections.abc import Callable

from tests.unit.stories import documents
from tests.unit.stories.bad_files.kind import STORY, Kind, always, refused, used
from tests.unit.stories.material import prose, zipped


def _entry(name: str | zipfile.ZipInfo, content: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        # Enough incompressible bytes that the archive as a whole does not count as a bomb.
        return zipped({name: content, "good.txt": prose(2, words=60_000).encode()})

    return make


def _link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def _patched_zip(directory_at: int, directory: bytes, local_at: int, local: bytes) -> bytes:
    """Make a zip of one file and overwrite some bytes of its directory and of the file's header."""
    packed = bytearray(zipped({"story.txt": STORY.encode()}))
    start = packed.rindex(b"PK\x01\x02")
    packed[start + directory_at : start + directory_at + len(directory)] = directory
    packed[local_at : local_at + len(local)] = local
    return bytes(packed)


def _locked_zip() -> bytes:
    return _patched_zip(8, b"\x01", 6, b"\x01")


def _lying_zip() -> bytes:
    return _patched_zip(24, struct.pack("<I", 100), 22, struct.pack("<I", 100))


def _oddly_packed_zip() -> bytes:
    return _patched_zip(10, struct.pack("<H", 99), 8, struct.pack("<H", 99))


def _zip_with_a_garbled_name() -> bytes:
    packed = bytearray(zipped({"stör.txt": STORY.encode()}))
    start = packed.rindex("stör".encode())
    packed[start + 3] = 0x41
    return bytes(packed)


def _zip_with_damage() -> bytes:
    packed = bytearray(zipped({"story.txt": STORY.encode()}))
    packed[200] ^= 0xFF
    return bytes(packed)


def _zip_of_overlapping_files() -> bytes:
    """Make a small zip that lists one packed text 200 times, so that it unpacks to a large size."""
    one = zipped({"00000.txt": b"a" * 900_000})
    directory = one.rindex(b"PK\x01\x02")
    end = one.rindex(b"PK\x05\x06")
    entry = one[directory:end]
    entries = b"".join(entry.replace(b"00000", b"%05d" % number) for number in range(200))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 200, 200, len(entries), directory, 0)
    return one[:directory] + entries + tail


def _zip_of_too_many() -> bytes:
    return zipped({f"{number}.txt": b"" for number in range(10_001)})


def _zip_with_an_endless_directory() -> bytes:
    size = 9 * 1024**2
    return b"PK\x03\x04" + bytes(size) + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, size, 4, 0)


def _zip_with_a_directory_that_hides(end: bytes) -> Callable[[], bytes]:
    """Make a zip whose directory exceeds the limit, with an end record that hides its size."""
    size = 9 * 1024**2
    return lambda: b"PK\x03\x04" + bytes(size) + end


def _end_in_another_end() -> bytes:
    """Repeat the signature of an end record in the disk numbers, which are ignored."""
    size = 9 * 1024**2
    return struct.pack("<4s4s2H2LH", b"PK\x05\x06", b"PK\x05\x06", 9, 9, size, 4, 0)


def _two_ends_of_two_sizes() -> bytes:
    """Give a small size in the usual end record, and a large one in the zip64 end record, which counts."""
    size = 9 * 1024**2
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, size, 4)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, size + 4, 1)
    return large + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 50, 4, 0)


ARCHIVES = [
    refused("zip of 0 bytes", "a.zip", always(b""), "empty"),
    refused("zip without files", "a.zip", lambda: zipped({}), "no files"),
    refused("zip of folders only", "a.zip", lambda: zipped({"folder/": b""}), "no files"),
    refused("not a zip", "a.zip", always(b"PK\x03\x04 but not really"), "damaged"),
    refused("zip cut short", "a.zip", lambda: zipped({"a.txt": STORY.encode()})[:-60], "damaged"),
    refused("zip with damage inside", "a.zip", _zip_with_damage, "damaged"),
    refused("zip with a garbled name", "a.zip", _zip_with_a_garbled_name, "damaged"),
    refused("zip bomb", "a.zip", lambda: zipped({f"{n}.txt": b"a" * 1_000_000 for n in range(40)}), "bomb"),
    refused("zip of overlapping files", "a.zip", _zip_of_overlapping_files, "bomb"),
    refused("zip that lies about its sizes", "a.zip", _lying_zip, "damaged"),
    refused("zip packed in an unknown way", "a.zip", _oddly_packed_zip, "damaged"),
    refused("encrypted zip", "a.zip", _locked_zip, "password"),
    refused("zip of too many files", "a.zip", _zip_of_too_many, "more than 10000 files"),
    refused("zip whose list of files never ends", "a.zip", _zip_with_an_endless_directory, "more files than"),
    refused(
        "zip whose list hides in its end",
        "a.zip",
        _zip_with_a_directory_that_hides(_end_in_another_end()),
        "more files than",
    ),
    refused(
        "zip whose list hides behind another end",
        "a.zip",
        _zip_with_a_directory_that_hides(_two_ends_of_two_sizes()),
        "more files than",
    ),
    Kind("zip with a path upwards", "a.zip", _entry("../../etc/story.txt", b"x"), 1, "out of the archive"),
    Kind("zip with an absolute path", "a.zip", _entry("/etc/story.txt", b"x"), 1, "out of the archive"),
    Kind("zip with a path of Windows", "a.zip", _entry("..\\..\\story.txt", b"x"), 1, "out of the archive"),
    Kind("zip with a drive", "a.zip", _entry("C:\\story.txt", b"x"), 1, "out of the archive"),
    Kind("zip with a link", "a.zip", _entry(_link("link.txt"), b"/etc/passwd"), 1, "link"),
    Kind("zip in a zip", "a.zip", _entry("b.zip", zipped({"a.txt": b"x"})), 1, "archive inside an archive"),
    Kind("zip in a zip, named .txt", "a.zip", _entry("b.txt", zipped({"a.txt": b"x"})), 1, "archive inside"),
    Kind("tar in a zip", "a.zip", _entry("b.tar.gz", b"\x1f\x8b"), 1, "archive inside an archive"),
    Kind("bomb in a zip", "a.zip", _entry("b.txt", b"a" * 5_000_000), 1, "bomb"),
    Kind("a Mac's shadows in a zip", "a.zip", _entry("__MACOSX/._a.txt", b"x"), 1, "operating system"),
    Kind("empty file in a zip", "a.zip", _entry("a.txt", b""), 1, "empty"),
    Kind("photo in a zip", "a.zip", _entry("a.jpg", b"\xff\xd8\xff\xe0" + bytes(99)), 1, "picture"),
    used("every format in a zip", "a.zip", lambda: zipped({
        "a.docx": documents.docx(prose(3)),
        "b.epub": documents.epub(prose(4)),
        "c.html": documents.html(prose(5)),
        "d.csv": f'title,text\nA,"{prose(6)}"\n'.encode(),
        "e.rtf": documents.rtf(prose(7)),
        "f.odt": documents.odt(prose(8)),
        "g.pdf": documents.pdf(prose(9)),
        "h.json": json.dumps([{"text": prose(10)}]).encode(),
    }), stories=8),
]  # fmt: skip
