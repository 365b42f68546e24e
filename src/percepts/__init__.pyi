"""The public names, for type checkers; `__init__.py` imports them at their first use."""

from .encoders import load as load
from .encoders import names as names
from .encoders import register as register
from .encoders import spec as spec
from .errors import PerceptsError as PerceptsError
from .jobs.progress import Progress as Progress
from .jobs.progress import Report as Report
from .jobs.run import embed as embed
from .jobs.verify import Verdict as Verdict
from .jobs.verify import verify as verify
from .media import open_audio as open_audio
from .media import open_image as open_image
from .media import probe as probe
from .media import stream_audio as stream_audio
from .media import stream_frames as stream_frames
from .tasks.embed import records as records
from .tasks.search import Hit as Hit
from .tasks.search import search as search
from .types import Classifier as Classifier
from .types import Clip as Clip
from .types import Encoder as Encoder
from .types import Frames as Frames
from .types import Record as Record
from .types import Segment as Segment
from .types import Spec as Spec
from .types import TextEncoder as TextEncoder
