"""The service's JSON, as its OpenAPI tells it.

:class:`FrameResult` is what :meth:`mien.results.FrameResult.to_dict` gives, so the service, the
command line and Python speak of a picture in the same words.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

_Probability = Annotated[float, Field(ge=0, le=1)]

#: A face and its picture, as they are shown in the documentation.
_FACE: Final[dict[str, Any]] = {
    "expression": "happy",
    "confidence": 0.9,
    "uncertain_below": 0.4,
    "probabilities": {
        "angry": 0.01,
        "disgust": 0.01,
        "fear": 0.02,
        "happy": 0.9,
        "sad": 0.01,
        "surprise": 0.03,
        "neutral": 0.02,
    },
    "box_xyxy": [181.0, 63.0, 267.0, 174.0],
    "score": 0.9998,
    "landmarks": [[205.0, 105.0], [245.0, 104.0], [226.0, 128.0], [208.0, 148.0], [243.0, 147.0]],
}
_RESULT: Final[dict[str, Any]] = {"source": "photo.jpg", "size_wh": [512, 341], "faces": [_FACE]}


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Face(_Exact):
    """One face and what its expression was read as."""

    expression: str = Field(description="The most probable class, or 'uncertain'.")
    confidence: _Probability = Field(description="Probability of the most probable class.")
    uncertain_below: _Probability = Field(description="Below it the face is called uncertain.")
    probabilities: dict[str, _Probability] = Field(description="One a class; they sum to 1.")
    box_xyxy: tuple[float, float, float, float] = Field(
        description="Left, top, right, bottom in pixels of the upright picture."
    )
    score: _Probability = Field(description="The detector's confidence that this is a face.")
    landmarks: list[tuple[float, float]] | None = Field(
        description="x, y of left eye, right eye, nose, left and right mouth corner."
    )


class FrameResult(_Exact):
    """What was read in one picture; no face is an empty result, not an error."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RESULT]})

    source: str = Field(description="The picture's name, as it was sent.")
    size_wh: tuple[int, int] = Field(description="Width and height of the upright picture.")
    faces: list[Face] = Field(description="The faces, largest first.")


class ProblemDetails(BaseModel):
    """What went wrong, as of RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:mien:problem:picture-unreadable",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "photo.jpg: not a picture in a format that can be read",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str


class PictureAnswer(_Exact):
    """What became of one picture: a result, or the problem with it."""

    result: FrameResult | None = None
    faces_omitted: int = Field(description="Smaller faces beyond the limit, found but not read.")
    annotated_jpeg: str | None = Field(
        default=None,
        description="Base64 of a JPEG with boxes, if asked for and if a JPEG can be as large.",
    )
    problem: ProblemDetails | None = None


class ModelName(_Exact):
    """Which model read it."""

    name: str
    version: str


class AnalyzeAnswer(_Exact):
    """What was read in a request's pictures, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": {"name": "mien-s", "version": "0.1.0"},
                    "pictures": [
                        {
                            "result": _RESULT,
                            "faces_omitted": 0,
                            "annotated_jpeg": None,
                            "problem": None,
                        }
                    ],
                }
            ]
        }
    )

    model: ModelName
    pictures: list[PictureAnswer]


class PictureUpload(_Exact):
    """One picture in JSON."""

    data: str = Field(
        description="The picture file in base64.", json_schema_extra={"format": "byte"}
    )
    name: str | None = Field(default=None, max_length=255, description="What to call it.")


class AnalyzeBody(_Exact):
    """Pictures in JSON."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"pictures": [{"data": "/9j/4AAQ…", "name": "photo.jpg"}]}]}
    )

    pictures: list[PictureUpload] = Field(min_length=1)


class ModelAnswer(_Exact):
    """The facts that the model's file carries, and the limits of the service."""

    name: str
    version: str
    classes: list[str]
    input_size: int = Field(description="Side of a face crop in pixels.")
    temperature: float = Field(description="What logits are divided by to be calibrated.")
    uncertain_below: _Probability
    tta: Literal["flip"] | None = Field(
        description="`flip`: each face is averaged with its mirror image; null: it is read once."
    )
    recipe: dict[str, Any] = Field(description="How it was trained.")
    data: dict[str, Any] = Field(description="What it was trained and chosen on.")
    metrics: dict[str, Any] = Field(description="What was measured, by split.")
    limits: dict[str, float] = Field(description="What a request must keep to.")


class State(_Exact):
    """Whether the service lives, or is ready."""

    status: str


class LiveAnswer(_Exact):
    """What became of one frame of a live connection."""

    frame: int = Field(description="Which frame of the connection, counted from 0.")
    dropped: int = Field(description="Frames before it that a newer one replaced, in all.")
    result: FrameResult | None = None
    faces_omitted: int
    problem: ProblemDetails | None = None


class ExplainAnswer(_Exact):
    """Where in a face its expression was read."""

    expression: str = Field(description="The most probable class.")
    crop_png: str = Field(description="Base64 of a PNG: the face as the model sees it.")
    falls: list[list[float]] = Field(
        description="By how much that class becomes less probable, from -1 to 1, where this pixel "
        "of the crop is covered; row by row from the top."
    )


class VideoAnswer(_Exact):
    """How far a clip is."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    source: str = Field(description="The clip's name, as it was sent.")
    progress: _Probability = Field(description="The part that is read.")
    eta_s: float | None = Field(description="Seconds until it is about done, where known.")
    frames: int = Field(description="Frames read.")
    truncated: str | None = Field(description="Why the clip ended too early, where it did.")
    problem: ProblemDetails | None = Field(description="What went wrong.")
    expires_in_s: float | None = Field(description="Seconds until what was read is deleted.")


class VideoPerson(_Exact):
    """What one person showed over a clip."""

    track: int = Field(description="The person's number, from 1 on.")
    first_s: float
    last_s: float
    seen_s: float = Field(description="For how long they were seen in all.")
    shares: dict[str, _Probability] = Field(description="Expression: its share of that time.")


class VideoEpisode(_Exact):
    """A time over which one person was shown with one expression."""

    track: int
    expression: str
    start_s: float
    end_s: float
    confidence: float


class VideoSummary(_Exact):
    """Who showed what, when and for how long."""

    source: str
    duration_s: float
    frames: int
    people: list[VideoPerson]
    episodes: list[VideoEpisode]
