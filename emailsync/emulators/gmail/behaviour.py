"""What Gmail does where its documentation is silent or says "may"; all can change at any time."""

from dataclasses import dataclass


@dataclass(slots=True)
class Behaviour:
    """Switches of one emulated Gmail."""

    base64_padding: bool = False  #: "=" at the end of `raw` and `data`
    listing_by_position: bool = False  #: page tokens count messages: what is deleted shifts them
    blank_history_pages: bool = False  #: before each page of history comes one without `history`
    batch_parts_refuse_tokens: bool = True  #: a bad token: each part is 401, else the whole batch
    gzip: bool = True  #: compress plain answers for whom accepts it
    gzip_batches: bool = False  #: and answers to batches
    concurrent_calls: int | None = 50  #: of one user at the same time; None: any number
    service_s: float = 0.0  #: how long a call is under way, which is when calls can meet
