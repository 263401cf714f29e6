"""A table of bad and odd files as people upload them, with the expected result of each."""

from tests.unit.stories.bad_files.archives import ARCHIVES
from tests.unit.stories.bad_files.documents import DOCUMENTS, WRONG_ENDINGS
from tests.unit.stories.bad_files.kind import Kind
from tests.unit.stories.bad_files.tables import TABLES
from tests.unit.stories.bad_files.texts import CONTENTS, NAMES, TEXTS

KINDS = [*TEXTS, *CONTENTS, *NAMES, *WRONG_ENDINGS, *DOCUMENTS, *TABLES, *ARCHIVES]

__all__ = ["KINDS", "Kind"]
